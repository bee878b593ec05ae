package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"time"

	"postern/directory"
	"postern/directory/embedded"
	"postern/expand"
	"postern/mail"
	"postern/spool"
)

// expandWorker is the process that expands: the directories of dir in turn, a new
// spool for each message, a line of JSON on stdout for each.
func expandWorker(args []string) error {
	if len(args) != 2 {
		return errors.New("expand DIR ROUNDS")
	}
	rounds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if path := os.Getenv("BENCH_CPUPROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	w := &worker{dir: args[0]}
	if w.index, err = directory.OpenIndex(filepath.Join(w.dir, "index.db")); err != nil {
		return err
	}
	defer w.index.Close()
	if err := w.leave(); err != nil {
		return err
	}
	if w.fields, err = expand.NewFields(map[string]expand.FieldDef{"Name": {}, "Gender": {}, "CreateTime": {Type: "number"}}, nil); err != nil {
		return err
	}
	for _, filter := range []string{choosesAll, choosesFew} {
		for range rounds {
			if err := w.turn(filter); err != nil {
				return err
			}
		}
	}
	return nil
}

type worker struct {
	dir    string
	index  *directory.Index
	fields *expand.Fields
}

// leave lets one in a hundred of the subscribed leave the list.
func (w *worker) leave() error {
	_, err := together(256, allPeople/100, func(_, i int) error {
		return w.index.OptOut(context.Background(), mail.Address(personAddress((i*100+49)*7919%allPeople)), "all", directory.Evidence{At: time.Now(), How: "one-click"})
	})
	return err
}

// turn expands to the large directory between as many messages to the small one.
func (w *worker) turn(filter string) error {
	small := func() error {
		for range someRuns {
			if err := w.expand(somePeople, filter); err != nil {
				return err
			}
		}
		return nil
	}
	if err := small(); err != nil {
		return err
	}
	if err := w.expand(allPeople, filter); err != nil {
		return err
	}
	return small()
}

func (w *worker) expand(users int, filter string) (err error) {
	runtime.GC()
	path := filepath.Join(w.dir, "spool")
	store, err := embedded.Open(filepath.Join(w.dir, fmt.Sprint(users), "data", "directory.db"))
	if err != nil {
		return err
	}
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, s.Close(), store.Close(), os.RemoveAll(path)) }()
	e := &expand.Expander{Store: store, Fields: w.fields, Queue: s, Log: slog.New(slog.DiscardHandler),
		Blocked: func(addr mail.Address, list string) (string, bool) {
			b, yes := w.index.Blocked(addr, list)
			return b.Reason, yes
		}}
	m, err := accepted(s, filter)
	if err != nil {
		return err
	}
	watch, start := watchMemory(), time.Now()
	if err := e.Expand(context.Background(), m); err != nil {
		return err
	}
	out := expansion{Users: users, Filter: filter, Took: time.Since(start).Seconds(), Anon: watch.end()}
	sum, err := s.Message(m.ID)
	if err != nil {
		return err
	}
	if sum.State != mail.Sending {
		return fmt.Errorf("the message is %s: %s", sum.State, sum.Reason)
	}
	out.Copies = sum.Counts.Total()
	if db, err := os.Stat(filepath.Join(path, "spool.db")); err == nil {
		out.Spool = db.Size()
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// accepted is a message to the list, in custody, whose copies need a name: all of them
// are looked at once more before it is sent.
func accepted(s *spool.Spool, filter string) (mail.Message, error) {
	now := time.Now()
	m := mail.Message{ID: mail.NewID(now), State: mail.Expanding, AcceptedAt: now, Priority: mail.Bulk, From: "marketer@example.com",
		Fields: []string{"Name"}, Required: []bool{true},
		List: &mail.ListPolicy{ID: "all", Address: "all@lists.example.com", Name: "All", Language: "ko", Filter: filter, Missing: "hold", Release: "immediate"}}
	body, err := s.NewBody()
	if err != nil {
		return m, err
	}
	defer body.Discard()
	if _, err := body.Write(campaign(10)); err != nil {
		return m, err
	}
	return m, s.Accept(context.Background(), body, []spool.Accepted{{Message: m, Compiled: []byte("x")}})
}
