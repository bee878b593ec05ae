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
	"strconv"
	"syscall"
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
	for _, of := range []kind{{Filter: choosesAll}, {Filter: choosesFew}, {Unordered: true}} {
		for range rounds {
			if err := w.turn(of); err != nil {
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
func (w *worker) turn(of kind) error {
	for i := range 2*someRuns + 1 {
		users := somePeople
		if i == someRuns {
			users = allPeople
		}
		e := expansion{Users: users, kind: of}
		if err := w.expand(&e); err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(e); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) open(e *expansion) (directory.Store, error) {
	if e.Unordered {
		return unordered{users: e.Users}, nil
	}
	return embedded.Open(filepath.Join(w.dir, fmt.Sprint(e.Users), "data", "directory.db"))
}

// expand is one message into a spool of its own.
func (w *worker) expand(of *expansion) (err error) {
	runtime.GC()
	path := filepath.Join(w.dir, "spool")
	store, err := w.open(of)
	if err != nil {
		return err
	}
	s, err := spool.Open(path, spool.Options{})
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, s.Close(), store.Close(), os.RemoveAll(path)) }()
	e := &expand.Expander{Store: store, Fields: w.fields, Queue: s, Log: slog.New(slog.DiscardHandler),
		Blocked: w.index.Blocked}
	m, err := accepted(s, of.Filter)
	if err != nil {
		return err
	}
	watch, start, spent := watchMemory(os.Getpid()), time.Now(), processor()
	if err := e.Expand(context.Background(), m); err != nil {
		return err
	}
	of.Took, of.Processor, of.Anon = time.Since(start).Seconds(), (processor() - spent).Seconds(), watch.end()
	sum, err := s.Message(m.ID)
	if err != nil {
		return err
	}
	if sum.State != mail.Sending {
		return fmt.Errorf("the message is %s: %s", sum.State, sum.Reason)
	}
	of.Copies = sum.Counts.Total()
	if db, err := os.Stat(filepath.Join(path, "spool.db")); err == nil {
		of.Spool = db.Size()
	}
	if of.Copies >= dispatched {
		of.Dispatch, err = dispatch(s)
	}
	return err
}

// processor is how long this process has had a processor.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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

// unordered is a directory of so many users that gives them in no order, as DynamoDB
// does.
type unordered struct {
	directory.Store
	users int
}

func (unordered) Close() error { return nil }

func (u unordered) Scan(_ context.Context, from directory.Checkpoint) (p directory.Page, err error) {
	at := 0
	if len(from) > 0 {
		if at, err = strconv.Atoi(string(from)); err != nil {
			return p, err
		}
	}
	for ; len(p.Users) < 1000 && at < u.users; at++ {
		i := at * 7919 % u.users
		p.Users = append(p.Users, directory.User{Email: mail.Address(personAddress(i)), Subscribed: i%100 != 50,
			Attributes: map[string]any{"Name": fmt.Sprintf("김고객%d", i), "Gender": "Female", "CreateTime": json.Number("1700000000")}})
	}
	if at < u.users {
		p.Next = strconv.AppendInt(nil, int64(at), 10)
	}
	return p, nil
}

// dispatched is how many copies are sent of an expanded message.
const dispatched = 5000

// dispatch claims and settles copies as a lane does that has room for 64 and an
// upstream that takes no time; seconds for each.
func dispatch(s *spool.Spool) (float64, error) {
	var ended []spool.Settled
	start := time.Now()
	for done := 0; done < dispatched; {
		claims, err := s.Turn(context.Background(), ended, "", spool.Room{All: connections, Bulk: connections}, time.Now())
		if err != nil {
			return 0, err
		}
		if len(claims) == 0 {
			return 0, fmt.Errorf("nothing is due after %d copies", done)
		}
		ended = ended[:0]
		for _, c := range claims {
			ended = append(ended, spool.Settled{Claim: c, Result: spool.Result{State: mail.Sent, At: time.Now(), Spent: true, UpstreamID: c.Copy.Tag()}})
		}
		done += len(claims)
	}
	return time.Since(start).Seconds() / dispatched, nil
}
