package mysqlsync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"postern/directory"
	"postern/mail"
)

// writers is how many words are told to the index at a time: they share its commits.
const writers = 64

// apply brings the steps into the directory. stage, which may be nil, takes the users that
// are not there yet. Before it comes the index, so that nothing which was left is lost on
// the way, and after it the state.
func (s *Syncer) apply(ctx context.Context, steps []step, stage func([]directory.User) error) error {
	var users, fresh, staged []directory.User
	var drop, made []mail.Address
	for i := range steps {
		if st := &steps[i]; st.put != nil && st.fresh {
			made = append(made, st.put.Email)
		}
	}
	left, err := s.cfg.Index.LeftOf(made)
	if err != nil {
		return err
	}
	for i := range steps {
		st := &steps[i]
		drop = append(drop, st.drop...)
		if st.put == nil {
			continue
		}
		if st.fresh {
			st.put.OptOut = directory.Union(st.put.OptOut, left[st.put.Email])
		}
		if stage != nil && st.kind == isNew {
			staged = append(staged, *st.put)
			continue
		}
		users = append(users, *st.put)
		if st.fresh {
			fresh = append(fresh, *st.put)
		}
	}
	if len(staged) > 0 {
		if err := errors.Join(stage(staged), s.learn(staged)); err != nil {
			return err
		}
	}
	if err := s.write(ctx, users, drop); err != nil {
		return err
	}
	return s.meanwhile(ctx, fresh)
}

// meanwhile tells the directory what new users have left while they were written: when the index
// told it, they may not have been there.
func (s *Syncer) meanwhile(ctx context.Context, users []directory.User) error {
	gone, err := s.cfg.Index.LeftOf(addressesOf(users))
	if err != nil {
		return err
	}
	for i := range users {
		left := slices.DeleteFunc(gone[users[i].Email], func(id string) bool { return slices.Contains(users[i].OptOut, id) })
		if len(left) == 0 {
			continue
		}
		c := directory.Change{OptOut: left}
		if slices.Contains(left, directory.AllLists) {
			c.Subscribed = new(bool)
		}
		if err := s.cfg.Store.Update(ctx, users[i].Email, c); err != nil && !errors.Is(err, directory.ErrNotFound) {
			return err
		}
	}
	return nil
}

func addressesOf(users []directory.User) []mail.Address {
	addresses := make([]mail.Address, len(users))
	for i := range users {
		addresses[i] = users[i].Email
	}
	return addresses
}

// write brings users into the directory, and others out of it.
func (s *Syncer) write(ctx context.Context, users []directory.User, drop []mail.Address) error {
	if len(users) > 0 {
		if err := s.cfg.Store.Put(ctx, users); err != nil {
			return err
		}
		if err := s.learn(users); err != nil {
			return err
		}
	}
	if len(drop) > 0 {
		return s.cfg.Store.Delete(ctx, drop)
	}
	return nil
}

// learn tells which attributes there are.
func (s *Syncer) learn(users []directory.User) error {
	if s.cfg.Learn == nil {
		return nil
	}
	fields := map[string]string{}
	directory.CollectFields(fields, users)
	return s.cfg.Learn(fields)
}

// tellIndex records what only the directory knew, then what has moved, then the consents.
func (s *Syncer) tellIndex(ctx context.Context, b *batch, steps []step) error {
	index := s.cfg.Index
	told := func(has func(*step) bool, word func(context.Context, *step) error) error {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(writers)
		for i := range steps {
			if has(&steps[i]) {
				g.Go(func() error { return word(gctx, &steps[i]) })
			}
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("tell the opt-out index: %w", err)
		}
		return nil
	}
	ev := directory.Evidence{At: b.now, How: "MySQL"}
	there := directory.Evidence{At: b.now, How: "directory", Note: "the directory said so, and MySQL did not"}
	err := told(func(st *step) bool { return len(st.leave) > 0 }, func(ctx context.Context, st *step) error {
		for _, list := range st.leave {
			if err := index.OptOut(ctx, st.leaver, list, there); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.tellMoves(ctx, steps, ev); err != nil {
		return fmt.Errorf("tell the opt-out index: %w", err)
	}
	return told(func(st *step) bool { return st.consent }, func(ctx context.Context, st *step) error {
		left, err := index.Left(st.row.User.Email)
		if err != nil {
			return err
		}
		lists := append(slices.Clone(left), directory.AllLists)
		if err := index.Agreed(ctx, st.row.User.Email, lists, st.agreed, ev); err != nil {
			return err
		}
		left, err = index.Left(st.row.User.Email)
		st.back = st.kept && !slices.Contains(left, directory.AllLists)
		st.kept = st.kept && !st.back
		return err
	})
}

// foresee says what the consents would do, without a word to the index.
func (s *Syncer) foresee(steps []step) error {
	for i := range steps {
		st := &steps[i]
		if !st.consent || !st.kept || slices.Contains(st.leave, directory.AllLists) {
			continue
		}
		address := st.row.User.Email
		if len(st.from) > 0 { // what was left there comes along
			address = st.from[0]
		}
		back, err := s.cfg.Index.BringsBack(address, st.row.Consent)
		if err != nil {
			return err
		}
		st.back, st.kept = back, !back
	}
	return nil
}

// tellMoves tells who has moved. Who gives an address free comes before who takes it: else
// the one would take along what the other had left.
func (s *Syncer) tellMoves(ctx context.Context, steps []step, ev directory.Evidence) error {
	type move struct {
		from, to       mail.Address
		fromKey, toKey string
	}
	var moves []move
	leaving := map[string]int{}
	for i := range steps {
		for _, from := range steps[i].from {
			to := steps[i].put.Email
			moves = append(moves, move{from, to, from.Key(), to.Key()})
			leaving[from.Key()]++
		}
	}
	for len(moves) > 0 {
		var waiting []move
		for i, m := range moves {
			circle := i == len(moves)-1 && len(waiting) == i // it is told somewhere first
			if leaving[m.toKey] > 0 && m.fromKey != m.toKey && !circle {
				waiting = append(waiting, m)
				continue
			}
			if err := s.cfg.Index.Moved(ctx, m.from, m.to, ev); err != nil {
				return err
			}
			leaving[m.fromKey]--
		}
		moves = waiting
	}
	return nil
}

// flights is what the steps are about to write.
func flights(steps []step) []flight {
	flying := []flight{}
	for i := range steps {
		st := &steps[i]
		switch {
		case st.put != nil:
			flying = append(flying, flight{st.row.Key, st.put.Email, st.seen.Stands})
		case len(st.drop) > 0:
			flying = append(flying, flight{Key: st.row.Key})
		}
	}
	return flying
}

// remember is what the state keeps of the steps.
func remember(e *edit, b *batch, steps []step) {
	for i := range steps {
		st := &steps[i]
		key := st.row.Key
		base := b.base[key]
		switch {
		case st.kind == isGone:
			e.rows[key] = nil
			e.aside[key] = nil
		case st.aside != nil:
			e.aside[key] = st.aside
			if st.seen != nil && *st.seen != *base {
				e.rows[key] = st.seen
			}
		case st.seen != nil && (base == nil || *st.seen != *base):
			e.rows[key] = st.seen
			e.aside[key] = nil
		default:
			e.aside[key] = nil
		}
		if st.later {
			e.later[key] = st.row.User.Email
		}
	}
}
