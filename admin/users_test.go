package admin_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"postern/directory"
	"postern/mail"
)

// users is a directory in memory, with pages of three and an empty one.
type users struct {
	mu   sync.Mutex
	fail error // of Scan
	all  map[mail.Address]directory.User
}

func newUsers() *users { return &users{all: map[mail.Address]directory.User{}} }

func (s *users) put(u directory.User) { s.all[u.Email] = u }

func (s *users) Scan(_ context.Context, from directory.Checkpoint) (directory.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return directory.Page{}, s.fail
	}
	if from == nil {
		return directory.Page{Next: directory.Checkpoint(" ")}, nil
	}
	var page directory.Page
	for _, k := range slices.Sorted(maps.Keys(s.all)) {
		switch {
		case string(k) <= string(from):
		case len(page.Users) == 3:
			page.Next = directory.Checkpoint(page.Users[2].Email)
			return page, nil
		default:
			page.Users = append(page.Users, s.all[k])
		}
	}
	return page, nil
}

func (s *users) Get(_ context.Context, key mail.Address) (directory.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.all[key]; ok {
		return u, nil
	}
	return directory.User{}, directory.ErrNotFound
}

func (s *users) GetMany(context.Context, []mail.Address) ([]directory.User, error) { return nil, nil }

func (s *users) Delete(context.Context, []mail.Address) error {
	return errors.New("nobody is removed here")
}

func (s *users) Put(_ context.Context, list []directory.User) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range list {
		s.put(u)
	}
	return nil
}

func (s *users) Update(_ context.Context, key mail.Address, c directory.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.all[key]
	if !ok {
		return directory.ErrNotFound
	}
	if c.Subscribed != nil {
		u.Subscribed = *c.Subscribed
	}
	u.Attributes = maps.Clone(u.Attributes)
	for k, v := range c.Attributes {
		if v == nil {
			delete(u.Attributes, k)
		} else {
			u.Attributes[k] = v
		}
	}
	s.all[key] = u
	return nil
}

func (s *users) Close() error { return nil }

func TestFieldsAreThoseThatWereLearnt(t *testing.T) {
	g := newGateway(t)
	if w := g.do("GET", "/api/fields", ""); w.Code != 409 {
		t.Errorf("without a memory: %d %s", w.Code, w.Body)
	}
	for _, learnt := range []map[string]string{nil, {"City": "string", "Point": "number"}} {
		g.Fields = func() map[string]string { return learnt }
		want := map[string]any{}
		for name, typ := range learnt {
			want[name] = typ
		}
		if got := g.get("GET", "/api/fields", "", 200); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
