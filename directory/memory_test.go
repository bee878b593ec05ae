package directory_test

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"testing"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/mail"
)

// memory is the Store as a map: the model for tests that make thousands of them.
// fail, when set, is asked before every call.
type memory struct {
	mu    sync.Mutex
	users map[mail.Address]directory.User
	fail  func(op string, key mail.Address) error
}

const memoryPage = 7

func newMemory() *memory { return &memory{users: map[mail.Address]directory.User{}} }

func TestTheModelKeepsTheContract(t *testing.T) {
	directorytest.Run(t, func(t *testing.T) directory.Store { return newMemory() })
}

func (m *memory) enter(ctx context.Context, op string, key mail.Address) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.fail != nil {
		return m.fail(op, key)
	}
	return nil
}

func (m *memory) Scan(ctx context.Context, from directory.Checkpoint) (directory.Page, error) {
	if err := m.enter(ctx, "Scan", ""); err != nil {
		return directory.Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := 0
	if from != nil {
		if len(from) != 8 || from[0] != 0 {
			return directory.Page{}, mail.Refuse(0, "", "a foreign checkpoint")
		}
		at = int(binary.BigEndian.Uint64(from))
	}
	keys := slices.Sorted(maps.Keys(m.users))
	var p directory.Page
	for _, key := range keys[min(at, len(keys)):min(at+memoryPage, len(keys))] {
		p.Users = append(p.Users, clone(m.users[key]))
	}
	if at+memoryPage < len(keys) {
		p.Next = binary.BigEndian.AppendUint64(nil, uint64(at+memoryPage))
	}
	return p, nil
}

func clone(u directory.User) directory.User {
	u.Attributes, u.OptOut = maps.Clone(u.Attributes), slices.Clone(u.OptOut)
	return u
}

func (m *memory) Get(ctx context.Context, key mail.Address) (directory.User, error) {
	us, err := m.GetMany(ctx, []mail.Address{key})
	if err != nil {
		return directory.User{}, err
	}
	if len(us) == 0 {
		return directory.User{}, directory.ErrNotFound
	}
	return us[0], nil
}

func (m *memory) GetMany(ctx context.Context, keys []mail.Address) ([]directory.User, error) {
	if err := m.enter(ctx, "GetMany", ""); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var us []directory.User
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		if u, ok := m.users[key]; ok {
			us = append(us, clone(u))
		}
	}
	return us, nil
}

func (m *memory) Put(ctx context.Context, us []directory.User) error {
	if err := m.enter(ctx, "Put", ""); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range us {
		if err := directory.Check(&us[i]); err != nil {
			return err
		}
	}
	for _, u := range us {
		old, there := m.users[u.Email]
		old = clone(old)
		old.Email = u.Email
		old.OptOut = directory.Union(old.OptOut, u.OptOut)
		if old.Unknown = !there || old.Unknown; !u.KeepStatus {
			old.Subscribed, old.Unknown = u.Subscribed && !slices.Contains(old.OptOut, directory.AllLists), false
		}
		m.users[u.Email] = setAll(old, u.Attributes)
	}
	return nil
}

func setAll(u directory.User, attributes map[string]any) directory.User {
	if u.Attributes == nil {
		u.Attributes = map[string]any{}
	}
	for name, v := range attributes {
		if u.Attributes[name] = v; v == nil {
			delete(u.Attributes, name)
		}
	}
	return u
}

func (m *memory) Update(ctx context.Context, key mail.Address, c directory.Change) error {
	if err := m.enter(ctx, "Update", key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[key]
	if !ok {
		return directory.ErrNotFound
	}
	if err := directory.CheckChange(key, &c); err != nil {
		return err
	}
	u = setAll(clone(u), c.Attributes)
	u.OptOut = slices.DeleteFunc(u.OptOut, func(id string) bool { return slices.Contains(c.OptIn, id) })
	u.OptOut = directory.Union(u.OptOut, c.OptOut)
	if c.Subscribed != nil {
		u.Subscribed, u.Unknown = *c.Subscribed, false
	}
	m.users[key] = u
	return nil
}

func (m *memory) Close() error { return nil }

func (m *memory) Delete(ctx context.Context, keys []mail.Address) error {
	for _, key := range keys {
		if err := m.enter(ctx, "Delete", key); err != nil {
			return err
		}
		m.mu.Lock()
		delete(m.users, key)
		m.mu.Unlock()
	}
	return nil
}
