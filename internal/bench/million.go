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
	"slices"
	"sync"
	"time"
)

const (
	allPeople  = 1_000_000
	somePeople = 10_000
	// someRuns is how often the small directory is expanded before each turn of the
	// large one: as many again come after it.
	someRuns = 25
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
	var g *gateway // of the large directory
	for _, n := range []int{somePeople, allPeople} {
		if g, err = b.importPeople(dir, n); err != nil {
			return err
		}
	}
	if err := b.expandPeople(dir); err != nil {
		return err
	}
	return b.wholeGateway(g)
}

// importPeople makes the directory of n users by the program's own import.
func (b *bench) importPeople(dir string, n int) (*gateway, error) {
	g := &gateway{dir: filepath.Join(dir, fmt.Sprint(n)), binary: b.binary}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return nil, err
	}
	if err := g.configure(gatewayOptions{lane: smtpLane("127.0.0.1:9")}); err != nil {
		return nil, err
	}
	if err := writePeople(filepath.Join(g.dir, "users.csv"), n); err != nil {
		return nil, err
	}
	cmd := exec.Command(g.binary, "users", "import", "users.csv")
	cmd.Dir = g.dir
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	watch := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	peak, took := watch.end(), time.Since(start)
	if err == nil && n == allPeople {
		row(fmt.Sprintf("`postern users import` of %d users in no order into the embedded directory", n),
			fmt.Sprintf("%.0f rows/s, %.1f s", float64(n)/took.Seconds(), took.Seconds()), "", "", "")
		row("the same, anonymous memory at most", inMB(peak), "", "", "")
	}
	return g, errors.Join(err, os.Remove(filepath.Join(g.dir, "users.csv")))
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

// costs are what a user, or a copy, cost in each turn, in microseconds: in the large
// directory, and on average in the small ones around it. The median of the turns counts.
type costs struct{ large, small []float64 }

func (c *costs) add(turn []expansion, cost func(expansion) float64) {
	mean := 0.0
	for _, e := range turn {
		if e.Users == allPeople {
			c.large = append(c.large, cost(e)*1e6)
		} else {
			mean += cost(e) * 1e6 / (2 * someRuns)
		}
	}
	c.small = append(c.small, mean)
}

func (c *costs) row(what, goal string) {
	shares := make([]float64, len(c.large))
	for i := range shares {
		shares[i] = c.large[i] / c.small[i]
	}
	row(what, fmt.Sprintf("%.1f µs", median(c.large)), fmt.Sprintf("%.1f µs", median(c.small)), fmt.Sprintf("%.2f x", median(shares)), goal)
}

// show prints what messages of one kind cost. The mean of the small directories is
// taken, and not their best, because the machine's bad moments are in the large one too.
func show(all []expansion, of kind, what string) {
	var time, processor, sent costs
	var last expansion
	var peak int64
	all = slices.DeleteFunc(slices.Clone(all), func(e expansion) bool { return e.kind != of })
	for turn := range slices.Chunk(all, 2*someRuns+1) {
		time.add(turn, func(e expansion) float64 { return e.Took / float64(e.Users) })
		processor.add(turn, func(e expansion) float64 { return e.Processor / float64(e.Users) })
		sent.add(turn, func(e expansion) float64 { return e.Dispatch })
		for _, e := range turn {
			if peak = max(peak, e.Anon); e.Users == allPeople {
				last = e
			}
		}
	}
	goal := "<= 1.2 x"
	if of.Unordered {
		goal = ""
	}
	m := median(time.large)
	row(fmt.Sprintf("%s: %d copies", what, last.Copies), fmt.Sprintf("%.0f users/s, %.1f s", 1e6/m, m*allPeople/1e6), "", "", "<= 60 s")
	time.row("the same, for each user, beside 10,000 users", goal)
	processor.row("of it processor time", "")
	row("the same, anonymous memory at most", inMB(peak), "", "", "<= 100 MB")
	if last.Copies >= allPeople/2 {
		row("the same, octets of spool.db for a copy, as written", fmt.Sprint(last.Spool/int64(last.Copies)), "", "", "<= 1,000")
		sent.row(fmt.Sprintf("the same, then a copy from its claim to its settlement, %d of them, beside 10,000 users", dispatched), "")
	}
}

// wholeGateway lets the program itself expand a message to the large directory, with
// nobody at the other end of its lane.
func (b *bench) wholeGateway(g *gateway) error {
	if err := g.serve(); err != nil {
		return err
	}
	defer g.halt()
	accepted, err := g.submit(campaign(10), "all@lists.example.com")
	if err != nil {
		return err
	}
	watch := watchMemory(g.cmd.Process.Pid)
	if err := g.expanded(allPeople / 100 * 99); err != nil {
		return err
	}
	took := time.Since(accepted)
	row("the whole gateway, a message of 10 KB to 1,000,000 users, from the 250 to the last copy queued", fmt.Sprintf("%.0f s", took.Seconds()), "", "", "<= 60 s")
	row("the same, anonymous memory at most", inMB(watch.end()), "", "", "<= 100 MB")
	return g.end()
}

// memory watches the anonymous memory of a process.
type memory struct {
	stop chan struct{}
	done sync.WaitGroup
	peak int64
}

func watchMemory(pid int) *memory {
	m := &memory{stop: make(chan struct{})}
	m.done.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if now, err := anonymousOf(pid); err == nil {
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
