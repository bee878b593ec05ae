package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/directory"
	"postern/mail"
	"postern/optout"
)

const (
	manyLeft   = 1_000_000
	fillers    = 256  // callers at the same time that write them
	leftCopies = 5000 // of a campaign
)

// optout measures one-click unsubscribing beside an append that is as durable, and
// whether the opt-outs of many slow a campaign down.
func (b *bench) optout() error {
	if err := b.oneClicks(); err != nil {
		return err
	}
	return b.besideManyLeft()
}

// load is so many opt-outs by so many callers at the same time.
type load struct{ callers, clicks int }

// oneClicks compares POSTs to the real page, each answered when the opt-out is on disk,
// with lines that the same number of callers append to a file, each of whom waits for
// an fdatasync that those who come together share.
func (b *bench) oneClicks() error {
	for _, l := range []load{{1, 1000}, {16, 10_000}, {256, 20_000}} {
		var ours, overHTTP, bares []float64
		for range b.rounds {
			dir, err := os.MkdirTemp(b.dir, "clicks-")
			if err != nil {
				return err
			}
			bare, err := l.appends(filepath.Join(dir, "bare"))
			if err != nil {
				return err
			}
			http, err := l.bareClicks(filepath.Join(dir, "bare-http"))
			if err != nil {
				return err
			}
			our, err := l.realClicks(dir)
			if err != nil {
				return err
			}
			ours, overHTTP, bares = append(ours, our), append(overHTTP, http), append(bares, bare)
		}
		o, h, r := median(ours), median(overHTTP), median(bares)
		row(fmt.Sprintf("one-click opt-outs over HTTP, each durable, %d at a time, beside appends that share an fdatasync", l.callers),
			fmt.Sprintf("%.0f/s", o), fmt.Sprintf("%.0f/s", r), fmt.Sprintf("%.2f", o/r), ">= 0.5")
		row("the same, beside an HTTP handler that does no more than such an append", fmt.Sprintf("%.0f/s", o), fmt.Sprintf("%.0f/s", h), fmt.Sprintf("%.2f", o/h), "")
	}
	return nil
}

// appends is a file to which callers append lines; one fdatasync is for all that have
// come until it begins.
type appends struct {
	file *os.File
	mu   sync.Mutex
	wait []chan error
	text []byte
	busy bool
}

func (a *appends) add(line string) error {
	done := make(chan error, 1)
	a.mu.Lock()
	a.text, a.wait = append(a.text, line...), append(a.wait, done)
	first := !a.busy
	a.busy = true
	a.mu.Unlock()
	if first {
		go a.flush()
	}
	return <-done
}

func (a *appends) flush() {
	for {
		a.mu.Lock()
		text, wait := a.text, a.wait
		a.text, a.wait, a.busy = nil, nil, len(wait) > 0
		a.mu.Unlock()
		if len(wait) == 0 {
			return
		}
		_, err := a.file.Write(text)
		if err == nil {
			err = datasync(a.file)
		}
		for _, w := range wait {
			w <- err
		}
	}
}

// together lets callers do something until so many are done; a second.
func together(callers, n int, do func(caller, i int) error) (float64, error) {
	var left atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	start := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for {
				i := left.Add(1)
				if i > int64(n) {
					return
				}
				if err := do(caller, int(i)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return float64(n) / time.Since(start).Seconds(), <-errs
}

func appendLine(i int) string {
	return fmt.Sprintf("2026-11-26T09:00:00Z opt-out left.%07d@example.net promo one-click 127.0.0.1\n", i)
}

func (l load) appends(path string) (float64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	a := &appends{file: f}
	return together(l.callers, l.clicks, func(_, i int) error { return a.add(appendLine(i)) })
}

func (l load) bareClicks(path string) (float64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	a := &appends{file: f}
	var n atomic.Int64
	return l.post(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if err := a.add(appendLine(int(n.Add(1)))); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}), func(int) string { return "/u/x" })
}

// realClicks is the page as the gateway serves it, over its own index.
func (l load) realClicks(dir string) (float64, error) {
	index, err := directory.OpenIndex(filepath.Join(dir, "index.db"))
	if err != nil {
		return 0, err
	}
	defer index.Close()
	keyring, err := optout.OpenKeyring(filepath.Join(dir, "keyring.json"))
	if err != nil {
		return 0, err
	}
	pages, err := optout.Load("")
	if err != nil {
		return 0, err
	}
	id := mail.NewID(time.Now())
	links := make([]string, l.clicks+1)
	for i := range links {
		links[i] = "/u/" + keyring.Seal(0, optout.Claim{List: "promo", User: mail.Address(fmt.Sprintf("left.%07d@example.net", i)), Message: id})
	}
	rate, err := l.post(&optout.Handler{Keyring: keyring, Pages: pages, OptOut: index.OptOut, Lists: []optout.ListInfo{{ID: "promo", Name: "Promotions", Language: "ko", Listed: true}},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, func(i int) string { return links[i] })
	if err != nil {
		return 0, err
	}
	if n, _, err := index.Head(); err != nil || n != uint64(l.clicks) {
		return 0, fmt.Errorf("the ledger has %d of %d opt-outs: %w", n, l.clicks, err)
	}
	return rate, nil
}

// post lets every client send POSTs to h over a connection of its own, which stays open.
func (l load) post(h http.Handler, path func(i int) string) (float64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	s := optout.NewServer("", h)
	go func() { _ = s.Serve(listener) }()
	defer s.Close()
	conns := make([]net.Conn, l.callers)
	answers := make([]*bufio.Reader, l.callers)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", listener.Addr().String()); err != nil {
			return 0, err
		}
		defer conns[i].Close()
		answers[i] = bufio.NewReader(conns[i])
	}
	return together(l.callers, l.clicks, func(caller, i int) error {
		if _, err := fmt.Fprintf(conns[caller], "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 26\r\n\r\nList-Unsubscribe=One-Click", path(i)); err != nil {
			return err
		}
		r, err := http.ReadResponse(answers[caller], nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %w", r.Status, err)
		}
		return nil
	})
}

// besideManyLeft sends campaigns through two gateways in turn: nobody has left the
// one's lists, a million other people the other's.
func (b *bench) besideManyLeft() error {
	full, took, err := b.manyLeft()
	if err != nil {
		return err
	}
	row(fmt.Sprintf("%d opt-outs into the index by %d callers", manyLeft, fillers), fmt.Sprintf("%.0f/s", manyLeft/took.Seconds()), "", "", "")
	s, err := startSink(leftCopies)
	if err != nil {
		return err
	}
	defer s.stop()
	var gateways [2]*gateway // of nobody, of a million
	for i, index := range []string{"", full} {
		if gateways[i], err = b.start(gatewayOptions{users: leftCopies, lane: smtpLane(s.addr), index: index}); err != nil {
			return err
		}
		defer gateways[i].stop()
	}
	var rates [2][]float64
	for round := range 2 * (b.rounds + 1) {
		i := []int{0, 1, 1, 0}[round%4]
		accepted, err := gateways[i].submit(campaign(10), "all@lists.example.com")
		if err != nil {
			return err
		}
		if err := s.wait(5 * time.Minute); err != nil {
			return err
		}
		if round >= 2 { // the first of each is warming up
			rates[i] = append(rates[i], leftCopies/s.last.Sub(accepted).Seconds())
		}
	}
	nobody, many := median(rates[0]), median(rates[1])
	row(fmt.Sprintf("%d copies of 10 KB to a sink, unsigned, beside a million opt-outs, beside none", leftCopies),
		fmt.Sprintf("%.0f/s", many), fmt.Sprintf("%.0f/s", nobody), fmt.Sprintf("%.2f x", nobody/many), "<= 1.02 x")
	return b.asking(full)
}

// manyLeft is an index file with a million opt-outs that the directory has been told of.
func (b *bench) manyLeft() (path string, took time.Duration, err error) {
	path = filepath.Join(b.dir, "many.db")
	index, err := directory.OpenIndex(path)
	if err != nil {
		return path, 0, err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	start := time.Now()
	_, err = together(fillers, manyLeft, func(_, i int) error {
		return index.OptOut(context.Background(), leftAddress(i), "all", directory.Evidence{At: start, How: "one-click", Remote: "203.0.113.7"})
	})
	took = time.Since(start)
	if err == nil {
		_, err = index.Replay(context.Background(), nowhere{})
	}
	return path, took, err
}

func leftAddress(i int) mail.Address { return mail.Address(fmt.Sprintf("left.%07d@example.net", i)) }

// nowhere is a directory without users: it is told of nothing.
type nowhere struct{ directory.Store }

func (nowhere) Update(context.Context, mail.Address, directory.Change) error {
	return directory.ErrNotFound
}

// asking measures what is asked before each copy, of both indexes.
func (b *bench) asking(full string) error {
	var took [2]time.Duration
	for i, path := range []string{filepath.Join(b.dir, "none.db"), full} {
		index, err := directory.OpenIndex(path)
		if err != nil {
			return err
		}
		var best []time.Duration
		for range 5 {
			const times = 200_000
			start := time.Now()
			for n := range times {
				if _, blocked := index.Blocked(mail.Address(fmt.Sprintf("customer.%07d@example.net", n*7919%manyLeft)), "all"); blocked {
					return errors.New("somebody is blocked who has not left")
				}
			}
			best = append(best, time.Since(start)/times)
		}
		took[i] = slices.Min(best)
		if err := index.Close(); err != nil {
			return err
		}
	}
	row("what is asked before each copy, of a million opt-outs, of none", took[1].String(), took[0].String(), "", "")
	return nil
}
