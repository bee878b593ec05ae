package mysqlsync

import "context"

// inPages takes all that read gives. While a page is written the next one is read; where the
// directory is known to have nobody it is judged too, because that asks the state alone. A
// page that has a row or an address of the one before it is judged again when that is
// written.
func (p *pass) inPages(ctx context.Context, after string, read func(context.Context, string) ([]Row, error), note func(*edit, string)) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan page, 1)
	fetch := func(after string) {
		rows, err := read(ctx, after)
		pages <- page{rows, err}
	}
	go fetch(after)
	w := &writing{reads: true}
	err := p.eachPage(ctx, pages, fetch, w, note)
	if w.done != nil {
		if last := <-w.done; err == nil {
			err = last
		}
	}
	cancel()
	if w.reads {
		<-pages // nothing reads on behind a pass that has ended
	}
	return err
}

type page struct {
	rows []Row
	err  error
}

// writing is the page that is being written, and whether the next one is being read.
type writing struct {
	v     *verdict
	done  chan error // nil: none is
	reads bool
}

func (p *pass) eachPage(ctx context.Context, pages chan page, fetch func(string), w *writing, note func(*edit, string)) error {
	flown := p.flown // as of when nothing was being written
	for {
		next := <-pages
		w.reads = false
		if next.err != nil || len(next.rows) == 0 {
			return next.err
		}
		after := next.rows[len(next.rows)-1].Key
		w.reads = true
		go fetch(after)
		remember := func(e *edit) {
			if note != nil {
				note(e, after)
			}
		}
		if p.looking || !p.blind || p.stages() {
			if err := p.take(ctx, next.rows, remember); err != nil {
				return err
			}
			continue
		}
		v, err := p.judge(ctx, next.rows, flown)
		if err != nil {
			return err
		}
		if w.done != nil {
			err := <-w.done
			w.done = nil
			if err != nil {
				return err
			}
			flown = p.flown
			if v.touches(w.v) {
				if v, err = p.judge(ctx, next.rows, flown); err != nil {
					return err
				}
			}
		}
		w.v, w.done = v, make(chan error, 1)
		go func(done chan error) { done <- p.finish(ctx, v, remember) }(w.done)
	}
}

// touches says whether the rows, or their addresses, are among those of the other.
func (v *verdict) touches(other *verdict) bool {
	has := map[string]struct{}{}
	for i := range other.b.rows {
		has[other.b.rows[i].User.Email.Key()] = struct{}{}
	}
	for i := range v.b.rows {
		r := &v.b.rows[i]
		if _, there := other.b.in[r.Key]; there {
			return true
		}
		if _, there := has[r.User.Email.Key()]; there && r.User.Email != "" {
			return true
		}
	}
	return false
}
