package report_test

import (
	"strings"
	"testing"
	"time"

	"postern/mail"
	"postern/spool"
)

// Amazon SES takes a mail, and that there is nobody comes back later, to a return path of
// its own: the sender of ordinary mail would never know. What comes back of a list's copies
// is told by other means.
func TestTheSenderOfOrdinaryMailIsToldOfWhatBouncesLater(t *testing.T) {
	run(t, nil, func(t *testing.T, g *gateway) {
		bounce := func(id mail.ID, seq uint32, o mail.Outcome) {
			t.Helper()
			seen, err := g.s.Observe(t.Context(), []spool.Observation{{Message: id, Seq: seq, Outcome: o, At: time.Now(), Words: "550 5.1.1 this mailbox was closed"}})
			if err != nil || seen[0] == nil {
				t.Fatal(seen, err)
			}
		}
		order := g.accept(mail.Message{}, 3)
		g.settle(3, mail.Sent)
		promo := g.accept(mail.Message{List: &mail.ListPolicy{ID: "promo"}}, 1)
		g.settle(1, mail.Sent)
		for range 2 { // events come more than once
			bounce(order, 1, mail.Bounced)
			bounce(order, 2, mail.Delivered)
			bounce(order, 3, mail.SoftBounced)
			bounce(promo, 1, mail.Bounced)
		}
		pass(time.Hour)
		list := g.notices(mail.NoticeFailed)
		if len(list) != 1 || list[0].About != order {
			t.Fatalf("%d notices: %+v", len(list), list)
		}
		body := g.body(list[0].ID)
		for _, want := range []string{"Final-Recipient: rfc822; user0@example.net", "Final-Recipient: rfc822; user2@example.net", "Diagnostic-Code: smtp; 550 5.1.1 this mailbox was closed", "Status: 5.1.1"} {
			if !strings.Contains(body, want) {
				t.Errorf("%q is missing in\n%s", want, body)
			}
		}
		if strings.Contains(body, "user1@example.net") {
			t.Errorf("it names who got the mail:\n%s", body)
		}
		bounce(order, 3, mail.Bounced) // is no news
		pass(3 * time.Hour)
		if n := len(g.notices(mail.NoticeFailed)); n != 1 {
			t.Errorf("%d notices in the end", n)
		}
	})
}
