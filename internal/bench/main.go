// Command bench measures Postern against what cannot be avoided, in one run on
// one machine: the real program, started as a user would start it, and beside it
// bare loops that only sign and deliver; its acceptance of mail beside a private
// postfix and a bare go-smtp server, and its relaying beside that postfix; and how
// long a transactional mail takes while a campaign is sent; unsubscribing; and a
// million users. It prints a Markdown table of ratios;
// `make bench` runs it. Absolute rates are those of this machine and this hour.
//
// The sink that swallows mail and the null SES server are processes of their own
// (this program called with "sink", "marking-sink" or "null-ses"), for Postern and the bare loops
// alike.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "sink" {
		return sink(false)
	}
	if len(args) > 0 && args[0] == "marking-sink" {
		return sink(true)
	}
	if len(args) > 0 && args[0] == "null-ses" {
		return nullSES()
	}
	if len(args) > 0 && args[0] == "expand" {
		return expandWorker(args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	binary := flags.String("postern", "./postern", "the program to measure")
	only := flags.String("only", "", "comma-separated: accept, relay, priority, smtp, ses, governor, first, memory, render, template, optout, dynamodb, sync, million; all when empty")
	copies := flags.Int("copies", 5000, "copies of a campaign to the SMTP sink")
	mails := flags.Int("mails", 5000, "ordinary mails that are handed over in a round of accept and relay")
	bulk := flags.Int("bulk", 10_000, "copies of the campaign beside which the part priority sends")
	rounds := flags.Int("rounds", 3, "rounds of each comparison; the median counts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "postern-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	b := &bench{dir: dir, binary: path, copies: *copies, mails: *mails, bulk: *bulk, rounds: *rounds}
	fmt.Println("| what | Postern | bare | share | goal |\n| --- | --- | --- | --- | --- |")
	for _, part := range []struct {
		name string
		run  func() error
	}{{"accept", b.accept}, {"relay", b.relay}, {"priority", b.priority}, {"smtp", b.smtp}, {"ses", b.ses}, {"governor", b.governor}, {"first", b.first}, {"memory", b.memory}, {"render", b.render}, {"template", b.template}, {"optout", b.optout}, {"dynamodb", b.dynamodb}, {"sync", b.sync}, {"million", b.million}} {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), part.name) {
			continue
		}
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

type bench struct {
	dir    string
	binary string
	copies int
	mails  int
	bulk   int
	rounds int
}

func row(what, postern, bare, share, goal string) {
	fmt.Printf("| %s | %s | %s | %s | %s |\n", what, postern, bare, share, goal)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// connections is how many connections both sides use, and so the lane's
// concurrency: that many attempts share the commits in which they begin and end.
const connections = 64

// smtp compares campaigns to a sink: every attempt and result durable on one
// side, nothing but signing and delivering on the other.
func (b *bench) smtp() error {
	for _, size := range []int{10, 100} {
		mail := campaign(size)
		for _, signed := range []bool{true, false} {
			var ours, bares []float64
			for range b.rounds {
				bare, err := b.bareSMTP(mail, signed)
				if err != nil {
					return err
				}
				our, err := b.campaignSMTP(mail, signed)
				if err != nil {
					return err
				}
				ours, bares = append(ours, our), append(bares, bare)
			}
			o, r := median(ours), median(bares)
			what := fmt.Sprintf("%d copies of %d KB to an SMTP sink, signing %s", b.copies, size, onOff(signed))
			row(what, fmt.Sprintf("%.0f/s", o), fmt.Sprintf("%.0f/s", r), fmt.Sprintf("%.2f", o/r), ">= 0.7")
		}
	}
	return nil
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// campaignSMTP runs one campaign through the program; copies a second, from the
// 250 to the last copy at the sink.
func (b *bench) campaignSMTP(mail []byte, signed bool) (float64, error) {
	s, err := startSink(b.copies)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	g, err := b.start(gatewayOptions{users: b.copies, signed: signed, lane: smtpLane(s.addr)})
	if err != nil {
		return 0, err
	}
	defer g.stop()
	accepted, err := g.submit(mail, "all@lists.example.com")
	if err != nil {
		return 0, err
	}
	if err := s.wait(5 * time.Minute); err != nil {
		return 0, err
	}
	return float64(b.copies) / s.last.Sub(accepted).Seconds(), nil
}

// first measures how soon after the 250 the first copy of a campaign to 200 is at
// the sink.
func (b *bench) first() error {
	const runs, users = 15, 200
	s, err := startSink(users)
	if err != nil {
		return err
	}
	defer s.stop()
	g, err := b.start(gatewayOptions{users: users, signed: true, lane: smtpLane(s.addr)})
	if err != nil {
		return err
	}
	defer g.stop()
	var took []float64
	for range runs {
		accepted, err := g.submit(campaign(100), "all@lists.example.com")
		if err != nil {
			return err
		}
		if err := s.wait(time.Minute); err != nil {
			return err
		}
		took = append(took, max(0, s.first.Sub(accepted).Seconds()*1000))
	}
	row(fmt.Sprintf("first of %d copies of 100 KB at the sink after the 250, median of %d", users, runs), fmt.Sprintf("%.0f ms", median(took)), "", "", "<= 50 ms")
	return nil
}

// memory queues 100,000 copies behind an upstream that is not there.
func (b *bench) memory() error {
	const users = 100_000
	g, err := b.start(gatewayOptions{users: users, signed: true, lane: smtpLane("127.0.0.1:9"), down: true})
	if err != nil {
		return err
	}
	defer g.stop()
	if _, err := g.submit(campaign(100), "all@lists.example.com"); err != nil {
		return err
	}
	if err := g.expanded(users); err != nil {
		return err
	}
	anon, err := g.anonymous()
	if err != nil {
		return err
	}
	row("anonymous memory with 100,000 copies of 100 KB queued", fmt.Sprintf("%.0f MB", float64(anon)/1e6), "", "", "<= 100 MB")
	if err := g.end(); err != nil {
		return err
	}
	raw, err := os.Stat(filepath.Join(g.dir, "data", "spool.db"))
	if err != nil {
		return err
	}
	if err := g.command("spool", "compact"); err != nil {
		return err
	}
	small, err := os.Stat(filepath.Join(g.dir, "data", "spool.db"))
	if err != nil {
		return err
	}
	row("spool.db, octets a queued copy, as written / compacted", fmt.Sprintf("%d / %d", raw.Size()/users, small.Size()/users), "", "", "<= 1,000")
	return nil
}
