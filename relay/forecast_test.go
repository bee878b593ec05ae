package relay_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// forecastOf reads what is foreseen of a message.
func forecastOf(t *testing.T, s *spool.Spool, id mail.ID) (*mail.Forecast, string) {
	t.Helper()
	m, err := s.Message(id)
	if err != nil {
		t.Fatal(err)
	}
	return m.Forecast, m.Reason
}

// What an account has said once is not repeated to people for ever: when it cannot be
// asked any more nobody knows when a message will be out.
func TestAForecastEndsWithWhatIsKnownOfTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(0.2, 100_000), open(t)
		p.others = 99_990
		run(t, s, p.lane(), nil)
		pass(10 * time.Second)
		id := list(t, s, 2000)
		pass(lookTime)
		if f, _ := forecastOf(t, s, id); f == nil {
			t.Fatal("no forecast")
		}
		p.set(func() { p.refuse, p.others = errors.New("no permission"), 0 })
		pass(90 * time.Minute)
		if f, words := forecastOf(t, s, id); f != nil || words != "" {
			t.Errorf("an hour after the last answer: %+v %q", f, words)
		}
	})
}

func TestAForecastEndsOnALaneWithoutAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		id := list(t, s, 50)
		if err := s.Foresee(t.Context(), id, &mail.Forecast{At: time.Now(), Copies: 50}, "none of its 50 copies can leave now"); err != nil {
			t.Fatal(err)
		}
		run(t, s, relay.LaneConfig{Name: "lane", Sender: newUpstream(nil), Concurrency: 1, Rate: 0.1}, nil)
		pass(10 * time.Second)
		if f, words := forecastOf(t, s, id); f != nil || words != "" {
			t.Errorf("%+v %q", f, words)
		}
	})
}

// The words of a forecast give way to those of a pause, and come again after it.
func TestTheWordsOfAForecastComeAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newProvider(10, 1000), open(t)
		p.others = 990
		run(t, s, p.lane(), nil)
		pass(10 * time.Second)
		id := list(t, s, 800)
		pass(lookTime)
		if err := s.Pause(t.Context(), id, "a look at it"); err != nil {
			t.Fatal(err)
		}
		pass(lookTime)
		if err := s.Resume(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		pass(lookTime)
		if f, words := forecastOf(t, s, id); f == nil || !strings.Contains(words, "can leave now") {
			t.Errorf("%+v %q", f, words)
		}
	})
}
