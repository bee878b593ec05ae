package dialogue_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postern/smtpd/dialogue"
)

// met is a session from an address with a reply to the greeting; then acts on it
// before its end.
func met(r *dialogue.Recorder, id, from string, then func(*dialogue.Tap)) {
	t := r.Begin(id, dialogue.Listener{TLS: "none"})
	t.From(from)
	then(t)
	t.End()
}

func sends(t *dialogue.Tap) { talks(t); t.Accepted("01JD3QX7M0V8T4B1W8Y9ZK2N5R", 1) }

// talks is one command and its refusal.
func talks(t *dialogue.Tap) {
	_, _ = t.Write([]byte("NOOP\r\n"))
	t.Reply()
	_, _ = t.Write([]byte("250 2.0.0 OK\r\n"))
	t.Listen()
}

func fails(t *dialogue.Tap) {
	talks(t)
	_, _ = t.Write([]byte("MAIL FROM:<a@example.com>\r\n"))
	t.Reply()
	_, _ = t.Write([]byte("530 5.7.0 log in first\r\n"))
}

func ids(r *dialogue.Recorder) (all []string) {
	for s := range r.Sessions() {
		all = append(all, s.ID)
	}
	slices.Sort(all)
	return all
}

func TestOfEachAddressTheLastFewAreKept(t *testing.T) {
	r := dialogue.NewRecorder()
	for i := range 9 {
		met(r, fmt.Sprintf("%d", i), "192.0.2.1:1000", sends)
	}
	met(r, "other", "192.0.2.2:1000", sends)
	if got := ids(r); !slices.Equal(got, []string{"5", "6", "7", "8", "other"}) {
		t.Errorf("%v", got)
	}
}

func TestAFailureOutlivesTheSuccessesOfOthersAtItsAddress(t *testing.T) {
	r := dialogue.NewRecorder()
	met(r, "f0", "192.0.2.1:1", fails)
	met(r, "f1", "192.0.2.1:1", fails)
	for i := range 20 {
		met(r, fmt.Sprintf("s%02d", i), "192.0.2.1:1", sends)
	}
	if got := ids(r); !slices.Equal(got, []string{"f0", "f1", "s18", "s19"}) {
		t.Errorf("%v", got)
	}
}

func TestWhoWasRefusedWithoutAWordIsOneEntry(t *testing.T) {
	r := dialogue.NewRecorder()
	met(r, "failed", "192.0.2.1:1", fails)
	for range 1000 {
		met(r, "flood", "192.0.2.1:2", func(t *dialogue.Tap) { t.Refuse(dialogue.TooMany, "full") })
	}
	for s := range r.Sessions() {
		if s.ID == "flood" && s.Times != 1000 || s.ID == "failed" && s.Times != 1 {
			t.Errorf("%+v", s)
		}
	}
	if got := ids(r); !slices.Equal(got, []string{"failed", "flood"}) {
		t.Errorf("%v", got)
	}
}

func TestAFloodOfStrangersPushesOutStrangers(t *testing.T) {
	r := dialogue.NewRecorder()
	met(r, "device", "10.0.0.17:1", fails)
	met(r, "customer", "198.51.100.7:1", sends)
	met(r, "customer", "198.51.100.7:1", sends) // known by what it sent before
	for i := range 3 * dialogue.MaxAddresses {
		met(r, "stranger", fmt.Sprintf("203.%d.%d.1:1", i/250, i%250), fails)
	}
	got := ids(r)
	if !slices.Contains(got, "device") || !slices.Contains(got, "customer") || len(got) != dialogue.MaxAddresses+1 {
		t.Errorf("%d sessions, of the device and the customer %v", len(got), slices.DeleteFunc(got, func(s string) bool { return s == "stranger" }))
	}
}

func TestAnIPv6NetworkIsOneAddress(t *testing.T) {
	r := dialogue.NewRecorder()
	for i := range 20 {
		met(r, fmt.Sprint(i), fmt.Sprintf("[2001:db8::%x]:1", i+1), fails)
	}
	if n := len(ids(r)); n != dialogue.MaxSessions {
		t.Errorf("%d sessions", n)
	}
}

func TestNothingLaterIsPartOfAnEndedSession(t *testing.T) {
	r := dialogue.NewRecorder()
	tap := r.Begin("x", dialogue.Listener{})
	tap.From("192.0.2.1:1")
	fails(tap)
	tap.End()
	before := tap.Session()
	_, _ = tap.Write([]byte("QUIT\r\n"))
	tap.End()
	if after := tap.Session(); len(after.Lines) != len(before.Lines) || !after.Ended.Equal(before.Ended) {
		t.Errorf("%+v", after)
	}
}

// TestMemoryIsBounded fills a recorder with the longest sessions there are.
func TestMemoryIsBounded(t *testing.T) {
	long := strings.Repeat("x", 4000)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	r := dialogue.NewRecorder()
	for i := range dialogue.MaxAddresses {
		for range dialogue.MaxSessions {
			met(r, "0123456789", fmt.Sprintf("10.%d.%d.1:1", i/250, i%250), func(t *dialogue.Tap) {
				for _, verb := range []string{"EHLO ", "MAIL FROM:<", "RCPT TO:<", "DATA ", "AUTH LOGIN ", "NOOP "} {
					for range 12 {
						_, _ = t.Write([]byte(verb + long[:900] + "\r\n"))
						t.Reply()
						_, _ = t.Write([]byte("550 5.7.1 " + long + "\r\n"))
						t.Listen()
					}
				}
				for range 20 {
					t.Accepted(long, 1)
				}
				t.LoggedIn(long, false, false)
				_, _ = t.Write([]byte(long)) // a line that does not end
			})
		}
	}
	used := heap() - before
	t.Logf("%d sessions take %.1f MB", dialogue.MaxAddresses*dialogue.MaxSessions, float64(used)/1e6)
	if n := len(ids(r)); n != dialogue.MaxAddresses*dialogue.MaxSessions || used > 16<<20 {
		t.Errorf("%d sessions take %d octets", n, used)
	}
}
