package expand_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/directory"
	"postern/mail"
)

// held expands users and returns the message as it is held, with its release begun.
func held(t *testing.T, users []directory.User, change func(m *mail.Message)) (m mail.Message, e expanderAndParts) {
	t.Helper()
	m = promo()
	m.List.Release = "sender"
	change(&m)
	e.Expander, e.queue, e.store = newExpander(t, m, users)
	if err := e.Expand(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if e.queue.stored().State != mail.Held {
		t.Fatalf("the message is %s", e.queue.stored().State)
	}
	return e.queue.resume(), e
}

func TestReleaseAsksAgain(t *testing.T) {
	m, e := held(t, append(kims(6), kim("had@example.com", ""), kim("lacks@example.com", "")), func(m *mail.Message) {
		m.List.Filter = `Gender != "M"`
	})
	now := append(kims(6), kim("had@example.com", "Found"), kim("lacks@example.com", ""))
	now[1].Subscribed = false
	now[2].OptOut = []string{"promo"}
	now[3].Attributes["Name"] = "New name"
	now[4].Attributes["Gender"] = "M"
	now[5].Attributes["Name"] = ""
	e.store.pages = [][]directory.User{slices.Delete(now, 0, 1), {kim("late@example.com", "joined after the expansion")}}
	if err := e.Release(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := `u0@example.com unsubscribed ["Kim 0"] no longer in the directory
u1@example.com unsubscribed ["Kim 1"] no longer subscribed
u2@example.com unsubscribed ["Kim 2"] has left the list
u3@example.com queued ["New name"]
u4@example.com skipped ["Kim 4"] no longer chosen by the list's filter
u5@example.com skipped [""] no value for {{Name}}
had@example.com queued ["Found"]
lacks@example.com skipped [""] no value for {{Name}}
`
	if got := e.queue.table(); got != want {
		t.Errorf("copies:\n%swant:\n%s", got, want)
	}
	if got := e.queue.stored(); got.State != mail.Sending || got.Releasing || got.Reason != "" {
		t.Errorf("the message is %+v", got)
	}
}

func TestReleaseHonoursWhatIsBlockedHere(t *testing.T) {
	m, e := held(t, kims(2), func(*mail.Message) {})
	e.Blocked = func(a mail.Address, list string) (directory.Block, bool) {
		return directory.Block{Kind: "suppressed", Reason: "a bounce"}, a == "u1@example.com"
	}
	if err := e.Release(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := "u0@example.com queued [\"Kim 0\"]\nu1@example.com unsubscribed [\"Kim 1\"] blocked here: a bounce\n"
	if got := e.queue.table(); got != want {
		t.Errorf("copies:\n%swant:\n%s", got, want)
	}
}

func TestReleaseGoesOnWhereItStopped(t *testing.T) {
	m, e := held(t, kims(1200), func(*mail.Message) {})
	stop := errors.New("crash")
	e.queue.hook = func(call string, done bool) error {
		if call == "Revise 1000" && !done {
			return stop
		}
		return nil
	}
	if err := e.Release(t.Context(), m); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	e.queue.hook = nil
	if err := e.Release(t.Context(), e.queue.stored()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(e.store.asks); got != "[500 500 500 200]" {
		t.Errorf("asked about %s users", got)
	}
	var calls []string
	for _, c := range e.queue.calls {
		if strings.HasPrefix(c, "Re") {
			calls = append(calls, c)
		}
	}
	if got := strings.Join(calls, ", "); got != "Revise 500, Revise 1000, Revise 1200, Released" {
		t.Errorf("calls: %s", got)
	}
}

// What was settled meanwhile (cancelled by hand, say) is not asked about.
func TestReleaseLeavesSettledCopiesAlone(t *testing.T) {
	m, e := held(t, kims(3), func(*mail.Message) {})
	for i := range e.queue.copies {
		e.queue.copies[i].State = mail.CopyCancelled
	}
	e.store.pages = nil
	if err := e.Release(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if strings.Count(e.queue.table(), "cancelled") != 3 || len(e.store.asks) != 0 {
		t.Errorf("asked %v, copies:\n%s", e.store.asks, e.queue.table())
	}
}

func TestReleaseWaitsForTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, e := held(t, kims(2), func(*mail.Message) {})
		tries := 0
		e.store.before = func(string) error {
			if tries++; tries <= 3 {
				return &mail.Error{Class: mail.Unreachable, Public: "no answer from DynamoDB", RetryAfter: 2 * time.Second}
			}
			return nil
		}
		began := time.Now()
		if err := e.Release(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) != 6*time.Second {
			t.Errorf("it took %s", time.Since(began))
		}
		want := []string{"waiting for the directory: no answer from DynamoDB; trying again in 2s",
			"being released: the directory is asked again who is subscribed"}
		if !slices.Equal(e.queue.reasons, want) {
			t.Errorf("people read %q", e.queue.reasons)
		}
	})
}

func TestReleaseStopsWithItsContext(t *testing.T) {
	m, e := held(t, kims(2), func(*mail.Message) {})
	ctx, cancel := context.WithCancel(t.Context())
	e.store.before = func(string) error { cancel(); return ctx.Err() }
	if err := e.Release(ctx, m); !errors.Is(err, context.Canceled) || !e.queue.stored().Releasing {
		t.Errorf("%v; %+v", err, e.queue.stored())
	}
}
