package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"postern/expand"
	"postern/mail"
	"postern/optout"
	"postern/spool"
)

// renderCache is how many octets of compiled messages are kept in memory.
const renderCache = 32 << 20

// renderer makes copies from what the spool keeps. The compiled forms of the
// messages that are being sent stay in memory, up to renderCache octets.
type renderer struct {
	spool    *spool.Spool
	keyring  *optout.Keyring
	hostname string
	location *time.Location
	limit    int64 // of bytes

	mu    sync.Mutex
	ready map[mail.ID]*compiled
	order []mail.ID // least recently loaded first
	bytes int64
}

// compiled is loaded once, by the first who needs it.
type compiled struct {
	once   sync.Once
	render func(*mail.Copy, string) mail.Content
	err    error
	size   int64 // octets, once loaded and counted; guarded by renderer.mu
}

func newRenderer(cfg *Config, s *spool.Spool, k *optout.Keyring) *renderer {
	return &renderer{spool: s, keyring: k, hostname: cfg.Hostname, location: cfg.location(), limit: renderCache, ready: map[mail.ID]*compiled{}}
}

// render makes the copy; the same in every attempt.
func (r *renderer) render(m *mail.Message, c *mail.Copy) (mail.Content, error) {
	e := r.entry(m.ID)
	e.once.Do(func() {
		e.err = errors.New("what is kept of it could not be read") // stands if loading panics
		r.count(e, m.ID, r.load(m, e))
	})
	if e.err != nil {
		r.drop(e, m.ID)
		return mail.Content{}, e.err
	}
	token := ""
	if m.List != nil {
		token = r.keyring.Seal(m.TokenKey, optout.Claim{List: m.List.ID, User: mail.Address(c.UserKey), Message: m.ID})
	}
	return e.render(c, token), nil
}

// preview is render for people: with a token that changes nobody, so that a look
// at a copy unsubscribes no one.
func (r *renderer) preview(m *mail.Message, c *mail.Copy) (mail.Content, error) {
	e := &compiled{}
	if r.load(m, e); e.err != nil {
		return mail.Content{}, e.err
	}
	return e.render(c, previewToken), nil
}

// previewToken changes nobody.
const previewToken = "shown-to-an-administrator"

func (r *renderer) entry(id mail.ID) *compiled {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.ready[id]
	if e == nil {
		e = new(compiled)
		r.ready[id] = e
		r.order = append(r.order, id)
	}
	return e
}

// load reads what the spool keeps of a message and returns its size.
func (r *renderer) load(m *mail.Message, e *compiled) (size int64) {
	if m.List == nil {
		return r.loadOrdinary(m, e)
	}
	b, err := r.spool.Compiled(m.ID)
	if err == nil {
		var c *expand.Compiled
		if c, err = expand.Load(b); err == nil {
			e.render, e.err = c.Render, nil
		}
	}
	if err != nil {
		e.err = fmt.Errorf("the compiled form of message %s cannot be read: %w", m.ID, err)
	}
	return int64(len(b))
}

func (r *renderer) loadOrdinary(m *mail.Message, e *compiled) int64 {
	raw, err := readAll(r.spool.OpenBody(m.ID))
	if err != nil {
		e.err = fmt.Errorf("the body of message %s cannot be read: %w", m.ID, err)
		return 0
	}
	relayed, err := expand.Ordinary(expand.Input{ID: m.ID, Raw: raw, Hostname: r.hostname, Date: m.AcceptedAt.In(r.location), RewriteFrom: m.RewriteFrom})
	if err != nil {
		e.err = err
		return 0
	}
	e.render, e.err = func(*mail.Copy, string) mail.Content { return relayed.Content }, nil
	return int64(len(raw))
}

func readAll(f io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// count adds a loaded message and forgets the oldest while there are too many
// octets; the one just loaded stays, and so do those that are being loaded. One
// that was dropped meanwhile is not counted.
func (r *renderer) count(e *compiled, id mail.ID, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready[id] != e {
		return
	}
	e.size = size
	r.bytes += size
	for i := 0; r.bytes > r.limit && i < len(r.order); {
		oldest := r.order[i]
		if oldest == id || r.ready[oldest].size == 0 {
			i++
			continue
		}
		r.bytes -= r.ready[oldest].size
		delete(r.ready, oldest)
		r.order = slices.Delete(r.order, i, i+1)
	}
}

// drop forgets a message whose loading failed, so that it is tried again.
func (r *renderer) drop(e *compiled, id mail.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready[id] != e {
		return
	}
	r.bytes -= e.size
	delete(r.ready, id)
	if i := slices.Index(r.order, id); i >= 0 {
		r.order = slices.Delete(r.order, i, i+1)
	}
}
