package expand_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/directory"
	"postern/expand"
	"postern/mail"
)

func TestExpandStoresACopyForEachWhoReceives(t *testing.T) {
	left := kim("left@example.com", "Left")
	left.OptOut = []string{"other", "promo"}
	leftAll := kim("leftall@example.com", "Left")
	leftAll.OptOut = []string{directory.AllLists}
	stays := kim("stays@example.com", "Stays")
	stays.OptOut = []string{"other"}
	never := kim("never@example.com", "Never")
	never.Subscribed = false
	odd := kim("no address", "Odd")
	man := kim("lee@example.net", "Lee")
	m := promo()
	m.Fields = []string{"Name", "Email", "List", "Date", "Unsubscribe", "Point"}
	m.Required = []bool{true, true, true, true, true, false}
	m.List.Filter = `Name != "Lee"`
	raw := kim("Kim.Min@EXAMPLE.com", "Kim, \"Min\" 민 <b>\r\n{{Email}}")
	raw.Attributes["Point"] = json.Number("1e3")
	e, q, _ := newExpander(t, m,
		[]directory.User{raw, left, leftAll, never}, nil, []directory.User{stays, odd, man, kim("blocked@example.org", "B")},
		[]directory.User{kim("kim.min@example.com", "another spelling")})
	e.Blocked = func(a mail.Address, list string) (directory.Block, bool) {
		return directory.Block{Kind: "suppressed", Reason: "bounced"}, a == "blocked@example.org" && list == "promo"
	}
	if err := e.Expand(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := `Kim.Min@EXAMPLE.com queued ["Kim, \"Min\" 민 <b>\r\n{{Email}}" "Kim.Min@EXAMPLE.com" "Promotions" "" "" "1e3"]` + "\n" +
		`stays@example.com queued ["Stays" "stays@example.com" "Promotions" "" "" ""]` + "\n"
	if got := q.table(); got != want {
		t.Errorf("copies:\n%swant:\n%s", got, want)
	}
	if q.copies[0].UserKey != "Kim.Min@EXAMPLE.com" || q.copies[0].Message != testID {
		t.Errorf("the copy does not name its user and message: %+v", q.copies[0])
	}
	// Each page's checkpoint came with its rows, the last page's is the one before it.
	if got := strings.Join(q.calls, ", "); got != "AddCopies 1, AddCopies 2, AddCopies 3, AddCopies 3, Expanded" {
		t.Errorf("calls: %s", got)
	}
	if got := q.stored(); got.State != mail.Sending || got.Reason != "" {
		t.Errorf("the message is %s, %q", got.State, got.Reason)
	}
}

func TestExpandEndsAsTheListSays(t *testing.T) {
	some := append(kims(4), kim("no1@example.com", " "), kim("no2@example.com", ""))
	nobody := kim("x@example.com", "X")
	nobody.Subscribed = false
	for _, c := range []struct {
		name   string
		users  []directory.User
		change func(m *mail.Message)
		state  mail.MessageState
		reason string
	}{
		{"immediate", kims(3), func(m *mail.Message) {}, mail.Sending, ""},
		{"nobody", []directory.User{nobody}, func(m *mail.Message) {}, mail.Done, "no subscribed user matches"},
		{"nobody beside another list", nil, func(m *mail.Message) { m.Siblings = []mail.ID{"A"} }, mail.Done,
			"no subscribed user matches who does not get it through another list of the same mail"},
		{"missing held", some, func(m *mail.Message) {}, mail.Held, "2 of 6 have no value for {{Name}} (first: no1@example.com); " +
			"fill that in, or cancel it and send it again with a fallback such as {{Name|friend}}; " +
			"`postern queue resume " + string(testID) + "` sends to whoever has a value then (4 now)"},
		{"missing skipped", some, func(m *mail.Message) { m.List.Missing = "skip" }, mail.Sending, ""},
		{"missing without a word", some, func(m *mail.Message) { m.List.Missing = "" }, mail.Held, "2 of 6 have"},
		{"all skipped", some[4:], func(m *mail.Message) { m.List.Missing = "skip" }, mail.Done,
			"nobody will receive it: 2 of 2 have no value for {{Name}} (first: no1@example.com)"},
		{"not required", some, func(m *mail.Message) { m.Required = []bool{false} }, mail.Sending, ""},
		{"two missing", some, func(m *mail.Message) { m.Fields, m.Required = []string{"Gender", "Name"}, []bool{true, true} }, mail.Held,
			"6 of 6 have no value for {{Gender}} (first: u0@example.com), 2 of 6 have no value for {{Name}} (first: no1@example.com);"},
		{"sender", kims(3), func(m *mail.Message) { m.List.Release = "sender" }, mail.Held,
			"held for release: 3 will receive it; `postern queue resume " + string(testID) + "` releases it"},
		{"approver", kims(3), func(m *mail.Message) { m.List.Release = "approver"; m.List.ReleaseOver = 2 }, mail.Held, "held for release: 3 will"},
		{"few enough", kims(3), func(m *mail.Message) { m.List.Release = "sender"; m.List.ReleaseOver = 3 }, mail.Sending, ""},
		{"skipped are not counted", some, func(m *mail.Message) {
			m.List.Release, m.List.ReleaseOver, m.List.Missing = "sender", 4, "skip"
		}, mail.Sending, ""},
		{"unknown policy", kims(1), func(m *mail.Message) { m.List.Release = "quorum" }, mail.Held, "held for release: 1 will"},
		{"streaming", kims(3), func(m *mail.Message) { m.Streaming, m.Required = true, nil }, mail.Sending, ""},
		{"streaming to nobody", nil, func(m *mail.Message) { m.Streaming = true }, mail.Done, "no subscribed user matches"},
		{"no verdict", kims(1), func(m *mail.Message) { m.List.Filter = `Name matches "^" + Email + "("` }, mail.Held,
			"1 of 1 has no verdict of the list's filter (first: u0@example.com);"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := promo()
			c.change(&m)
			e, q, _ := newExpander(t, m, c.users)
			if err := e.Expand(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if got := q.stored(); got.State != c.state || !strings.HasPrefix(got.Reason, c.reason) || c.reason == "" && got.Reason != "" {
				t.Errorf("the message is %s, %q", got.State, got.Reason)
			}
		})
	}
}

// A big message is counted over more than one batch of copies.
func TestExpandCountsEveryCopy(t *testing.T) {
	users := kims(2500)
	users[2400].Attributes["Name"] = ""
	m := promo()
	e, q, _ := newExpander(t, m, users[:1300], users[1300:])
	if err := e.Expand(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := q.stored().Reason; !strings.HasPrefix(got, "1 of 2500 has no value for {{Name}} (first: u2400@example.com);") || !strings.HasSuffix(got, "(2499 now)") {
		t.Error(got)
	}
}

func TestExpandMarksWhoIsSkipped(t *testing.T) {
	m := promo()
	m.Fields, m.Required = []string{"Gender", "Name"}, []bool{true, true}
	e, q, _ := newExpander(t, m, []directory.User{kim("a@example.com", "A"), kim("b@example.com", "")})
	if err := e.Expand(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := `a@example.com skipped ["" "A"] no value for {{Gender}}` + "\n" + `b@example.com skipped ["" ""] no value for {{Gender}} and {{Name}}` + "\n"
	if got := q.table(); got != want {
		t.Errorf("copies:\n%swant:\n%s", got, want)
	}
}

func TestExpandLearnsFields(t *testing.T) {
	one, two := kim("a@example.com", "A"), kim("b@example.com", "B")
	one.Attributes["Point"], one.Attributes["tags"], one.Attributes["none"] = json.Number("3"), []any{"x"}, nil
	two.Attributes["Point"], two.Attributes["Vip"], two.Attributes["name"] = "many", true, "b"
	two.Subscribed = false
	m := promo()
	e, _, _ := newExpander(t, m, []directory.User{one}, []directory.User{two})
	var learnt []string
	e.OnLearn = func(name, typ string) { learnt = append(learnt, name+" "+typ) }
	for range 2 {
		e.Queue = &memQueue{msg: m}
		if err := e.Expand(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(learnt)
	if got := strings.Join(learnt, ", "); got != "Point number, Vip bool" {
		t.Errorf("learnt %s", got)
	}
}

func TestExpandFetchesAPageWhileOneIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a deadlock fails the test
		m := promo()
		e, q, s := newExpander(t, m, kims(1), kims(2), kims(3))
		third := make(chan struct{})
		s.before = func(call string) error {
			if call == "Scan 1" {
				close(third)
			}
			return nil
		}
		q.hook = func(call string, done bool) error {
			if call == "AddCopies 1" && !done {
				<-third
			}
			return nil
		}
		if err := e.Expand(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	})
}

func TestExpandWaitsForTheDirectory(t *testing.T) {
	for _, c := range []struct {
		name        string
		err         error
		least, most []time.Duration
		reason      string
	}{
		{"temporary", errors.New("connection reset"),
			[]time.Duration{800, 1600, 3200, 6400, 12800, 24000, 24000}, []time.Duration{1000, 2000, 4000, 8000, 16000, 30000, 30000},
			"waiting for the directory: connection reset; trying again in 1s"},
		{"retry after", &mail.Error{Class: mail.Throttled, Public: "DynamoDB is throttled.", RetryAfter: 8 * time.Second, Err: errors.New("inner")},
			[]time.Duration{8000, 8000, 8000, 8000, 8000, 8000, 8000}, nil,
			"waiting for the directory: DynamoDB is throttled; trying again in 8s"},
		{"permanent", fmt.Errorf("scan: %w", &mail.Error{Class: mail.Permanent, Public: "the table User does not exist"}),
			[]time.Duration{60000, 60000, 60000, 60000, 60000, 60000, 60000}, nil,
			"waiting for the directory: the table User does not exist; trying again in 1m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := promo()
				e, q, s := newExpander(t, m, kims(1), append(kims(2), kims(3)...))
				var waits []time.Duration
				last := time.Now()
				s.before = func(call string) error {
					if call == "Scan 0" || len(waits) == len(c.least)+1 {
						return nil
					}
					waits, last = append(waits, time.Since(last)), time.Now()
					if len(waits) <= len(c.least) {
						return c.err
					}
					return nil
				}
				if err := e.Expand(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				most := c.most
				if most == nil {
					most = c.least
				}
				for i, w := range waits[1:] {
					if w < c.least[i]*time.Millisecond || w > most[i]*time.Millisecond {
						t.Errorf("wait %d was %s; want %d to %d ms", i, w, c.least[i], most[i])
					}
				}
				if len(q.reasons) < 2 || q.reasons[0] != c.reason || q.reasons[len(q.reasons)-1] != "" {
					t.Errorf("people read %q", q.reasons)
				}
				if got := q.stored(); got.State != mail.Sending || len(q.copies) != 3 {
					t.Errorf("the message is %s with %d copies", got.State, len(q.copies))
				}
			})
		})
	}
}

// A reason that an earlier run left behind goes when the directory answers.
func TestExpandClearsAnOldReason(t *testing.T) {
	m := promo()
	m.Reason = "waiting for the directory: it was away; trying again in 8s"
	e, q, _ := newExpander(t, m, kims(1), kims(1))
	if err := e.Expand(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%q", q.reasons) != `[""]` {
		t.Errorf("people read %q", q.reasons)
	}
}

func TestExpandStopsPromptlyWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := promo()
		e, q, s := newExpander(t, m, kims(1), kims(2))
		s.before = func(call string) error {
			if call == "Scan 1" {
				return &mail.Error{Class: mail.Unreachable, Public: "no route"}
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := e.Expand(ctx, m)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if got := q.stored(); got.Expanded || string(got.Checkpoint) != "1" || !strings.HasPrefix(got.Reason, "waiting for the directory: no route;") {
			t.Errorf("what is left on disk: %+v", got)
		}
	})
}

func TestExpandNoticesAScanThatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := promo()
		e, q, s := newExpander(t, m)
		e.Store = stuckStore{s}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Expand(ctx, m); err == nil || !strings.Contains(q.stored().Reason, "stands still") {
			t.Errorf("%v; people read %q", err, q.stored().Reason)
		}
	})
}

type stuckStore struct{ *pageStore }

func (stuckStore) Scan(context.Context, directory.Checkpoint) (directory.Page, error) {
	return directory.Page{Next: directory.Checkpoint("7")}, nil
}

func TestExpandReturnsTheQueuesErrors(t *testing.T) {
	for _, at := range []string{"AddCopies 1", "AddCopies 2", "Explain", "Expanded"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := promo()
				e, q, s := newExpander(t, m, kims(1), kims(2), kims(3))
				failed := false
				s.before = func(call string) error {
					if call == "Scan 2" && !failed {
						failed = true
						return errors.New("away")
					}
					return nil
				}
				full := errors.New("the disk is full")
				q.hook = func(call string, _ bool) error {
					if call == at {
						return full
					}
					return nil
				}
				if err := e.Expand(t.Context(), m); !errors.Is(err, full) || q.stored().Expanded {
					t.Errorf("%v; %+v", err, q.stored())
				}
			})
		})
	}
}

func TestExpandKeepsAMessageWhoseFilterNoLongerFits(t *testing.T) {
	m := promo()
	m.List.Filter = `Gendre == "F"`
	e, q, _ := newExpander(t, m, kims(1))
	err := e.Expand(t.Context(), m)
	if mail.ClassOf(err) != mail.Permanent || q.stored().State != mail.Expanding || len(q.copies) != 0 {
		t.Errorf("%v; %+v", err, q.stored())
	}
	if got := q.stored().Reason; !strings.Contains(got, "did you mean Gender? (mend [fields] in the configuration, or cancel the message)") {
		t.Error(got)
	}
	m.List = nil
	if err := e.Expand(t.Context(), m); err == nil {
		t.Error("ordinary mail was expanded")
	}
}

var _ expand.Queue = (*memQueue)(nil)
