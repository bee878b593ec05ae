package mysqlsync

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"

	"postern/directory"
	"postern/mail"
)

// load is the first load, from the key where it stands.
func (p *pass) load(ctx context.Context) error {
	p.begins("reading", 0)
	if p.at.Stage == nil || !p.at.Stage.All {
		err := p.byKey(ctx, p.at.After, func(e *edit, after string) {
			e.place.After = after
		})
		if err != nil {
			return err
		}
	}
	p.blind = false
	if err := p.loadStaged(ctx); err != nil {
		return err
	}
	if err := p.settleLater(ctx); err != nil {
		return err
	}
	e := newEdit(&p.at)
	p.at.Loaded, p.at.After, p.at.Mark, p.at.Looked = true, "", p.at.Start.Updated, false
	return p.s.cfg.State.write(e)
}

// stages says whether the first load is writing chunks into the staging.
func (p *pass) stages() bool { return p.at.Stage != nil && !p.at.Stage.All && !p.at.Loaded }

// stager writes the new users of a chunk to the staging; nil when they go straight into
// the directory.
func (p *pass) stager(ctx context.Context) func([]directory.User) error {
	if !p.stages() {
		return nil
	}
	return func(users []directory.User) error {
		if err := p.s.cfg.Staging.Stage(ctx, chunkName(p.at.Stage, p.at.Stage.Staged), users); err != nil {
			return err
		}
		p.at.Stage.Staged++ // written with the rest of the chunk's state
		return nil
	}
}

func chunkName(s *stage, n int) string { return fmt.Sprintf("%s%08d", s.Prefix, n) }

// loadStaged brings the chunks into the directory: all at once by an import where there is
// no table yet, else one after the other.
func (p *pass) loadStaged(ctx context.Context) error {
	st := p.at.Stage
	if st == nil {
		return nil
	}
	if !st.All {
		st.All = true
		if err := p.s.cfg.State.write(newEdit(&p.at)); err != nil {
			return err
		}
	}
	if st.Loaded == 0 && st.Staged > 0 {
		p.begins("importing", int64(p.at.Users))
		done, err := p.s.cfg.Staging.Import(ctx, st.Prefix, func(items int64) {
			p.report.Done = items
			p.show(false)
		})
		if err != nil {
			return err
		}
		if done {
			st.Loaded = st.Staged
			if err := p.s.cfg.State.write(newEdit(&p.at)); err != nil {
				return err
			}
		}
	}
	p.begins("loading", int64(st.Staged))
	p.report.Done = int64(st.Loaded)
	for st.Loaded < st.Staged {
		if err := p.loadChunk(ctx, chunkName(st, st.Loaded)); err != nil {
			return err
		}
		st.Loaded++
		if err := p.s.cfg.State.write(newEdit(&p.at)); err != nil {
			return err
		}
		p.report.Done++
		p.show(false)
	}
	if err := p.s.cfg.Staging.Drop(ctx, st.Prefix); err != nil {
		return err
	}
	p.at.Stage = nil
	return p.s.cfg.State.write(newEdit(&p.at))
}

// loadChunk writes a chunk's users, and what they have left since it was staged.
func (p *pass) loadChunk(ctx context.Context, name string) error {
	users, err := p.s.cfg.Staging.Chunk(ctx, name)
	if err != nil {
		return err
	}
	for i := range users {
		left, err := p.s.cfg.Index.Left(users[i].Email)
		if err != nil {
			return err
		}
		users[i].OptOut = directory.Union(users[i].OptOut, left)
	}
	if err := p.s.write(ctx, users, nil); err != nil {
		return err
	}
	return p.s.meanwhile(ctx, users)
}

// settleLater takes those out of an older directory whose row is deleted, now that it is
// known which addresses other rows have.
func (p *pass) settleLater(ctx context.Context) error {
	after := ""
	for {
		keys, addresses, err := walk[mail.Address](p.s.cfg.State, laterBucket, after, p.s.cfg.Chunk)
		if err != nil || len(keys) == 0 {
			return err
		}
		after = keys[len(keys)-1]
		rows := make([]Row, len(keys))
		for i := range keys {
			rows[i] = Row{Key: keys[i], Deleted: true, User: directory.User{Email: addresses[i]}}
		}
		b, err := p.s.gather(ctx, rows, nil, false, false)
		if err != nil {
			return err
		}
		steps := b.judge(false)
		e := newEdit(&p.at)
		remember(e, b, steps)
		for _, key := range keys {
			e.later[key] = ""
		}
		if err := p.do(ctx, b, steps, e); err != nil {
			return err
		}
		p.tally(steps)
	}
}

// everything reads all rows by key, and when it was asked for finds what is gone.
func (p *pass) everything(ctx context.Context) error {
	if !p.looking {
		p.begins("reading", 0)
	}
	p.met = map[uint64]struct{}{}
	if err := p.byKey(ctx, "", nil); err != nil {
		return err
	}
	met := p.met
	p.met = nil
	if err := p.takenOnes(ctx); err != nil {
		return err
	}
	if p.o.Reconcile {
		if !p.looking {
			p.begins("finding what is gone", int64(p.at.Users))
		}
		if err := p.gone(ctx, met); err != nil {
			return err
		}
		if err := p.readDirectory(ctx, false); err != nil {
			return err
		}
	}
	if p.looking {
		return nil
	}
	p.at.Shape = p.s.cfg.Shape
	return p.s.cfg.State.write(newEdit(&p.at))
}

// gone takes out the users whose rows were not met, once a second look confirms that.
func (p *pass) gone(ctx context.Context, met map[uint64]struct{}) error {
	for _, bucket := range []string{rowsBucket, asideBucket} {
		after := ""
		for {
			keys, _, err := walk[struct{}](p.s.cfg.State, bucket, after, p.s.cfg.Chunk)
			if err != nil {
				return err
			}
			if len(keys) == 0 {
				break
			}
			after = keys[len(keys)-1]
			if err := p.goneOf(ctx, keys, met); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pass) goneOf(ctx context.Context, keys []string, met map[uint64]struct{}) error {
	var missing []string
	for _, key := range keys {
		if _, is := met[keyHash(key)]; !is {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rows, err := p.s.cfg.Source.Lookup(ctx, missing)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for i := range rows {
		there[rows[i].Key] = true
	}
	for _, key := range missing {
		if !there[key] {
			rows = append(rows, Row{Key: key, Deleted: true})
		}
	}
	return p.take(ctx, rows, nil)
}

func keyHash(key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return h.Sum64()
}

// readDirectory scans it. Before a first load it counts the users, and notes those whose
// address is written in another way than normalised: MySQL may write it differently. In a
// reconcile it finds the strangers, whom no row has brought.
func (p *pass) readDirectory(ctx context.Context, before bool) error {
	var at directory.Checkpoint
	var aside map[string]struct{}
	if !before {
		var err error
		if aside, err = p.s.asideAddresses(); err != nil {
			return err
		}
	}
	users := 0
	for {
		page, err := p.s.cfg.Store.Scan(ctx, at)
		if err != nil {
			return err
		}
		users += len(page.Users)
		if before {
			err = p.noteSpelling(page.Users)
		} else {
			err = p.strangers(ctx, page.Users, aside)
		}
		if err != nil {
			return err
		}
		if at = page.Next; at == nil {
			break
		}
	}
	p.known = max(p.known, users)
	if !before {
		p.report.Missing = max(0, p.at.Users-(users-p.report.Strangers))
	}
	return nil
}

func (p *pass) noteSpelling(users []directory.User) error {
	e := &edit{spelt: map[string]mail.Address{}} // and no place: that is of a pass which writes
	for i := range users {
		if key := users[i].Email.Key(); key != string(users[i].Email) {
			e.spelt[key] = users[i].Email
		}
	}
	if len(e.spelt) == 0 {
		return nil
	}
	return p.s.cfg.State.write(e)
}

// asideAddresses are the normalised addresses of the rows that are set aside: MySQL has these
// people, and they are no strangers.
func (s *Syncer) asideAddresses() (map[string]struct{}, error) {
	addresses, after := map[string]struct{}{}, ""
	for {
		keys, asides, err := walk[aside](s.cfg.State, asideBucket, after, 1000)
		if err != nil || len(keys) == 0 {
			return addresses, err
		}
		after = keys[len(keys)-1]
		for _, a := range asides {
			if address, err := mail.ParseAddress(strings.TrimSpace(a.Email)); err == nil {
				addresses[address.Key()] = struct{}{}
			}
		}
	}
}

func (p *pass) strangers(ctx context.Context, users []directory.User, aside map[string]struct{}) error {
	keys := make([]string, len(users))
	for i := range users {
		keys[i] = users[i].Email.Key()
	}
	owners, err := p.s.cfg.State.owners(keys)
	if err != nil {
		return err
	}
	b := &batch{cfg: &p.s.cfg, left: map[mail.Address][]string{}}
	var steps []step
	for i := range users {
		if _, is := aside[keys[i]]; is || owners[keys[i]] != "" {
			continue
		}
		p.report.Strangers++
		p.sample("strangers", Sample{Email: users[i].Email, What: "in no row of MySQL"})
		if !p.o.Strangers {
			continue
		}
		u, left, err := p.s.cfg.Index.Heard(users[i])
		if err != nil {
			return err
		}
		b.left[u.Email] = left
		steps = append(steps, step{row: &Row{}, kind: isGone, drop: []mail.Address{u.Email}, leaver: u.Email, leave: b.onlyThere(&u, true)})
	}
	if p.looking || len(steps) == 0 {
		return nil
	}
	b.now = p.report.Began
	if err := p.s.tellIndex(ctx, b, steps); err != nil {
		return err
	}
	return p.s.apply(ctx, steps, nil)
}
