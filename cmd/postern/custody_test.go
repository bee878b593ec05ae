package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"postern/internal/peer"
)

// TestKilledAtAnyMomentEveryCopyGoes kills the gateway again and again while it
// sends 2,000 copies: all arrive, and twice only what was under way at a kill.
func TestKilledAtAnyMomentEveryCopyGoes(t *testing.T) {
	t.Parallel()
	const users, kills, concurrency = 2000, 8, 10
	r := startRecorder(t)
	g := newGateway(t, "[relay]\nuncertain_wait = \"1s\"\n"+smtpLane(r.addr))
	g.users(users)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for range kills {
		for range 20 + rng.IntN(users/kills-40) { // the next kill comes after so many more arrivals
			select {
			case <-r.arrive:
			case <-time.After(time.Minute):
				t.Fatalf("nothing arrives any more:\n%s", g.log)
			}
		}
		g.kill()
		g.serve()
	}
	m := g.untilDone()
	if m.Copies["sent"] != users {
		t.Errorf("copies: %v", m.Copies)
	}
	g.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	double := 0
	for to, n := range r.to {
		double += n - 1
		if n > 1+kills {
			t.Errorf("%s got %d", to, n)
		}
	}
	if len(r.to) != users || double > kills*concurrency || r.err != nil {
		t.Errorf("%d of %d arrived, %d doubles in %d kills of %d connections, %v", len(r.to), users, double, kills, concurrency, r.err)
	}
	t.Logf("%d doubles in %d kills", double, kills)
	if out := g.run("spool", "check"); strings.Contains(out, "problem") && !strings.Contains(out, "no problem") {
		t.Errorf("spool check: %s", out)
	}
}

// TestKilledAfterTheAnswerNothingIsLost kills the gateway as soon as the 250 is
// there, many times, and before the first page is expanded as a rule.
func TestKilledAfterTheAnswerNothingIsLost(t *testing.T) {
	const rounds, users = 5, 20
	g := newGateway(t, maildirLane)
	g.users(users)
	for i := range rounds {
		g.serve()
		g.mustSubmit("promo@lists.example.com", strings.Replace(hello, "<hello@", fmt.Sprintf("<hello%d@", i), 1))
		g.kill()
	}
	g.serve()
	g.until("all done", func(message) bool {
		for _, m := range g.queue() {
			if m.State != "done" || m.Copies["sent"] != users {
				return false
			}
		}
		return true
	})
	if n := len(g.outbox()); n != rounds*users {
		t.Errorf("%d copies, want %d", n, rounds*users)
	}
	g.stop()
}

// TestEndedInOrderNothingIsSentTwice stops the gateway with SIGTERM in the middle
// of a campaign, twice.
func TestEndedInOrderNothingIsSentTwice(t *testing.T) {
	const users = 600
	r := startRecorder(t)
	g := newGateway(t, smtpLane(r.addr))
	g.users(users)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello)
	for range 2 {
		for range 100 {
			<-r.arrive
		}
		g.stop()
		g.serve()
	}
	g.untilDone()
	g.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for to, n := range r.to {
		if n != 1 {
			t.Errorf("%s got %d", to, n)
		}
	}
	if len(r.to) != users {
		t.Errorf("%d of %d arrived", len(r.to), users)
	}
}

// TestTheAnswerComesAfterTheDisk reads the system calls of the running program:
// between a body's last write and its 250 lie the sync of the body, its name, the
// sync of the directory and the sync of the spool's rows; a small body is written
// with the rows.
func TestTheAnswerComesAfterTheDisk(t *testing.T) {
	log := filepath.Join(t.TempDir(), "trace")
	g := newGateway(t, maildirLane)
	g.users(3)
	g.wrap = []string{peer.Command(t, "strace"), "-D", "-f", "-y", "-s", "20000", "-o", log, "-e", "trace=write,fsync,fdatasync,linkat,pwrite64"}
	g.serve()
	g.wrap = nil
	for i := range 5 {
		g.mustSubmit("promo@lists.example.com", strings.Replace(hello, "<hello@", fmt.Sprintf("<hello%d@", i), 1))
	}
	ordinary := strings.Replace(hello, "{{Name}}", "you", 2)
	g.mustSubmit("somebody@example.org", ordinary+strings.Repeat("a long text\n", 2000))
	g.mustSubmit("somebody@example.org", ordinary+"the whole of a small mail\n")
	g.stop()
	text := wholeTrace(t, log)
	answer := regexp.MustCompile(`write\(\d+<[^>]*>, "250 2\.0\.0 queued as`)
	returned := regexp.MustCompile(`^\d+ +(?:(fsync|fdatasync|linkat)\((.*)|<\.\.\. (fsync|fdatasync|linkat) resumed>)`)
	body := regexp.MustCompile(`write\(\d+<[^>]*/bodies/tmp-`)
	small := regexp.MustCompile(`pwrite64\(\d+<[^>]*/spool.db>.*the whole of a small mail`)
	begun := map[string]string{} // thread to the arguments of an unfinished call
	answers := 0
	var steps []string
	for line := range strings.Lines(text) {
		thread, _, _ := strings.Cut(line, " ")
		switch m := returned.FindStringSubmatch(line); {
		case body.MatchString(line):
			steps = nil
		case small.MatchString(line):
			steps = append(steps, "small") // in spool.db, which is synced as its rows; later commits may write its page again
		case answer.MatchString(line):
			answers++
			if got := strings.Join(steps, " "); !regexp.MustCompile(`small .*rows|body.* name.* dir.* rows`).MatchString(got) {
				t.Errorf("before a 250: %q", got)
			}
			steps = nil
		case m == nil:
		case m[1] != "" && strings.Contains(line, "<unfinished"):
			begun[thread] = m[1] + m[2]
		default:
			call := m[1] + m[2]
			if m[3] != "" {
				call = begun[thread]
			}
			steps = append(steps, step(call))
		}
	}
	if answers != 7 {
		t.Fatalf("%d answers in the trace, want 7", answers)
	}
}

// wholeTrace reads a trace when the tracer, which outlives the program, is done.
func wholeTrace(t *testing.T, log string) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		text, err := os.ReadFile(log)
		if err == nil && strings.HasSuffix(string(text), "+++ exited with 0 +++\n") {
			return string(text)
		}
		<-tick.C
	}
	t.Fatal("the trace does not end")
	return ""
}

func step(call string) string {
	switch {
	case strings.HasPrefix(call, "fsync") && strings.Contains(call, "/bodies/tmp-"):
		return "body"
	case strings.HasPrefix(call, "linkat"):
		return "name"
	case strings.HasPrefix(call, "fsync") && strings.Contains(call, "/bodies>"):
		return "dir"
	case strings.HasPrefix(call, "fdatasync") && strings.Contains(call, "spool.db"):
		return "rows"
	}
	return "-"
}

// TestAFullDiskIsAnswered452 lets every write to the spool's file fail as on a
// full disk, and then lets them pass again: nothing is taken meanwhile, and
// nothing needs a hand.
func TestAFullDiskIsAnswered452(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.users(3)
	g.serve()
	free := inject(t, g, "pwrite64", "ENOSPC")
	for range 2 {
		var reply *smtp.SMTPError
		err := g.submit("promo@lists.example.com", hello)
		if !errors.As(err, &reply) || reply.Code != 452 || !strings.Contains(reply.Message, "full") {
			t.Errorf("with a full disk: %v, want 452\n%s", err, g.log)
		}
	}
	free()
	g.mustSubmit("promo@lists.example.com", hello)
	g.untilDone()
	if n := len(g.queue()); n != 1 {
		t.Errorf("%d messages, want the one that was answered 250", n)
	}
	g.stop()
}

// inject makes a system call of the running gateway fail until the func that it
// returns is called, or the test ends.
func inject(t *testing.T, g *gateway, call, errno string) (end func()) {
	t.Helper()
	strace := exec.Command(peer.Command(t, "strace"), "-f", "-p", fmt.Sprint(g.cmd.Process.Pid), "-o", os.DevNull,
		"-e", "trace="+call, "-e", "inject="+call+":error="+errno)
	if err := strace.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = strace.Process.Signal(syscall.SIGTERM) // it lets go of the gateway
		_ = strace.Wait()
	})
	t.Cleanup(end)
	waitTraced(t, g.cmd.Process.Pid)
	return end
}

// TestAFailedSyncAnswers452AndSendsNothing lets every sync of the spool fail once
// the gateway runs.
func TestAFailedSyncAnswers452AndSendsNothing(t *testing.T) {
	g := newGateway(t, maildirLane)
	g.users(3)
	g.serve()
	inject(t, g, "fdatasync", "EIO")
	for range 2 {
		var reply *smtp.SMTPError
		if err := g.submit("promo@lists.example.com", hello); !errors.As(err, &reply) || reply.Code != 452 {
			t.Fatalf("with a failing disk: %v, want 452\n%s", err, g.log)
		}
	}
	if n := len(g.outbox()); n != 0 {
		t.Errorf("%d copies left a spool that could not be written", n)
	}
}

// waitTraced waits until a tracer is attached to every thread.
func waitTraced(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		traced := len(all) > 0
		for _, f := range all {
			b, err := os.ReadFile(f)
			if err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
				traced = false
			}
		}
		if traced {
			return
		}
		<-tick.C
	}
	t.Fatal("strace does not attach")
}
