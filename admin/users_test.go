package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
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

func TestAnImportIsReadAsTheQuerySays(t *testing.T) {
	g := newGateway(t)
	g.Resolve = func(heading string) (string, bool) { return "Name", heading == "이름" }
	g.Types = map[string]string{"Points": "number"}
	var learnt map[string]string
	g.Learn = func(fields map[string]string) error { learnt = fields; return nil }
	file := "메일;이름;Points;비고\na@example.com;A;7;x\nbad;B;1;x\na@example.com;C;8;\n"
	q := url.Values{"map": {"Email=메일"}, "omit": {"비고"}, "rejects": {"true"}, "dry_run": {"true"}}
	for _, dry := range []bool{true, false} {
		w := g.do("POST", "/api/users/import?"+q.Encode(), file)
		lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
		if w.Code != 200 || lines[0] != `{"rejected":{"row":1,"error":"","cells":["메일","이름","Points","비고"]}}` || !strings.HasPrefix(lines[1], `{"rejected":{"row":3,"error":"\"bad\" is not`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, part := range []string{`"done":true`, `"rows":3`, `"stored":2`, `"bad":1`, `"encoding":"utf-8"`, `"separator":";"`, `"again":{"count":1,"examples":["a@example.com"]}`} {
			if last := lines[len(lines)-1]; !strings.Contains(last, part) || strings.Contains(last, `"dry_run":true,`) != dry {
				t.Errorf("dry %v: no %s in %s", dry, part, last)
			}
		}
		all := g.Users.(*users).all
		if dry != (len(all) == 0) || dry != (learnt == nil) {
			t.Errorf("dry %v: %v, learnt %v", dry, all, learnt)
		}
		q.Del("dry_run")
	}
	u := g.Users.(*users).all["a@example.com"]
	if want := map[string]any{"Name": "C", "Points": json.Number("8")}; !maps.Equal(u.Attributes, want) {
		t.Errorf("got %v, want %v", u.Attributes, want)
	}
	for _, query := range []string{"map=Email", "map==x", "map=Email%3Da&map=Email%3Db", "separator=ab", "name=" + strings.Repeat("x", 1001)} {
		if w := g.do("POST", "/api/users/import?"+query, file); w.Code != 400 {
			t.Errorf("%.40s: %d %s", query, w.Code, w.Body)
		}
	}
}

func TestUsersAreChecked(t *testing.T) {
	g := newGateway(t)
	store := g.Users.(*users)
	for i, name := range []string{"a@example.com", "b@example.com", "c@example.com", "no address"} {
		store.put(directory.User{Email: mail.Address(name), Subscribed: i > 0, OptOut: []string{"promo"}[:i%2]})
	}
	g.Lists = []string{"promo", "news"}
	w := g.do("POST", "/api/users/check?list=promo&mend=true", "")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	want := `"users":4,"subscribed":3,"unsubscribed":1,"unknown":0,"left_all":0,"suppressed":0,"lists":{"promo":1}`
	if last := lines[len(lines)-1]; w.Code != 200 || len(lines) != 3 || lines[1] != `{"users":3,"odd":0}` || !strings.Contains(last, `"done":true`) || !strings.Contains(last, want) ||
		!strings.Contains(last, `"odd":1,"oddities":[{"what":"the address is no mail address: nothing is sent there","count":1,"examples":["no address"]}]`) {
		t.Errorf("%d\n%s", w.Code, w.Body)
	}
	if w := g.do("POST", "/api/users/check?list=prom", ""); w.Code != 400 || !strings.Contains(w.Body.String(), "there are promo, news") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	store.fail = errors.New("the table is away")
	if w := g.do("POST", "/api/users/check", ""); !strings.Contains(w.Body.String(), `{"error":"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
