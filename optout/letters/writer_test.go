package letters_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/directory"
	"postern/directory/embedded"
	"postern/mail"
	"postern/optout/letters"
	"postern/spool"
)

const minji = mail.Address("Minji@example.net")

// office is a spool, an index and a directory with a Writer, in a bubble of fake time.
type office struct {
	t     testing.TB
	dir   string
	s     *spool.Spool
	index *directory.Index
	store *embedded.Store
	cfg   letters.Config
	w     *letters.Writer
	log   shared
}

// shared is text that goroutines write and read.
type shared struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func lists() []letters.List {
	shop := mail.Identity{Company: "예시패션 주식회사", Address: "서울", Phone: "02-120", Email: "help@shop.example"}
	other := mail.Identity{Company: "Other Shop", Address: "Busan", Phone: "051-120", Email: "help@other.example"}
	return []letters.List{
		{ID: "promo", Name: "특가 소식", Language: "ko", Advertising: true, Identity: shop},
		{ID: "news", Name: "신상품 안내", Language: "ko", Advertising: true, Identity: shop},
		{ID: "staff", Name: "직원 공지", Language: "ko", Identity: shop},
		{ID: "other", Name: "Other promotions", Language: "en", Advertising: true, Identity: other},
	}
}

// open lets fn play with a Writer that does not run.
func open(t *testing.T, fn func(*testing.T, *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t, dir: t.TempDir()}
		o.s = fine(spool.Open(filepath.Join(o.dir, "spool"), spool.Options{LaneOf: func(m *mail.Message) string { return m.Lane }}))(t)
		o.index = fine(directory.OpenIndex(filepath.Join(o.dir, "index.db")))(t)
		o.store = fine(embedded.Open(filepath.Join(o.dir, "users.db")))(t)
		o.index.SetLists([]string{"promo", "news", "staff", "other"})
		o.cfg = letters.Config{
			Spool: o.s, Index: o.index, Texts: builtIn(t), Hostname: "mail.shop.example", Location: seoul(), Lists: lists,
			Route: func(l letters.List) letters.Route {
				return letters.Route{From: "news@shop.example", Envelope: "bounces@shop.example", Lane: "main"}
			},
			Preferences: func(user mail.Address, list string) string { return "https://mail.shop.example/p/" + list },
			Leave: func(user mail.Address, list string) letters.Unsubscribe {
				return letters.Unsubscribe{Page: "https://mail.shop.example/u/" + list}
			},
			ConsentField: "CreateTime", Log: slog.New(slog.NewTextHandler(&o.log, nil)),
		}
		o.w = letters.New(o.cfg)
		t.Cleanup(func() {
			if problems, err := o.s.Check(context.Background(), nil); err != nil || len(problems) > 0 {
				t.Error(problems, err)
			}
			if err := errors.Join(o.store.Close(), o.index.Close(), o.s.Close()); err != nil {
				t.Error(err)
			}
		})
		fn(t, o)
	})
}

// fine gives v, and ends the test at an error.
func fine[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// run lets the Writer run until the returned function is called.
func (o *office) run() (stop func()) {
	ctx, cancel := context.WithCancel(o.t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); o.w.Run(ctx) }()
	return func() { cancel(); <-ended }
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func answer() directory.Evidence {
	return directory.Evidence{At: time.Now(), How: "page", Answer: true}
}

func (o *office) leave(user mail.Address, list string) {
	o.t.Helper()
	if err := o.index.OptOut(o.t.Context(), user, list, answer()); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) agree(user mail.Address, list string) {
	o.t.Helper()
	if err := o.index.Consent(o.t.Context(), user, list, answer()); err != nil {
		o.t.Fatal(err)
	}
}

// sent is a letter in the spool.
type sent struct {
	mail.Message
	to mail.Address
	seen
}

// all are the letters in the spool, oldest first; of one moment, by their subjects.
func (o *office) all() (list []sent) {
	o.t.Helper()
	for _, m := range fine(o.s.Messages("", 1000))(o.t) {
		copies := fine(o.s.Copies(m.ID, 0, 10))(o.t)
		f := fine(o.s.OpenBody(m.ID))(o.t)
		raw := fine(io.ReadAll(f))(o.t)
		if err := f.Close(); err != nil || len(copies) != 1 {
			o.t.Fatal(copies, err)
		}
		if problem := wire(raw); problem != "" {
			o.t.Error(problem)
		}
		list = append(list, sent{m.Message, copies[0].To, read(o.t, raw)})
	}
	slices.SortFunc(list, func(a, b sent) int {
		return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), cmp.Compare(a.subject, b.subject))
	})
	return list
}

// one is the only letter.
func (o *office) one() sent {
	o.t.Helper()
	all := o.all()
	if len(all) != 1 {
		o.t.Fatalf("there are %d letters: %+v\n%s", len(all), all, o.log.String())
	}
	return all[0]
}

// says holds what a text shows and what it does not: a want after "!".
func (s sent) says(t *testing.T, wants ...string) {
	t.Helper()
	for _, w := range wants {
		bad, not := strings.CutPrefix(w, "!")
		if strings.Contains(s.subject+"\n"+s.text, bad) == not {
			t.Errorf("wanted %q:\n%s\n%s", w, s.subject, s.text)
		}
	}
}

// ledger are the ledger's entries of a kind.
func (o *office) ledger(kind string) []directory.Entry {
	o.t.Helper()
	return slices.DeleteFunc(fine(o.index.Ledger(0, 1000))(o.t), func(e directory.Entry) bool { return e.Kind != kind })
}

func (o *office) waiting() int {
	o.t.Helper()
	return len(fine(o.index.Unanswered(1000))(o.t))
}

func TestAConfirmationIsOneLetterForALink(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		const link = "https://mail.shop.example/c/TOKEN"
		for range 2 {
			if err := o.w.Confirm(t.Context(), minji, "staff", link); err != nil {
				t.Fatal(err)
			}
		}
		m := o.one()
		if m.Notice != mail.NoticeConfirm || m.Priority != mail.Transactional || m.From != "bounces@shop.example" || m.HeaderFrom != "news@shop.example" || m.Lane != "main" || m.to != minji || m.List != nil {
			t.Errorf("%+v", m.Message)
		}
		m.says(t, "직원 공지", link, "7일 동안(2000년 1월 8일까지)")
		if m.header.Get("Reply-To") != "help@shop.example" || m.from.Name != "예시패션 주식회사" || m.header.Get("List-Unsubscribe") != "" {
			t.Error(m.header)
		}
	})
}

func TestNobodyIsAskedWhoseConfirmationChangesNothing(t *testing.T) {
	open(t, func(t *testing.T, o *office) {
		for kind, want := range map[directory.Kind]error{directory.KindComplaint: nil, directory.KindBounce: nil, directory.KindManual: letters.ErrNoMail, directory.KindImport: letters.ErrNoMail} {
			user := mail.Address(string(kind) + "@example.net")
			if _, err := o.index.Suppress(t.Context(), directory.Suppression{Address: user, Kind: kind, Reason: "x", At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			if err := o.w.Confirm(t.Context(), user, "promo", "https://mail.shop.example/c/"+string(kind)); !errors.Is(err, want) {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if err := o.w.Confirm(t.Context(), minji, "promo", "javascript:x"); err == nil {
			t.Error("what is no link is sent")
		}
		if err := o.w.Confirm(t.Context(), minji, "nothing", "https://mail.shop.example/c/x"); err == nil || !strings.Contains(err.Error(), "nothing") {
			t.Error(err)
		}
		if err := o.w.Confirm(t.Context(), "민지@example.net", "promo", "https://mail.shop.example/c/y"); err == nil {
			t.Error("an address that cannot be written to is written to")
		}
		if n := len(o.all()); n != 2 {
			t.Errorf("%d letters", n)
		}
	})
}

// rebuild makes a Writer of what is in cfg, as a restart does.
func (o *office) rebuild() { o.w = letters.New(o.cfg) }

// routeThen is the route of a letter, after something has happened.
func routeThen(o *office, what func()) func(letters.List) letters.Route {
	route := o.cfg.Route
	return func(l letters.List) letters.Route { what(); return route(l) }
}
