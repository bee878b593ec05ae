package mysqlsync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"postern/directory"
	"postern/mail"
)

// pass is one pass under way.
type pass struct {
	s      *Syncer
	o      Options
	at     place
	report Report
	told   func(Report)

	last    time.Time           // when progress was told
	step    time.Time           // when the step began
	looking bool                // nothing is written
	blind   bool                // the directory was empty at the beginning, or has no table yet: it is not asked
	known   int                 // users, for the tripwire
	flown   map[string]flight   // what the last chunk was about to write, when it was cut off
	met     map[uint64]struct{} // keys of the rows that were read, when gone ones are looked for
	bad     map[uint64]struct{} // keys of those set aside: a pass may meet them again, and counts them once
	lost    map[uint64]struct{} // keys of those that a look has counted: it may meet them twice
	moving  int                 // of them, those who would get another address and stay subscribed
	lives   map[uint64]struct{} // in a look before a first load, the addresses that rows have
	later   []step              // and the rows that it would take out at its end
}

func (p *pass) kind() string {
	switch {
	case !p.at.Loaded:
		return FirstLoad
	case p.o.Reconcile || p.at.Shape != p.s.cfg.Shape:
		return Reconcile
	}
	return Incremental
}

// run looks at everything that the pass would do, and then does it.
func (p *pass) run(ctx context.Context) error {
	empty, err := p.directoryIsEmpty(ctx)
	if err != nil {
		return err
	}
	p.known = p.at.Users
	p.looking = true
	if p.o.DryRun || p.looks(empty) {
		p.blind = empty
		if err := p.look(ctx); err != nil || p.o.DryRun {
			return err
		}
		p.report.Counts, p.report.Samples, p.bad = Counts{}, map[string][]Sample{}, nil
		p.at.Looked = true
	}
	p.looking, p.blind, p.flown = false, empty, nil
	if err := p.hear(ctx); err != nil {
		return err
	}
	if err := p.land(ctx); err != nil {
		return err
	}
	switch p.report.Kind {
	case FirstLoad:
		if err := p.begin(ctx); err != nil {
			return err
		}
		if err := p.load(ctx); err != nil {
			return err
		}
		return p.changes(ctx)
	case Reconcile:
		return p.everything(ctx)
	}
	return p.changes(ctx)
}

// looks says whether a pass needs to look before it writes: a first load into an empty
// directory takes nobody out, and one that goes on has looked.
func (p *pass) looks(empty bool) bool {
	if p.report.Kind == FirstLoad {
		return !empty && !p.at.Looked && p.at.After == ""
	}
	return !p.o.Force
}

// directoryIsEmpty is asked before a first load alone.
func (p *pass) directoryIsEmpty(ctx context.Context) (bool, error) {
	if p.at.Loaded {
		return false, nil
	}
	if p.s.cfg.Staging != nil {
		if missing, err := p.s.cfg.Staging.Missing(ctx); err != nil || missing {
			return missing, err
		}
	}
	n := 0
	var at directory.Checkpoint
	for {
		page, err := p.s.cfg.Store.Scan(ctx, at)
		if err != nil {
			return false, err
		}
		if n += len(page.Users); n > 0 {
			return false, nil
		}
		if at = page.Next; at == nil {
			return true, nil
		}
	}
}

// look is the pass without a write. The error is the tripwire's, or that of a reader.
func (p *pass) look(ctx context.Context) error {
	p.begins("looking", 0)
	p.lost, p.moving = map[uint64]struct{}{}, 0
	defer func() { p.lost = nil }()
	err := p.land(ctx)
	if err != nil {
		return err
	}
	switch p.report.Kind {
	case FirstLoad:
		p.lives = map[uint64]struct{}{}
		if err = p.readDirectory(ctx, true); err == nil {
			err = p.byKey(ctx, "", nil)
		}
		p.tally(slices.DeleteFunc(p.later, func(st step) bool {
			_, is := p.lives[keyHash(st.row.User.Email.Key())]
			return is
		}))
		p.lives, p.later = nil, nil
	case Reconcile:
		err = p.everything(ctx)
	default:
		err = p.changes(ctx)
	}
	if err != nil {
		return err
	}
	return p.tripwire()
}

// fewAreFine is how many may always leave: a share of very few users says nothing.
const fewAreFine = 2

// A table of which more than half get another address is mapped wrongly, or is another one;
// in a small one it may be the shop's wish.
const (
	mostMove   = 0.5
	manyToMove = 10
)

// tooMany says whether the look has found more than the tripwire allows.
func (p *pass) tooMany(out, off int) bool {
	n := out + off
	if (n > fewAreFine || n >= max(2, p.known)) && float64(n) > p.s.cfg.Tripwire*float64(p.known) {
		return true
	}
	return p.moving >= manyToMove && float64(p.moving) > max(mostMove, p.s.cfg.Tripwire)*float64(p.known)
}

func (p *pass) tripwire() error {
	out, off := p.report.Gone, p.report.Unsubscribed
	if p.o.Strangers {
		out += p.report.Strangers
	}
	if !p.tooMany(out, off) {
		return nil
	}
	said := fmt.Sprintf("%d of %d users would be taken out, %d unsubscribed, and %d would get another address, more than sync.tripwire = %g allows: nothing was changed; "+
		"see what `postern sync --dry-run` says, mend the table or [sync], or let it happen with `postern sync --force`", out, p.known, off, p.moving, p.s.cfg.Tripwire)
	if p.o.DryRun {
		p.report.Tripwire = said
		return nil
	}
	if p.o.Force {
		return nil
	}
	return &mail.Error{Class: mail.Permanent, Public: said, Err: ErrTripwire}
}

// begin notes where a first load begins, before it reads the first row: what changes in the
// meantime is read after it, from there.
func (p *pass) begin(ctx context.Context) error {
	if p.at.Start != nil {
		return nil
	}
	newest, err := p.s.cfg.Source.Newest(ctx)
	if err != nil {
		return err
	}
	now, err := p.s.cfg.Source.Now(ctx)
	if err != nil {
		return err
	}
	if newest.After(now) {
		newest = now
	}
	p.at.Start, p.at.Shape = &Mark{Updated: newest}, p.s.cfg.Shape
	if p.s.cfg.Staging != nil {
		p.at.Stage = &stage{Prefix: fmt.Sprintf("postern-sync/%s/", time.Now().UTC().Format("20060102-150405.000000"))}
	}
	return p.s.cfg.State.write(newEdit(&p.at))
}

// take judges rows, and does what is to be done unless the pass only looks. note adds to
// what is remembered with them.
func (p *pass) take(ctx context.Context, rows []Row, note func(*edit)) error {
	v, err := p.judge(ctx, rows, p.flown)
	if err != nil {
		return err
	}
	return p.finish(ctx, v, note)
}

// verdict is rows that are judged.
type verdict struct {
	read  int
	b     *batch
	steps []step
}

// judge says what is to be done for rows. It writes nothing, and reads nothing that finish
// changes: so it may run beside that.
func (p *pass) judge(ctx context.Context, rows []Row, flown map[string]flight) (*verdict, error) {
	v := &verdict{read: len(rows)}
	if p.stages() { // what is in a chunk already is brought by the changes behind the load
		known, err := p.s.cfg.State.known(keysOf(rows))
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(r Row) bool { return known[r.Key] != nil })
	}
	var err error
	if v.b, err = p.s.gather(ctx, rows, flown, p.blind, p.stages()); err != nil {
		return nil, err
	}
	v.steps = v.b.judge(p.report.Kind == FirstLoad && !p.at.Loaded)
	return v, nil
}

// finish does what was judged, unless the pass only looks, and counts it.
func (p *pass) finish(ctx context.Context, v *verdict, note func(*edit)) error {
	p.report.Read += v.read
	if p.met != nil {
		for i := range v.b.rows {
			p.met[keyHash(v.b.rows[i].Key)] = struct{}{}
		}
	}
	if p.lives != nil {
		p.lookLater(v.b, v.steps)
	}
	if !p.looking {
		for i := range v.steps {
			if st := &v.steps[i]; st.put != nil && p.blind { // and no chunk is written again
				st.put.New = st.kind == isNew
			}
		}
		e := newEdit(&p.at)
		remember(e, v.b, v.steps)
		if note != nil {
			note(e)
		}
		if err := p.do(ctx, v.b, v.steps, e); err != nil {
			return err
		}
	} else if err := p.s.foresee(v.steps); err != nil {
		return err
	}
	p.tally(v.steps)
	p.report.Done += int64(v.read)
	p.show(false)
	return nil
}

// lookLater is for what a first load does at its end, in a look: it takes out whose row is deleted
// and whose address no other row has.
func (p *pass) lookLater(b *batch, steps []step) {
	for i := range steps {
		st := &steps[i]
		address := st.row.User.Email
		switch {
		case st.row.lives():
			p.lives[keyHash(address.Key())] = struct{}{}
		case st.later && b.users[address] != nil:
			p.later = append(p.later, step{row: &Row{Key: st.row.Key, User: directory.User{Email: address}}, kind: isGone})
		}
	}
}

// do tells the index, notes what is about to be written, writes it, and notes what was.
func (p *pass) do(ctx context.Context, b *batch, steps []step, e *edit) error {
	if err := p.s.tellIndex(ctx, b, steps); err != nil {
		return err
	}
	unsure := p.unsure(steps)
	if flying := flights(steps); len(flying) > 0 {
		if err := p.s.cfg.State.write(&edit{flight: append(flying, unsure...)}); err != nil {
			return err
		}
	}
	if err := p.s.apply(ctx, steps, p.stager(ctx)); err != nil {
		return err
	}
	e.flight = unsure
	if err := p.s.cfg.State.write(e); err != nil {
		return err
	}
	p.flown = map[string]flight{}
	for _, f := range unsure {
		p.flown[f.Key] = f
	}
	if slices.ContainsFunc(steps, func(st step) bool { return st.consent }) {
		return p.hear(ctx)
	}
	return nil
}

// unsure gives what the steps leave as unsure as it was: a row that is set aside is not written.
func (p *pass) unsure(steps []step) []flight {
	left := maps.Clone(p.flown)
	for i := range steps {
		if steps[i].aside == nil {
			delete(left, steps[i].row.Key)
		}
	}
	return slices.AppendSeq([]flight{}, maps.Values(left))
}

// hear lets the directory hear what the index has to say of what came before: an older
// consent must not arrive after MySQL's later "no". What the directory refuses for good is no
// reason to wait; one that has no table yet hears nothing.
func (p *pass) hear(ctx context.Context) error {
	if p.blind {
		return nil
	}
	_, err := p.s.cfg.Index.Replay(ctx, p.s.cfg.Store)
	if err != nil && ctx.Err() == nil && forGood(err) {
		p.s.cfg.Log.Warn("before the sync, the directory refused to be told some opt-outs", "error", err)
		return nil
	}
	return err
}

// forGood says that every one of the errors is Permanent.
func forGood(err error) bool {
	if all, is := err.(interface{ Unwrap() []error }); is {
		return !slices.ContainsFunc(all.Unwrap(), func(err error) bool { return !forGood(err) })
	}
	return mail.ClassOf(err) == mail.Permanent
}

// land writes the rows anew whose writing was cut off in the last pass.
func (p *pass) land(ctx context.Context) error {
	flown, err := p.s.cfg.State.flown()
	if err != nil || len(flown) == 0 {
		return err
	}
	p.flown = map[string]flight{}
	keys := make([]string, len(flown))
	for i, f := range flown {
		p.flown[f.Key], keys[i] = f, f.Key
	}
	rows, err := p.s.cfg.Source.Lookup(ctx, keys)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for i := range rows {
		there[rows[i].Key] = true
	}
	for _, f := range flown {
		if !there[f.Key] {
			rows = append(rows, Row{Key: f.Key, Deleted: true, User: directory.User{Email: f.Email}})
		}
	}
	return p.take(ctx, rows, nil)
}

// changes reads what has changed since the mark, what has no time, and the rows that wait for
// another's address.
func (p *pass) changes(ctx context.Context) error {
	if !p.looking {
		p.begins("reading", 0)
	}
	now, err := p.s.cfg.Source.Now(ctx)
	if err != nil {
		return err
	}
	at := Mark{}
	if !p.at.Mark.IsZero() {
		at.Updated = p.at.Mark.Add(-p.s.cfg.Overlap)
	}
	for {
		rows, err := p.s.cfg.Source.Changed(ctx, at, p.s.cfg.Chunk)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		last := rows[len(rows)-1]
		at = Mark{last.Updated, last.Key}
		if err := p.take(ctx, rows, func(e *edit) { e.place.advance(last.Updated, now) }); err != nil {
			return err
		}
	}
	undated := func(ctx context.Context, after string) ([]Row, error) {
		return p.s.cfg.Source.Undated(ctx, after, p.s.cfg.Chunk)
	}
	if err := p.inPages(ctx, "", undated, nil); err != nil {
		return err
	}
	return p.takenOnes(ctx)
}

// advance moves the mark on: to a time that was read, and that is not in the future.
func (at *place) advance(read, now time.Time) {
	if read.After(now) {
		read = now
	}
	if read.After(at.Mark) {
		at.Mark = read
	}
}

func (p *pass) byKey(ctx context.Context, after string, note func(*edit, string)) error {
	of, err := p.s.cfg.Source.Count(ctx)
	if err != nil {
		return err
	}
	p.report.Of = of
	return p.inPages(ctx, after, func(ctx context.Context, after string) ([]Row, error) {
		return p.s.cfg.Source.ByKey(ctx, after, p.s.cfg.Chunk)
	}, note)
}

// takenOnes tries the rows again whose address was another's.
func (p *pass) takenOnes(ctx context.Context) error {
	after := ""
	for {
		keys, asides, err := walk[aside](p.s.cfg.State, asideBucket, after, p.s.cfg.Chunk)
		if err != nil || len(keys) == 0 {
			return err
		}
		after = keys[len(keys)-1]
		var taken []string
		for i, a := range asides {
			if a.Taken {
				taken = append(taken, keys[i])
			}
		}
		if err := p.again(ctx, taken); err != nil {
			return err
		}
	}
}

// again reads rows that were set aside; those that are gone are forgotten.
func (p *pass) again(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	rows, err := p.s.cfg.Source.Lookup(ctx, keys)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for i := range rows {
		there[rows[i].Key] = true
	}
	return p.take(ctx, rows, func(e *edit) {
		for _, key := range keys {
			if !there[key] {
				e.aside[key] = nil
			}
		}
	})
}

// end closes the report, and remembers it unless the pass was a dry one.
func (p *pass) end(err error) (Report, error) {
	p.report.Ended, p.report.Step, p.report.Left = time.Now().UTC(), "", 0
	if err != nil {
		p.report.Error = sentence(err)
	}
	if !p.o.DryRun {
		at, readErr := p.s.cfg.State.place() // what was written last
		if readErr == nil {
			r := p.report
			at.Last = &r
			if err == nil {
				at.Good = r.Began
			}
			readErr = p.s.cfg.State.write(newEdit(&at))
		}
		err = errors.Join(err, readErr, p.s.writeRejects())
	}
	p.show(true)
	p.s.mu.Lock()
	p.s.now = nil
	p.s.mu.Unlock()
	p.log(err)
	return p.report, err
}

// sentence is an error for people.
func sentence(err error) string {
	if errors.Is(err, context.Canceled) {
		return "it was interrupted; the next one goes on there"
	}
	var e *mail.Error
	if errors.As(err, &e) && e.Public != "" {
		return e.Public
	}
	return err.Error()
}
