package spool_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/peer"
	"postern/mail"
	"postern/spool"
)

// The tests here run a small program on a spool under strace, in a child process
// (this test binary with POSTERN_SPOOL_CHILD set), and look at what the kernel
// was really asked for.

const childEnv = "POSTERN_SPOOL_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			say("error %v", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// say marks a moment in the trace: what was said before was promised.
func say(format string, a ...any) { fmt.Printf(format+"\n", a...) }

const (
	childCopies = 120
	smallID     = mail.ID("01ARZ3NDEKTSV4RRFFQ69G5FAA") // of an ordinary mail that has no body file
	smallText   = "Subject: small\r\n\r\nthe whole of a small mail\r\n"
)

// child takes a message of a list and a small ordinary one, stores its copies, and settles them five at a time, and
// says so each time that the spool says it is done.
func child(dir string) error {
	ctx := context.Background()
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		return err
	}
	b, err := s.NewBody()
	if err != nil {
		return err
	}
	if _, err := b.Write([]byte("Subject: x\r\n\r\nbody\r\n")); err != nil {
		return err
	}
	m := mail.Message{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", State: mail.Expanding, Streaming: true, AcceptedAt: time.Now()}
	if err := s.Accept(ctx, b, []spool.Accepted{{Message: m, Compiled: []byte("pieces")}}); err != nil {
		return err
	}
	say("accepted")
	if b, err = s.NewBody(); err != nil {
		return err
	}
	if _, err := b.Write([]byte(smallText)); err != nil {
		return err
	}
	if err := s.Accept(ctx, b, []spool.Accepted{{Message: mail.Message{ID: smallID, State: mail.Sending, AcceptedAt: time.Now()}}}); err != nil {
		return err
	}
	say("taken")
	for n := 0; n < childCopies; n += 40 {
		page := copies(n + 40)[n:]
		if err := s.AddCopies(ctx, m.ID, page, fmt.Appendf(nil, "%d", n+40)); err != nil {
			return err
		}
		say("stored %d", n+40)
	}
	if err := s.Expanded(ctx, m.ID, mail.Sending, ""); err != nil {
		return err
	}
	for sent := 0; sent < childCopies; {
		claims, err := s.Claim(ctx, "", 5, time.Now())
		if err != nil {
			return err
		}
		for _, c := range claims {
			say("begun %d", c.Copy.Seq)
		}
		for _, c := range claims {
			r := spool.Result{State: mail.Sent, At: time.Now(), Spent: true, UpstreamID: fmt.Sprint("up-", c.Copy.Seq)}
			if err := s.Settle(ctx, c, r); err != nil {
				return err
			}
			say("settled %d", c.Copy.Seq)
			sent++
		}
	}
	return s.Close()
}

// call is one line of the trace.
type call struct {
	name string // pwrite64, fdatasync, ..., or "said" for a marker
	path string
	data []byte
	at   int64
	text string // of a marker
	bad  bool   // strace made it fail
}

// trace runs the child under strace with extra options and reads its calls.
func trace(t *testing.T, dir string, extra ...string) (calls []call, exit error) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "trace")
	args := append([]string{"-f", "-y", "-xx", "-s", "1000000", "-o", log,
		"-e", "trace=pwrite64,fdatasync,fsync,ftruncate,write,linkat,link"}, extra...)
	cmd := exec.Command(peer.Command(t, "strace"), append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, exit := cmd.CombinedOutput()
	var ee *exec.ExitError
	if exit != nil && !errors.As(exit, &ee) {
		t.Fatal(exit)
	}
	if exit != nil {
		exit = fmt.Errorf("%w: %s", exit, out)
	}
	return readTrace(t, log), exit
}

var (
	reStart   = regexp.MustCompile(`^(\d+) +(\w+)\((?:(-?\d+)(?:<([^>]*)>)?)?(.*)$`)
	reResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>`)
	reString  = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
	reNumbers = regexp.MustCompile(`, (\d+)(?:, (\d+))?(?:\)| <unfinished)`)
)

// readTrace keeps writes where they begin and everything else where it returns.
func readTrace(t *testing.T, log string) []call {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var calls []call
	waiting := map[string]call{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := reResumed.FindStringSubmatch(line); m != nil {
			if c, ok := waiting[m[1]]; ok {
				delete(waiting, m[1])
				c.bad = strings.Contains(line, "(INJECTED)")
				calls = append(calls, c)
			}
			continue
		}
		m := reStart.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		c := parseCall(m)
		c.bad = strings.Contains(line, "(INJECTED)")
		if c.name == "pwrite64" || c.name == "ftruncate" || !strings.Contains(line, "<unfinished") {
			calls = append(calls, c)
		} else {
			waiting[m[1]] = c
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

func parseCall(m []string) call {
	c := call{name: m[2], path: unescape(m[4])}
	rest := m[5]
	if s := reString.FindStringSubmatchIndex(rest); s != nil {
		c.data = []byte(unescape(rest[s[2]:s[3]]))
		rest = rest[s[1]:]
	}
	if n := reNumbers.FindStringSubmatch(rest); n != nil {
		c.at, _ = strconv.ParseInt(n[2], 10, 64)
		if c.name == "ftruncate" {
			c.at, _ = strconv.ParseInt(n[1], 10, 64)
		}
	}
	if c.name == "write" && m[3] == "1" {
		c.name, c.text = "said", strings.TrimSpace(string(c.data))
	}
	return c
}

func unescape(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		return s
	}
	return string(b)
}

// TestNothingIsPromisedBeforeItIsSynced reads the order of system calls: body,
// name and rows are synced before "accepted", and the rows of every other
// promise before it is said.
func TestNothingIsPromisedBeforeItIsSynced(t *testing.T) {
	calls, err := trace(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dirty := map[string]bool{} // files with writes that no sync has followed
	bodySynced, named, dirSynced, smallWritten := false, false, false, false
	said := 0
	for _, c := range calls {
		base := filepath.Base(c.path)
		switch {
		case c.name == "pwrite64", c.name == "ftruncate":
			dirty[base] = true
			smallWritten = smallWritten || base == "spool.db" && strings.Contains(string(c.data), smallText)
		case c.name == "fdatasync":
			delete(dirty, base)
		case c.name == "fsync":
			delete(dirty, base)
			bodySynced = bodySynced || strings.HasPrefix(base, "tmp-")
			dirSynced = dirSynced || base == "bodies" && named
		case c.name == "linkat", c.name == "link":
			named = bodySynced
		case c.name == "write" && strings.HasPrefix(base, "tmp-"):
			bodySynced = false
		case c.name == "said":
			said++
			if c.text == "accepted" && !(bodySynced && named && dirSynced) {
				t.Errorf("accepted with body synced %v, named %v, directory synced %v", bodySynced, named, dirSynced)
			}
			if c.text == "taken" && !smallWritten {
				t.Error("a small mail was taken that is not in spool.db")
			}
			if dirty["spool.db"] {
				t.Fatalf("%q was said before spool.db was synced", c.text)
			}
		}
	}
	if said < 2*childCopies {
		t.Fatalf("the trace holds %d promises; it was not read right", said)
	}
}

// TestAPowerCutLosesNoPromise replays the recorded writes of spool.db: all up to
// a sync, and of those after it (which a dying machine writes in any order) a
// random part. Whatever was promised by then must be there, and it must add up.
func TestAPowerCutLosesNoPromise(t *testing.T) {
	dir := t.TempDir()
	calls, err := trace(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	var syncs []int
	for i, c := range calls {
		if c.name == "fdatasync" && filepath.Base(c.path) == "spool.db" {
			syncs = append(syncs, i)
		}
	}
	if len(syncs) < 100 {
		t.Fatalf("only %d syncs in the trace", len(syncs))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < 30; n++ {
		k := rng.IntN(len(syncs))
		end := len(calls)
		if k+1 < len(syncs) {
			end = syncs[k+1]
		}
		replay(t, rng, dir, calls[:syncs[k]+1], calls[syncs[k]+1:end])
	}
}

func replay(t *testing.T, rng *rand.Rand, bodies string, synced, after []call) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bodies"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV.eml", "01ARZ3NDEKTSV4RRFFQ69G5FAV.copy"} {
		if err := os.Link(filepath.Join(bodies, "bodies", name), filepath.Join(dir, "bodies", name)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "spool.db"))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, f, synced)
	cut := slices.DeleteFunc(slices.Clone(after), func(call) bool { return rng.IntN(2) == 0 })
	rng.Shuffle(len(cut), func(i, j int) { cut[i], cut[j] = cut[j], cut[i] })
	apply(t, f, cut)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatalf("after a cut the spool does not open: %v", err)
	}
	defer closeChecked(t, s)
	checkPromises(t, s, synced)
}

func apply(t *testing.T, f *os.File, calls []call) {
	t.Helper()
	for _, c := range calls {
		if filepath.Base(c.path) != "spool.db" {
			continue
		}
		var err error
		switch c.name {
		case "pwrite64":
			_, err = f.WriteAt(c.data, c.at)
		case "ftruncate":
			err = f.Truncate(c.at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// checkPromises holds the spool to what was said before the cut.
func checkPromises(t *testing.T, s *spool.Spool, calls []call) {
	t.Helper()
	id := mail.ID("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	list, err := s.Messages("", 1)
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, c := range calls {
		verb, number, _ := strings.Cut(c.text, " ")
		n, _ := strconv.Atoi(number)
		switch {
		case c.name != "said" || verb == "error":
		case len(list) == 0:
			t.Fatalf("%q was said, and the message is gone", c.text)
		case verb == "taken":
			if got := bodyOf(t, s, smallID); got != smallText {
				t.Fatalf("%q was said, and the small mail is %q", c.text, got)
			}
		case verb == "stored":
			stored = n
		case verb == "begun" || verb == "settled":
			cs, err := s.Copies(id, uint32(n-1), 1)
			if err != nil || len(cs) != 1 || cs[0].Seq != uint32(n) {
				t.Fatalf("%q was said: %v %v", c.text, cs, err)
			}
			if verb == "begun" && cs[0].State == mail.Queued {
				t.Fatalf("copy %d had begun and is queued: it would be sent twice", n)
			}
			if verb == "settled" && cs[0].State != mail.Sent {
				t.Fatalf("copy %d was settled and is %s", n, cs[0].State)
			}
		}
	}
	if len(list) > 0 && list[0].Counts.Total() < stored {
		t.Fatalf("%d copies were stored, %d are there", stored, list[0].Counts.Total())
	}
}

// TestAFailedSyncStopsEverything makes fdatasync fail (strace counts for each
// thread of the child by itself): from then on nothing
// is promised, and after a restart what was promised is there.
func TestAFailedSyncStopsEverything(t *testing.T) {
	for _, when := range []string{"9", "14", "20"} {
		t.Run("after "+when, func(t *testing.T) {
			dir := t.TempDir()
			calls, exit := trace(t, dir, "-e", "inject=fdatasync:error=EIO:when="+when)
			if exit == nil || !strings.Contains(exit.Error(), "restarted") {
				t.Fatalf("the child ended with %v", exit)
			}
			failed := false
			for _, c := range calls {
				if failed && c.name == "said" && !strings.HasPrefix(c.text, "error") {
					t.Fatalf("%q was said after a failed sync", c.text)
				}
				failed = failed || c.bad
			}
			if !failed {
				t.Fatal("no sync failed")
			}
			s := open(t, dir)
			defer closeChecked(t, s)
			checkPromises(t, s, calls)
		})
	}
}

// TestAFullDiskPromisesNothingAndBreaksNothing makes writes fail with ENOSPC.
func TestAFullDiskPromisesNothingAndBreaksNothing(t *testing.T) {
	for _, when := range []string{"12", "30", "100+"} {
		t.Run("write "+when, func(t *testing.T) {
			dir := t.TempDir()
			calls, exit := trace(t, dir, "-e", "inject=pwrite64:error=ENOSPC:when="+when)
			if exit == nil || !strings.Contains(exit.Error(), "full") {
				t.Fatalf("the child ended with %v", exit)
			}
			s := open(t, dir)
			defer closeChecked(t, s)
			checkPromises(t, s, calls)
		})
	}
}

// TestABodyThatCannotBeWrittenIsNotAccepted fails the body's own sync.
func TestABodyThatCannotBeWrittenIsNotAccepted(t *testing.T) {
	dir := t.TempDir()
	calls, exit := trace(t, dir, "-e", "inject=fsync:error=EIO:when=1")
	if exit == nil {
		t.Fatal("the child did not notice")
	}
	for _, c := range calls {
		if c.name == "said" && c.text == "accepted" {
			t.Fatal("accepted without a synced body")
		}
	}
	s := open(t, dir)
	defer closeChecked(t, s)
	if list, err := s.Messages("", 1); err != nil || len(list) != 0 {
		t.Fatalf("there are messages: %v %v", list, err)
	}
}
