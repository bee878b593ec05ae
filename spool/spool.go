package spool

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"postern/mail"
)

// Format is the version of everything that this package writes. An older spool
// is migrated when it is opened, a newer one is refused. Format 1 had no bodies in
// spool.db, format 2 no list of failures that are still to be told, format 3 no outcomes
// of copies and nothing about lanes.
const Format = 4

const (
	dbName    = "spool.db"
	bodiesDir = "bodies"
	tmpPrefix = "tmp-"
)

// Errors that callers tell apart. Their texts are for people.
var (
	ErrNotFound = errors.New("there is no such message or copy in the spool")
	ErrStale    = errors.New("the attempt is not the copy's current one")
	ErrClosed   = errors.New("the spool is closed")
	ErrLocked   = errors.New("the spool is in use by another process")
	ErrBroken   = errors.New("the spool could not be written to disk; nothing is accepted or sent until postern has been restarted and has checked it")
)

var (
	bMeta       = []byte("meta")
	bMessages   = []byte("messages")
	bBodies     = []byte("bodies")
	bCounts     = []byte("counts")
	bActive     = []byte("active")
	bCopies     = []byte("copies")
	bAddress    = []byte("address")
	bDue        = []byte("due")
	bClaims     = []byte("claims")
	bUpstream   = []byte("upstream")
	bRepeats    = []byte("repeats")
	bFinished   = []byte("finished")
	bUntold     = []byte("untold")
	bComplaints = []byte("complaints")
	bLanes      = []byte("lanes")

	kFormat = []byte("format")
	kOpen   = []byte("open") // present while a process has the spool open
)

// Options are what Open needs beside the directory.
type Options struct {
	Log *slog.Logger
	// LaneOf resolves the live lane of a message; nil takes Message.Lane.
	LaneOf func(*mail.Message) string
	// UncertainDue says when a copy whose attempt was found without a result is
	// due again (zero: not by itself); nil means at once.
	UncertainDue func(m *mail.Message, now time.Time) time.Time
}

// Spool is an open spool directory. Its methods may be called from any
// goroutine. One process has it open at a time.
type Spool struct {
	dir    string
	log    *slog.Logger
	laneOf func(*mail.Message) string
	redue  func(*mail.Message, time.Time) time.Time
	db     *bolt.DB
	bodies *dirSyncer

	incoming atomic.Int64 // bodies that have begun and not ended
	buffers  sync.Pool    // *[smallBody]byte

	requests chan *request
	stop     chan struct{} // closed by Close
	done     chan struct{} // closed when the committer has ended
	closing  sync.RWMutex  // held by those who put a request into the queue
	broken   atomic.Pointer[error]
	full     atomic.Pointer[error] // why the last submission could not be stored: the disk is full

	mu       sync.RWMutex // guards what follows
	live     map[mail.ID]*entry
	open     int                  // copies of live messages that are not settled
	wanting  map[mail.ID]struct{} // live messages that want their expander
	backups  int                  // under way
	doomed   []mail.ID            // whose files are removed when no backup may want them
	schedule *schedule
	wakers   map[string]chan struct{}
	expand   chan struct{} // signals that a message wants its expander
	tell     chan struct{} // signals that there is something to tell a sender
}

// entry is a message with its counts, as last committed. It is never changed
// in place.
type entry struct {
	msg      *mail.Message
	counts   mail.Counts
	outcomes mail.Outcomes
}

// Open opens or makes the spool in dir. After an unclean end it checks every
// row first and refuses a spool that does not add up; attempts that had begun
// become uncertain, due when Options.UncertainDue says.
func Open(dir string, o Options) (*Spool, error) {
	if err := os.MkdirAll(filepath.Join(dir, bodiesDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the spool: %w", err)
	}
	db, err := openDB(filepath.Join(dir, dbName))
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LaneOf == nil {
		o.LaneOf = func(m *mail.Message) string { return m.Lane }
	}
	if o.UncertainDue == nil {
		o.UncertainDue = func(_ *mail.Message, now time.Time) time.Time { return now }
	}
	s := &Spool{
		dir: dir, log: o.Log, laneOf: o.LaneOf, redue: o.UncertainDue, db: db,
		bodies:   newDirSyncer(filepath.Join(dir, bodiesDir)),
		requests: make(chan *request, 256), stop: make(chan struct{}), done: make(chan struct{}),
		live: map[mail.ID]*entry{}, wanting: map[mail.ID]struct{}{}, schedule: newSchedule(), wakers: map[string]chan struct{}{},
		expand: make(chan struct{}, 1), tell: make(chan struct{}, 1),
	}
	if err := errors.Join(s.recover(), removeHalf(dir), syncNames(dir)); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go s.commitLoop()
	if err := s.finishCancelled(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// mapped is the address space for the file, in octets: 64 GB (1 GB where addresses
// have 32 bits). A file that outgrows its map is mapped anew, for which all
// commits wait until every reader has ended, a backup over a slow line among them.
// It costs no memory.
const mapped = 1 << (30 + 6*(^uint(0)>>63))

// openDB opens and locks the file that bears the name at that time: whoever waited
// for the lock while a compaction put another file in its place tries again.
func openDB(path string) (*bolt.DB, error) {
	for {
		var file *os.File
		db, err := bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         time.Second,
			FreelistType:    bolt.FreelistMapType,
			NoFreelistSync:  true, // found again by a scan at open; saves its rewriting in every commit
			InitialMmapSize: mapped,
			OpenFile: func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		switch {
		case errors.Is(err, berrors.ErrTimeout):
			return nil, fmt.Errorf("%w (%s)", ErrLocked, path)
		case err != nil:
			return nil, fmt.Errorf("open the spool %s: %w", path, err)
		}
		ours, err := file.Stat()
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if named, err := os.Stat(path); err == nil && os.SameFile(ours, named) {
			return db, nil
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
}

// recover brings the file to this version, checks it after an unclean end,
// turns begun attempts into uncertain copies and loads the active messages.
func (s *Spool) recover() error {
	unclean := false
	err := s.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(bMeta)
		if err != nil {
			return err
		}
		if err := migrate(tx, meta); err != nil {
			return err
		}
		unclean = meta.Get(kOpen) != nil
		return meta.Put(kOpen, []byte{1})
	})
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	if unclean {
		s.log.Info("the spool was not closed in order; checking it")
		problems, err := s.Check(context.Background(), nil)
		if err != nil {
			return err
		}
		if len(problems) > 0 {
			return fmt.Errorf("the spool in %s does not add up (%d problems, the first: %s); `postern spool check` lists them; restore a backup, or ask for help before anything is sent from it", s.dir, len(problems), problems[0])
		}
	}
	if err := s.db.Update(s.settleClaims); err != nil {
		return fmt.Errorf("recover the spool: %w", err)
	}
	if err := s.loadActive(); err != nil {
		return fmt.Errorf("recover the spool: %w", err)
	}
	return s.removeOrphans()
}

func migrate(tx *bolt.Tx, meta *bolt.Bucket) error {
	if v := meta.Get(kFormat); v != nil {
		if f := binary.BigEndian.Uint32(v); f > Format {
			return fmt.Errorf("this spool has format %d, and this version of postern knows formats up to %d; run the version that wrote it, or a newer one", f, Format)
		}
	}
	for _, name := range [][]byte{bMessages, bBodies, bCounts, bActive, bCopies, bAddress, bDue, bClaims, bUpstream, bRepeats, bFinished, bUntold, bComplaints, bLanes} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return meta.Put(kFormat, binary.BigEndian.AppendUint32(nil, Format))
}

// settleClaims makes every attempt without a result an uncertain copy.
func (s *Spool) settleClaims(tx *bolt.Tx) error {
	t := newTxn(s, tx)
	now := time.Now()
	type begun struct {
		key    []byte
		claims int
	}
	var all []begun
	err := t.claims.ForEach(func(k, v []byte) error {
		all = append(all, begun{append([]byte(nil), k...), int(binary.BigEndian.Uint32(v))})
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range all {
		id, seq := splitKey(b.key)
		c, err := t.copy(id, seq)
		if err != nil {
			return err
		}
		c.Claims = b.claims
		if err := t.claims.Delete(b.key); err != nil {
			return err
		}
		c.LastError = "postern ended while this copy was being sent; it may have been sent"
		e, err := t.entry(id)
		if err != nil {
			return err
		}
		state, due := mail.Unknown, s.redue(e.msg, now)
		if accepted(c) {
			state, due, c.LastError = mail.Sent, time.Time{}, ""
		}
		if err := t.move(c, mail.InFlight, state, due, now); err != nil {
			return err
		}
	}
	if len(all) > 0 {
		s.log.Warn("attempts without a result are uncertain", "copies", len(all))
	}
	return t.flush()
}

// loadActive reads the unfinished messages and schedules their copies.
func (s *Spool) loadActive() error {
	return s.db.View(func(tx *bolt.Tx) error {
		t := newTxn(s, tx)
		return t.active.ForEach(func(k, _ []byte) error {
			id := mail.IDFromBytes([16]byte(k))
			e, err := t.entry(id)
			if err != nil {
				return err
			}
			s.setLive(id, &entry{e.msg, e.counts, e.outcomes})
			s.place(e.msg, t.nextDue(id))
			return nil
		})
	})
}

// Close ends the spool in order. Writes that wait are still committed.
func (s *Spool) Close() error {
	s.closing.Lock()
	select {
	case <-s.stop:
		s.closing.Unlock()
		return nil
	default:
	}
	close(s.stop)
	s.closing.Unlock()
	<-s.done
	var err error
	if s.Broken() == nil {
		err = s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bMeta).Delete(kOpen) })
	}
	return errors.Join(err, s.db.Close())
}

// Broken is nil, or an error that wraps ErrBroken and says why.
func (s *Spool) Broken() error {
	if p := s.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// fail stops everything after a sync whose outcome nobody knows.
func (s *Spool) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrBroken, cause)
	if s.broken.CompareAndSwap(nil, &err) {
		s.log.Error("the spool is broken", "error", cause)
	}
	return err
}

func marshal(m *mail.Message) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic("spool: a message that cannot be written as JSON: " + err.Error()) // only if its type is wrong
	}
	return b
}
