package sesfake_test

import (
	"testing"
	"time"

	"postern/mail"
	"postern/relay/events"
	"postern/relay/ses/sesfake"
)

// TestTheReaderOfEventsUnderstandsThem, bare and in SNS's envelope.
func TestTheReaderOfEventsUnderstandsThem(t *testing.T) {
	at := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	m := sent()
	for _, c := range []struct {
		event   sesfake.Event
		kind    events.Kind
		outcome mail.Outcome
		reach   events.Reach
	}{
		{m.SendEvent(at), events.Send, mail.NoOutcome, events.ReachUnknown},
		{m.DeliveryEvent(at), events.Delivery, mail.Delivered, events.ReachUnknown},
		{m.BounceEvent(at, sesfake.Bounce{Type: "Permanent", SubType: "General", Status: "5.1.1", Diagnostic: "smtp; 550 5.1.1 user unknown"}), events.Bounce, mail.Bounced, events.ReachHard},
		{m.BounceEvent(at, sesfake.Bounce{Type: "Transient", SubType: "MailboxFull", Status: "4.2.2", Diagnostic: "smtp; 452 4.2.2 mailbox full"}), events.Bounce, mail.SoftBounced, events.ReachSoft},
		{m.ComplaintEvent(at, "abuse"), events.Complaint, mail.Complained, events.ReachSpam},
		{m.ComplaintEvent(at, "not-spam"), events.Complaint, mail.NoOutcome, events.ReachUnknown},
		{m.DelayEvent(at, "MailboxFull"), events.DeliveryDelay, mail.NoOutcome, events.ReachUnknown},
		{m.RejectEvent(at), events.Reject, mail.Bounced, events.ReachUnknown},
	} {
		for _, body := range []sesfake.Event{c.event, c.event.InSNS("1", at)} {
			read, err := events.ParseSES(body)
			if err != nil || len(read) != 1 {
				t.Fatalf("%s: %+v, %v", body, read, err)
			}
			e := read[0]
			if e.Kind != c.kind || e.Tag != "tag-1" || e.UpstreamID != m.ID || e.To != "b@example.net" && e.Kind != events.Send {
				t.Errorf("%+v", e)
			}
			if outcome, reach := e.Judge(); outcome != c.outcome || reach != c.reach {
				t.Errorf("%s: %v, %v; want %v, %v", c.kind, outcome, reach, c.outcome, c.reach)
			}
		}
	}
}
