package spool

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"postern/mail"
)

// maxBatch bounds how many requests share one transaction.
const maxBatch = 1024

// request is a change that waits for the committer. fn may run more than once,
// and only what it does through its txn counts.
type request struct {
	fn   func(*txn) error
	done chan error
	mail bool // a submission: others that are coming in may join it
}

// update runs fn in a transaction, shared with whatever else waits, and returns
// when it is on disk. ctx ends only the wait for a place in the queue: once the
// change is under way its outcome is awaited, so that nobody is in doubt.
func (s *Spool) update(ctx context.Context, fn func(*txn) error) error {
	return s.submit(ctx, &request{fn: fn, done: make(chan error, 1)})
}

func (s *Spool) submit(ctx context.Context, r *request) error {
	if err := s.Broken(); err != nil {
		return err
	}
	if err := s.enqueue(ctx, r); err != nil {
		return err
	}
	return <-r.done
}

func (s *Spool) enqueue(ctx context.Context, r *request) error {
	s.closing.RLock() // Close waits for those who are past the check of stop
	defer s.closing.RUnlock()
	select {
	case <-s.stop:
		return ErrClosed
	default:
	}
	select {
	case s.requests <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commitLoop is the one writer: it commits what waits, until Close.
func (s *Spool) commitLoop() {
	defer close(s.done)
	for {
		select {
		case r := <-s.requests:
			s.commit(s.gather(r))
		case <-s.stop:
			for {
				select {
				case r := <-s.requests:
					s.commit(s.gather(r))
				default:
					return
				}
			}
		}
	}
}

func (s *Spool) gather(first *request) []*request {
	batch := s.take([]*request{first})
	if !s.worthWaiting(batch) {
		return batch
	}
	timer := time.NewTimer(window)
	defer timer.Stop()
	for s.worthWaiting(batch) {
		select {
		case r := <-s.requests:
			batch = s.take(append(batch, r))
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// take adds what waits already.
func (s *Spool) take(batch []*request) []*request {
	for len(batch) < maxBatch {
		select {
		case r := <-s.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// window is how long a commit of submissions waits for mails that are just coming
// in: about what its two syncs take on a good disk.
const window = time.Millisecond

// worthWaiting says whether a batch holds nothing but submissions and there are
// mails on their way that could share its syncs. Attempts and results never wait.
func (s *Spool) worthWaiting(batch []*request) bool {
	for _, r := range batch {
		if !r.mail {
			return false
		}
	}
	return len(batch) < maxBatch && int64(len(batch)) < s.incoming.Load()
}

// commit runs a batch in one transaction. A request that fails is left out, and
// the others run again without it. It is answered at once if it was the first.
// Otherwise it may have failed because of another in the batch, which is not on
// disk yet and may never be: then it is tried again after them.
func (s *Spool) commit(batch []*request) {
	var later []*request
	for len(batch) > 0 {
		failed, t, err := s.try(batch)
		if failed >= 0 {
			if failed > 0 {
				later = append(later, batch[failed])
			} else {
				batch[failed].done <- err
			}
			batch = append(batch[:failed:failed], batch[failed+1:]...)
			continue
		}
		if err == nil {
			s.apply(t)
		}
		for _, r := range batch {
			r.done <- err
		}
		break
	}
	if len(later) > 0 {
		s.commit(later) // fewer each time: the first of a batch is never put off
	}
}

// try gives the index of the request that failed, or -1 and the commit's error.
func (s *Spool) try(batch []*request) (failed int, t *txn, err error) {
	if err := s.Broken(); err != nil {
		return -1, nil, err
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return -1, nil, err
	}
	t = newTxn(s, tx)
	for i, r := range batch {
		if err := r.fn(t); err != nil {
			return i, nil, errors.Join(err, tx.Rollback())
		}
	}
	if err := t.flush(); err != nil {
		return -1, nil, errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return -1, nil, s.judge(err)
	}
	return -1, t, nil
}

// judge tells a full disk, after which the file is as it was before, from a
// failed sync, after which nobody knows.
func (s *Spool) judge(err error) error {
	var p *os.PathError
	if full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT); full && errors.As(err, &p) {
		return s.noteFull(err)
	}
	return s.fail(err)
}

// noteFull remembers that the disk is full, until a submission is stored again.
// Other errors pass.
func (s *Spool) noteFull(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	err = fmt.Errorf("the disk of the spool is full: %w", err)
	s.full.Store(&err)
	return err
}

// apply makes a committed transaction's effects visible in memory.
func (s *Spool) apply(t *txn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.telling {
		signal(s.tell)
	}
	for id, e := range t.entries {
		if !e.changed {
			continue
		}
		if old := s.live[id]; wantsExpander(e.msg) || old != nil && wantsExpander(old.msg) {
			signal(s.expand) // work for it, or an end to its work
		}
		if e.gone || finished(e) {
			s.setLive(id, nil)
			s.schedule.remove(id)
			continue
		}
		s.setLive(id, &entry{e.msg, e.counts, e.outcomes})
		s.place(e.msg, e.next)
	}
}

// setLive replaces what is known of an unfinished message; nil: it is finished or
// gone. The caller holds mu (or is alone).
func (s *Spool) setLive(id mail.ID, e *entry) {
	if old := s.live[id]; old != nil {
		s.open -= old.counts.Open()
	}
	delete(s.live, id)
	delete(s.wanting, id)
	if e == nil {
		return
	}
	s.live[id] = e
	s.open += e.counts.Open()
	if wantsExpander(e.msg) {
		s.wanting[id] = struct{}{}
	}
}

// place schedules a message's next copy, or takes the message off. The caller
// holds mu (or is alone).
func (s *Spool) place(m *mail.Message, next time.Time) {
	if !sendable(m) || next.IsZero() {
		s.schedule.remove(m.ID)
		return
	}
	lane := s.laneOf(m)
	s.schedule.put(m.ID, lane, m.Priority, next)
	signal(s.waker(lane))
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *Spool) waker(lane string) chan struct{} {
	c := s.wakers[lane]
	if c == nil {
		c = make(chan struct{}, 1)
		s.wakers[lane] = c
	}
	return c
}

// Wake signals when the lane may have copies that it had not before.
func (s *Spool) Wake(lane string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waker(lane)
}

// ExpandWake signals when a message may want its expander.
func (s *Spool) ExpandWake() <-chan struct{} { return s.expand }

// sendable says whether copies of m may be claimed.
func sendable(m *mail.Message) bool {
	return m.State == mail.Sending || m.State == mail.Expanding && m.Streaming
}

func wantsExpander(m *mail.Message) bool {
	return !m.Expanded && (m.State == mail.Expanding || m.State == mail.Paused) || m.Releasing
}

// finished says that nothing more happens to a message by itself.
func finished(e *change) bool {
	switch e.msg.State {
	case mail.Done, mail.Failed:
		return true
	case mail.Cancelled:
		return e.counts.Open() == 0
	}
	return false
}

// txn is a transaction with the messages that it has touched.
type txn struct {
	s  *Spool
	tx *bolt.Tx

	messages, bodies, counts, active, copies, address, due, claims, upstream, repeats, finished, untold, complaints, lanes *bolt.Bucket

	entries map[mail.ID]*change
	telling bool // a failure was added to untold
}

// change is a message within a transaction.
type change struct {
	msg      *mail.Message
	counts   mail.Counts
	outcomes mail.Outcomes
	was      bool      // in the active bucket before
	changed  bool      // anything to write
	edited   bool      // msg itself was replaced
	gone     bool      // the message was removed
	next     time.Time // earliest due copy, set by flush
}

func newTxn(s *Spool, tx *bolt.Tx) *txn {
	return &txn{
		s: s, tx: tx,
		messages: tx.Bucket(bMessages), bodies: tx.Bucket(bBodies), counts: tx.Bucket(bCounts), active: tx.Bucket(bActive),
		copies: tx.Bucket(bCopies), address: tx.Bucket(bAddress), due: tx.Bucket(bDue),
		claims: tx.Bucket(bClaims), upstream: tx.Bucket(bUpstream), repeats: tx.Bucket(bRepeats),
		finished: tx.Bucket(bFinished), untold: tx.Bucket(bUntold), complaints: tx.Bucket(bComplaints), lanes: tx.Bucket(bLanes),
		entries: map[mail.ID]*change{},
	}
}

// entry gives the transaction's view of a message.
func (t *txn) entry(id mail.ID) (*change, error) {
	if e := t.entries[id]; e != nil {
		if e.gone {
			return nil, ErrNotFound
		}
		return e, nil
	}
	t.s.mu.RLock()
	l := t.s.live[id]
	t.s.mu.RUnlock()
	if l != nil {
		e := &change{msg: l.msg, counts: l.counts, outcomes: l.outcomes, was: true}
		t.entries[id] = e
		return e, nil
	}
	key := id.Bytes()
	b := t.messages.Get(key[:])
	if b == nil {
		return nil, ErrNotFound
	}
	m := new(mail.Message)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("the row of message %s is damaged: %w", id, err)
	}
	e := &change{msg: m, was: t.active.Get(key[:]) != nil}
	e.counts, e.outcomes = decodeCounts(t.counts.Get(key[:]))
	t.entries[id] = e
	return e, nil
}

// edit gives a copy of the message for changing.
func (t *txn) edit(id mail.ID) (*mail.Message, *change, error) {
	e, err := t.entry(id)
	if err != nil {
		return nil, nil, err
	}
	if !e.edited {
		m := *e.msg
		e.msg, e.edited, e.changed = &m, true, true
	}
	return e.msg, e, nil
}

// flush writes the touched messages and finds which of them are finished.
func (t *txn) flush() error {
	for id, e := range t.entries {
		if !e.changed || e.gone {
			continue
		}
		if st := e.msg.State; (st == mail.Sending || st == mail.Paused) && e.msg.Expanded && e.counts.Open() == 0 {
			t.finish(id)
		}
		if finished(e) && e.msg.DoneAt.IsZero() {
			m, _, _ := t.edit(id)
			m.DoneAt = time.Now()
		}
		if err := t.write(id, e); err != nil {
			return err
		}
		e.next = t.nextDue(id)
	}
	return nil
}

func (t *txn) finish(id mail.ID) {
	m, _, _ := t.edit(id)
	m.State, m.Reason, m.Forecast = mail.Done, "", nil
}

func (t *txn) write(id mail.ID, e *change) error {
	key := id.Bytes()
	if e.edited {
		if err := t.messages.Put(key[:], marshal(e.msg)); err != nil {
			return err
		}
	}
	if err := t.counts.Put(key[:], encodeCounts(e.counts, e.outcomes)); err != nil {
		return err
	}
	switch open := !finished(e); {
	case open && !e.was:
		return t.active.Put(key[:], nil)
	case !open && e.was:
		if err := t.active.Delete(key[:]); err != nil {
			return err
		}
		return t.finished.Put(finishedKey(e.msg), nil)
	case !open:
		return t.finished.Put(finishedKey(e.msg), nil)
	}
	return nil
}

func finishedKey(m *mail.Message) []byte {
	key := m.ID.Bytes()
	return append(binary.BigEndian.AppendUint64(nil, uint64(m.DoneAt.UnixMilli())), key[:]...)
}

// count moves n copies of a message between states; from or to may be -1.
func (e *change) count(from, to mail.State, n int) {
	e.counts[from] -= n
	e.counts[to] += n
	e.changed = true
}

// raise counts that a copy's outcome has changed.
func (e *change) raise(from, to mail.Outcome) {
	if from != mail.NoOutcome {
		e.outcomes[from]--
	}
	if to != mail.NoOutcome {
		e.outcomes[to]++
	}
	e.changed = e.changed || from != to
}

// summary is the message as others see it.
func (e *change) summary() Summary { return Summary{*e.msg, e.counts, e.outcomes} }
