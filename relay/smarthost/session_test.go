package smarthost_test

import (
	"context"
	"testing"
	"time"

	"postern/mail"
	"postern/relay/smarthost"
)

// TestASessionThatTakesNoMoreMailsIsLeft: its limit may be its own.
func TestASessionThatTakesNoMoreMailsIsLeft(t *testing.T) {
	full := "C: MAIL *\nC: RCPT *\nC: DATA\nS: 452 4.7.0 "
	for name, c := range map[string]struct {
		words string
		again want // of the same mail
	}{
		"the words name the connection": {"Too many messages on this connection", want{}},
		"the words do not":              {"Too many messages", failed(mail.Throttled, 452, "4.7.0", "Too many messages")},
	} {
		t.Run(name, func(t *testing.T) {
			u := startUpstream(t, hello+accept+full+c.words+"\nS: 503 no\nS: 503 no\n", hello+accept)
			s := sender(t, u.addr())
			if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
				t.Fatal(err)
			}
			_, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n"))
			c.again.check(t, 2, err)
			if err != nil {
				if _, err = s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
					t.Errorf("the session was used again: %v", err)
				}
			}
			if u.connections() != 2 {
				t.Errorf("%d connections", u.connections())
			}
		})
	}
}

// TestAnUpstreamThatIsOneAnswerAheadIsNotBelieved: it answers a mail twice, and the
// second answer would pass for that to the next RCPT.
func TestAnUpstreamThatIsOneAnswerAheadIsNotBelieved(t *testing.T) {
	u := startUpstream(t, hello+"C: MAIL *\nC: RCPT *\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nGOT\nS: 250 ok\nWAIT\nS: 250 ok again\nSILENT", hello+accept)
	s := sender(t, u.addr())
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil {
		t.Fatal(err)
	}
	close(u.told)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !smarthost.Pending(s) {
		<-tick.C
	}
	if _, err := s.Send(context.Background(), copyTo("b@example.net", "x\r\n")); err != nil || u.connections() != 2 || smarthost.Idle(s) != 1 {
		t.Errorf("%v, %d connections", err, u.connections())
	}
}
