package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// A limit for a day is one for a day, whatever happens to the program in it: what
// was accepted before kill -9 is counted, a list as one recipient; what was
// refused is not.
func TestALimitHoldsOverKill9(t *testing.T) {
	g := newGateway(t, maildirLane)
	text, err := os.ReadFile(filepath.Join(g.dir, "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	g.write("config.toml", strings.Replace(string(text), "relay = true\n", "relay = true\nper_day = 6\n", 1))
	g.csv("a@example.net,Kim,Female,true", "b@example.net,Lee,Male,true", "c@example.net,Ko,Male,true")
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello) // 1
	three := mailOf("1", "x@example.org", "Hi", "x")
	if err := g.submitTo(three, "x@example.org", "y@example.org", "z@example.org"); err != nil { // 3 more
		t.Fatal(err)
	}
	if err := g.submitTo(mailOf("2", "promo@lists.example.com", "Hi {{nobody knows this}}", "x"), "promo@lists.example.com"); err == nil {
		t.Fatal("a placeholder that nobody knows was taken")
	}
	g.kill()
	g.serve()
	refused := func(err error) {
		t.Helper()
		var reply *smtp.SMTPError
		if !errors.As(err, &reply) || reply.Code != 450 || !strings.Contains(reply.Message, "may send to 6 recipients a day (per_day) and has done so; the next is taken again in 24 hours") {
			t.Errorf("got %v, want 450 with the limit and the time", err)
		}
	}
	refused(g.submitTo(three, "1@example.org", "2@example.org", "3@example.org"))
	if err := g.submitTo(three, "1@example.org", "2@example.org"); err != nil {
		t.Errorf("two more are within the limit: %v", err)
	}
	refused(g.submitTo(three, "3@example.org"))
	g.stop()
}
