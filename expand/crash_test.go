package expand_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"postern/directory"
	"postern/expand"
	"postern/mail"
)

// crasher ends a run at its n-th call of the directory or the queue, by ending its
// context as a dying process would: before the call or after it.
type crasher struct {
	mu     sync.Mutex
	left   int // calls until the crash; negative: never
	after  bool
	cancel context.CancelFunc
}

var errCrash = errors.New("crash")

func (c *crasher) call(done bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left < 0 || done != c.after {
		return nil
	}
	if c.left--; c.left >= 0 {
		return nil
	}
	c.cancel()
	return errCrash
}

// crash is one entry of a plan: the run ends at its at-th call.
type crash struct {
	at    int
	after bool
}

// survive runs work from what is stored, once for each crash of the plan and then
// until it is through.
func survive(t *testing.T, q *memQueue, s *pageStore, plan []crash, work func(context.Context, mail.Message) error) error {
	for i := 0; ; i++ {
		ctx, cancel := context.WithCancel(t.Context())
		c := &crasher{left: -1, cancel: cancel}
		if i < len(plan) {
			c.left, c.after = plan[i].at, plan[i].after
		}
		q.hook = func(_ string, done bool) error { return c.call(done) }
		weather := s.before
		s.before = func(call string) error {
			if err := c.call(false); err != nil {
				return err
			}
			return weather(call)
		}
		m := q.stored()
		if m.Expanded && !m.Releasing {
			cancel()
			return nil // the crash came after the last word
		}
		err := work(ctx, m)
		s.before = weather
		cancel()
		if err == nil || i >= len(plan) {
			return err
		}
	}
}

// drawPages draws a directory of a few people, some of them on several pages and
// in several spellings: enough that pages are stored together.
func drawPages(t *rapid.T) [][]directory.User {
	user := rapid.Custom(func(t *rapid.T) directory.User {
		n := rapid.IntRange(0, 40).Draw(t, "who")
		u := directory.User{
			Email:      mail.Address(fmt.Sprintf("u%d@example.com", n)),
			Subscribed: rapid.IntRange(0, 4).Draw(t, "subscribed") > 0,
			Attributes: map[string]any{"Name": rapid.SampledFrom([]string{"", "Kim", "민"}).Draw(t, "name"),
				"Gender": rapid.SampledFrom([]string{"F", "F", "M"}).Draw(t, "gender")},
		}
		if rapid.Bool().Draw(t, "capital") {
			u.Email = "U" + u.Email[1:]
		}
		if rapid.IntRange(0, 4).Draw(t, "left") == 0 {
			u.OptOut = []string{"promo"}
		}
		return u
	})
	return rapid.SliceOfN(rapid.SliceOfN(user, 0, 4), 0, 25).Draw(t, "pages")
}

func drawCrashes(t *rapid.T) []crash {
	one := rapid.Custom(func(t *rapid.T) crash {
		return crash{rapid.IntRange(0, 40).Draw(t, "at"), rapid.Bool().Draw(t, "after")}
	})
	return rapid.SliceOfN(one, 0, 8).Draw(t, "crashes")
}

// drawWeather draws how the directory fails, call by call.
func drawWeather(t *rapid.T) func(string) error {
	var mu sync.Mutex
	fails := rapid.SliceOfN(rapid.IntRange(0, 8), 0, 30).Draw(t, "weather")
	return func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if len(fails) == 0 {
			return nil
		}
		class := mail.Class(fails[0])
		fails = fails[1:]
		if class > mail.MessageWide || class == mail.Uncertain {
			return nil
		}
		return &mail.Error{Class: class, Public: "the directory is away"}
	}
}

// expected is the model: what each person gets of the message, by address.
func expected(pages [][]directory.User) map[string]string {
	want := map[string]string{}
	for _, p := range pages {
		for _, u := range p {
			key := u.Email.Key()
			if _, had := want[key]; had || !u.Receives("promo") || u.Attributes["Gender"] != "F" {
				continue
			}
			want[key] = "queued " + u.Value("Name")
			if u.Value("Name") == "" {
				want[key] = "skipped "
			}
		}
	}
	return want
}

// compare says how the copies differ from the model; "" when they do not.
func compare(copies []mail.Copy, want map[string]string) string {
	got := map[string]string{}
	var wrong []string
	for _, c := range copies {
		if _, twice := got[c.Key()]; twice {
			wrong = append(wrong, c.Key()+" twice")
		}
		got[c.Key()] = c.State.String() + " " + c.Values[0]
	}
	for key, w := range want {
		if got[key] != w {
			wrong = append(wrong, fmt.Sprintf("%s got %q, not %q", key, got[key], w))
		}
		delete(got, key)
	}
	for key, g := range got {
		wrong = append(wrong, fmt.Sprintf("%s got %q", key, g))
	}
	slices.Sort(wrong)
	return strings.Join(wrong, "; ")
}

// However often expansion and release die, at whatever call, and whatever the
// directory answers in between, each person gets exactly what they are to get.
func TestEachPersonGetsOneCopyHoweverOftenItCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pages, weather := drawPages(rt), drawWeather(rt)
		first, second := drawCrashes(rt), drawCrashes(rt)
		changed := rapid.Uint64().Draw(rt, "changed")
		problem := ""
		synctest.Test(t, func(t *testing.T) {
			m := promo()
			m.List.Filter, m.List.Release = `Gender == "F"`, "approver"
			e, q, s := newExpander(t, m, pages...)
			s.before = weather
			if err := survive(t, q, s, first, e.Expand); err != nil {
				problem = "expanding: " + err.Error()
				return
			}
			want := expected(pages)
			if problem = compare(q.copies, want); problem != "" || q.stored().State != mail.Held {
				problem += verdictProblem(q.stored(), want)
				return
			}
			problem = releaseProblem(t, e, q, s, changed, second)
		})
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// verdictProblem says whether a message that is not held has a reason to be so.
func verdictProblem(m mail.Message, want map[string]string) string {
	if len(want) == 0 && m.State == mail.Done && m.Reason == "no subscribed user matches" {
		return ""
	}
	return fmt.Sprintf(" (the message is %s, %q)", m.State, m.Reason)
}

// releaseProblem lets some people leave or get a name, releases the message
// through crashes, and compares the copies with a model.
func releaseProblem(t *testing.T, e *expand.Expander, q *memQueue, s *pageStore, changed uint64, plan []crash) string {
	users := map[string]directory.User{}
	for _, c := range q.copies {
		u := kim(c.UserKey, c.Values[0])
		u.Attributes["Gender"] = "F"
		switch bits := changed >> (2 * c.Seq) & 3; bits {
		case 1:
			u.Subscribed = false
		case 2:
			u.Attributes["Name"] = "New"
		case 3:
			u.OptOut = []string{"promo"}
		}
		users[c.UserKey] = u
	}
	s.pages = nil
	want := map[string]string{}
	for _, c := range q.copies {
		u := users[c.UserKey]
		s.pages = append(s.pages, []directory.User{u})
		switch {
		case !u.Receives("promo"):
			want[c.Key()] = "unsubscribed " + c.Values[0]
		case u.Value("Name") == "":
			want[c.Key()] = "skipped "
		default:
			want[c.Key()] = "queued " + u.Value("Name")
		}
	}
	q.resume()
	if err := survive(t, q, s, plan, e.Release); err != nil {
		return "releasing: " + err.Error()
	}
	if q.stored().State != mail.Sending || q.stored().Releasing {
		return "the message is " + string(q.stored().State)
	}
	return compare(q.copies, want)
}
