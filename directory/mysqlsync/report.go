package mysqlsync

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

const samples = 5 // of a kind

// begins starts a step of the pass.
func (p *pass) begins(step string, of int64) {
	p.report.Step, p.report.Of, p.report.Done = step, of, 0
	p.step = time.Now()
	p.show(true)
}

// show tells how far the pass is: now, or when a second has passed since the last time.
func (p *pass) show(now bool) {
	if !now && time.Since(p.last) < time.Second {
		return
	}
	p.last = time.Now()
	r := p.report
	r.Left = 0
	if took := time.Since(p.step); r.Of > r.Done && r.Done > 0 && took > 0 {
		r.Left = time.Duration(float64(took) / float64(r.Done) * float64(r.Of-r.Done)).Round(time.Second)
	}
	r.Samples = map[string][]Sample{}
	for kind, some := range p.report.Samples {
		r.Samples[kind] = slices.Clone(some)
	}
	p.s.mu.Lock()
	p.s.now = &r
	p.s.mu.Unlock()
	if p.told != nil {
		p.told(r)
	}
}

// tally counts what became of rows.
func (p *pass) tally(steps []step) {
	c := &p.report.Counts
	count := func(n *int, is bool, kind string, st *step, what string) {
		if is {
			*n++
			p.sample(kind, Sample{Key: st.row.Key, Email: st.address(), What: what})
		}
	}
	for i := range steps {
		st := &steps[i]
		if p.counted(st) {
			continue
		}
		if st.movesAway() && !st.unsubscribed {
			p.moving++
		}
		count(&c.New, st.kind == isNew, isNew, st, "")
		count(&c.Changed, st.kind == isChanged, isChanged, st, st.what)
		count(&c.Gone, st.kind == isGone, isGone, st, "")
		count(&c.Bad, st.kind == isBad, isBad, st, st.what)
		count(&c.Moved, len(st.from) > 0, "moved", st, st.what)
		count(&c.Unsubscribed, st.unsubscribed, "unsubscribed", st, "")
		count(&c.Kept, st.kept, "kept", st, "subscribed in MySQL, and left here")
		count(&c.Back, st.back, "back", st, "had left here, and agreed later")
		if st.kind == isSame {
			c.Same++
		}
		if st.subscribed {
			c.Subscribed++
		}
		if st.consent {
			c.Consents++
		}
		if (st.kind == isNew || st.kind == isChanged) && st.seen.Stands == unsaid {
			c.Unknown++
		}
	}
}

// movesAway says that the user gets another address, and not the same in another spelling.
func (st *step) movesAway() bool {
	return len(st.from) > 0 && st.from[0].Key() != st.put.Email.Key()
}

// counted says whether the pass has counted a row that is set aside before, or a look
// one that the tripwire counts.
func (p *pass) counted(st *step) bool {
	if st.kind == isBad {
		if p.bad == nil {
			p.bad = map[uint64]struct{}{}
		}
		key := keyHash(st.row.Key)
		_, is := p.bad[key]
		p.bad[key] = struct{}{}
		return is
	}
	if p.lost == nil || st.kind != isGone && !st.unsubscribed && !st.movesAway() {
		return false
	}
	key := keyHash(st.row.Key)
	_, is := p.lost[key]
	p.lost[key] = struct{}{}
	return is
}

func (st *step) address() mail.Address {
	switch {
	case st.row.User.Email != "":
		return st.row.User.Email
	case st.leaver != "":
		return st.leaver
	case st.row.Email != "":
		return mail.Address(short(st.row.Email))
	}
	return ""
}

func (p *pass) sample(kind string, s Sample) {
	if len(p.report.Samples[kind]) < samples {
		p.report.Samples[kind] = append(p.report.Samples[kind], s)
	}
}

func (p *pass) log(err error) {
	r := &p.report
	log := p.s.cfg.Log.With("kind", r.Kind, "dry_run", r.DryRun, "read", r.Read, "new", r.New, "changed", r.Changed, "gone", r.Gone,
		"unsubscribed", r.Unsubscribed, "kept", r.Kept, "aside", r.Bad, "took", r.Ended.Sub(r.Began).Round(time.Millisecond))
	if err != nil {
		log.Warn("sync from MySQL ended early", "error", err)
		return
	}
	log.Info("synced from MySQL")
}

// writeRejects writes the file of the rows that are set aside, whole or not at all; without
// any there is no file.
func (s *Syncer) writeRejects() error {
	path := s.cfg.Rejects
	if path == "" {
		return nil
	}
	keys, asides, err := walk[aside](s.cfg.State, asideBucket, "", 1)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", filepath.Base(path), err)
		}
		return nil
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the file of rejected rows: %w", err)
	}
	w := csv.NewWriter(f)
	_ = w.Write([]string{"key", "email", "reason", "since"})
	for len(keys) > 0 {
		for i, a := range asides {
			_ = w.Write([]string{inert(keys[i]), inert(a.Email), a.Reason, a.Since.Format(time.RFC3339)})
		}
		if keys, asides, err = walk[aside](s.cfg.State, asideBucket, keys[len(keys)-1], 1000); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	w.Flush()
	if err := errors.Join(w.Error(), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the file of rejected rows: %w", err)
	}
	return os.Rename(part, path)
}

// inert is a cell that no spreadsheet computes: who may write into MySQL may be anybody.
func inert(cell string) string {
	if _, err := strconv.ParseFloat(cell, 64); err != nil && cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// Kinds lists the kinds of samples of a report, in the order in which people want them.
func (r *Report) Kinds() []string {
	order := []string{isNew, isChanged, "moved", "unsubscribed", isGone, "kept", "back", isBad, "strangers"}
	return slices.DeleteFunc(order, func(kind string) bool { return !slices.Contains(slices.Collect(maps.Keys(r.Samples)), kind) })
}
