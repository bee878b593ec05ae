package main_test

import (
	"strings"
	"testing"
)

// TestAnImportedColumnIsAFieldAtOnce imports a new attribute while the gateway
// runs, and uses it as a placeholder in the next mail.
func TestAnImportedColumnIsAFieldAtOnce(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.serve()
	mail := strings.Replace(hello, "Subject: Hello {{Name}}", "Subject: Hello {{Grade}}", 1)
	if err := g.submit("promo@lists.example.com", mail); err == nil || !strings.Contains(err.Error(), "Grade") {
		t.Fatalf("an unknown field: %v", err)
	}
	g.write("users.csv", "Email,Name,Grade,SubscriptionStatus\nmin@example.net,Min,VIP,true\n")
	g.run("users", "import", "users.csv")
	g.mustSubmit("promo@lists.example.com", mail)
	g.untilDone()
	if box := g.outbox(); len(box) != 1 || header(box[0], "Subject") != "Hello VIP" {
		t.Fatalf("%d copies, %q", len(box), box)
	}
	g.stop()
}
