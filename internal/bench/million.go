package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

const (
	allPeople  = 1_000_000
	somePeople = 10_000
	// someRuns is how often the small directory is expanded before each turn of the
	// large one: as many again come after it.
	someRuns = 10
)

// The filters of the part million: one chooses everybody, one 1 in 100.
const (
	choosesAll = `CreateTime > 0`
	choosesFew = `Gender == "Female" && CreateTime >= 1767193200`
)

// million imports a million users into the embedded directory and expands messages to
// 10,000 and to 1,000,000 of them. All of it happens in processes of their own, whose
// anonymous memory is watched.
func (b *bench) million() error {
	dir, err := os.MkdirTemp(b.dir, "million-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, n := range []int{somePeople, allPeople} {
		if err := b.importPeople(dir, n); err != nil {
			return err
		}
	}
	return b.expandPeople(dir)
}

// importPeople makes the directory of n users by the program's own import.
func (b *bench) importPeople(dir string, n int) error {
	g := &gateway{dir: filepath.Join(dir, fmt.Sprint(n)), binary: b.binary}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return err
	}
	if err := g.configure(gatewayOptions{lane: smtpLane("127.0.0.1:9")}); err != nil {
		return err
	}
	if err := writePeople(filepath.Join(g.dir, "users.csv"), n); err != nil {
		return err
	}
	cmd := exec.Command(g.binary, "users", "import", "users.csv")
	cmd.Dir = g.dir
	start := time.Now()
	peak, err := watched(cmd)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if n == allPeople {
		row(fmt.Sprintf("`postern users import` of %d users into the embedded directory", n),
			fmt.Sprintf("%.0f rows/s, %.1f s", float64(n)/took.Seconds(), took.Seconds()), "", "", "")
		row("the same, anonymous memory at most", inMB(peak), "", "", "<= 100 MB")
	}
	return os.Remove(filepath.Join(g.dir, "users.csv"))
}

func inMB(octets int64) string { return fmt.Sprintf("%.0f MB", float64(octets)/1e6) }

// writePeople writes users as a shop has them, in no order: half of them women, one
// in fifty registered since 2026, one in a hundred not subscribed.
func writePeople(path string, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(f)
	w := csv.NewWriter(buffered)
	_ = w.Write([]string{"Email", "Name", "Gender", "CreateTime", "SubscriptionStatus"})
	for i := range n {
		gender, created, subscribed := "Female", 1_500_000_000+i, "true"
		if i%2 == 1 {
			gender = "Male"
		}
		if i%100 < 2 {
			created = 1767193200 + i // of these one in two is a woman
		}
		if i%100 == 50 {
			subscribed = "false"
		}
		_ = w.Write([]string{personAddress(i * 7919 % n), fmt.Sprintf("김고객%d", i), gender, fmt.Sprint(created), subscribed})
	}
	w.Flush()
	return errors.Join(w.Error(), buffered.Flush(), f.Close())
}

func personAddress(i int) string { return fmt.Sprintf("customer.%07d@example.net", i) }

// watched runs a command and gives the most anonymous memory that it was seen to have.
func watched(cmd *exec.Cmd) (peak int64, err error) {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return peak, err
		case <-tick.C:
			if now, err := anonymousOf(cmd.Process.Pid); err == nil {
				peak = max(peak, now)
			}
		}
	}
}

// kind is what messages are compared.
type kind struct {
	Filter    string // of the list
	Unordered bool   // the directory has no order, and is not on disk
}

// expansion is one message to a whole directory.
type expansion struct {
	Users int // of the directory
	kind
	Copies    int     // that were stored
	Took      float64 // seconds, from the acceptance to the last word
	Processor float64 // seconds of it that the processors worked
	Anon      int64   // the most anonymous memory of the process meanwhile
	Spool     int64   // octets of spool.db
	Dispatch  float64 // seconds that a copy takes from its claim to its settlement
}

// expandPeople lets another process expand messages to both directories in turn.
func (b *bench) expandPeople(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "expand", dir, fmt.Sprint(b.rounds))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var all []expansion
	for d := json.NewDecoder(out); ; {
		var e expansion
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return errors.Join(err, cmd.Wait())
		}
		all = append(all, e)
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	show(all, kind{Filter: choosesAll}, "a message to 1,000,000 users, of whom a filter chooses all")
	show(all, kind{Filter: choosesFew}, "a message to 1,000,000 users, of whom a filter chooses 1 in 100")
	show(all, kind{Unordered: true}, "a message to 1,000,000 users of a directory in no order, in memory")
	return nil
}

// show prints what messages of one kind cost; the median counts.
func show(all []expansion, of kind, what string) {
	took, sent := map[int][]float64{}, map[int][]float64{}
	var last expansion
	var peak int64
	for _, e := range all {
		if e.kind != of {
			continue
		}
		took[e.Users] = append(took[e.Users], e.Took/float64(e.Users)*1e6)
		sent[e.Users] = append(sent[e.Users], e.Dispatch*1e6)
		if peak = max(peak, e.Anon); e.Users == allPeople {
			last = e
		}
	}
	many, few := median(took[allPeople]), median(took[somePeople])
	row(fmt.Sprintf("%s: %d copies", what, last.Copies), fmt.Sprintf("%.0f users/s, %.1f s", 1e6/many, many*allPeople/1e6), "", "", "<= 60 s")
	row("the same, for each user, beside 10,000 users", fmt.Sprintf("%.1f µs", many), fmt.Sprintf("%.1f µs", few), fmt.Sprintf("%.2f x", many/few), "<= 1.2 x")
	row("the same, anonymous memory at most", inMB(peak), "", "", "<= 100 MB")
	if last.Copies < allPeople/2 {
		return
	}
	row("the same, octets of spool.db for a copy, as written", fmt.Sprint(last.Spool/int64(last.Copies)), "", "", "<= 1,000")
	many, few = median(sent[allPeople]), median(sent[somePeople])
	row(fmt.Sprintf("the same, then a copy from its claim to its settlement, %d of them, beside 10,000 users", dispatched),
		fmt.Sprintf("%.1f µs", many), fmt.Sprintf("%.1f µs", few), fmt.Sprintf("%.2f x", many/few), "")
}

// memory watches the anonymous memory of this process.
type memory struct {
	stop chan struct{}
	done sync.WaitGroup
	peak int64
}

func watchMemory() *memory {
	m := &memory{stop: make(chan struct{})}
	m.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if now, err := anonymousOf(os.Getpid()); err == nil {
				m.peak = max(m.peak, now)
			}
			select {
			case <-tick.C:
			case <-m.stop:
				return
			}
		}
	})
	return m
}

// end gives the most that was seen.
func (m *memory) end() int64 {
	close(m.stop)
	m.done.Wait()
	return m.peak
}
