package optout_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/directory"
	"postern/mail"
	"postern/optout"
)

// people records what everybody chose.
type people struct {
	mu         sync.Mutex
	all        []string // "user list" of each OptOut
	chosen     []string // each Choose, as text
	asked      []string // "user lists" of each confirmation mail
	askedAt    time.Time
	confirmed  []string
	last       directory.Evidence
	fail       error
	gone       map[mail.Address]map[string]time.Time
	consent    map[string]time.Time
	suppressed directory.Kind
}

func (l *people) begin(ctx context.Context, ev directory.Evidence) error {
	if l.fail != nil {
		return l.fail
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l.last = ev
	return nil
}

func (l *people) leave(user mail.Address, list string, at time.Time) {
	if l.gone == nil {
		l.gone = map[mail.Address]map[string]time.Time{}
	}
	if l.gone[user] == nil {
		l.gone[user] = map[string]time.Time{}
	}
	l.gone[user][list] = at
}

func (l *people) OptOut(ctx context.Context, user mail.Address, list string, ev directory.Evidence) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx, ev); err != nil {
		return err
	}
	l.all = append(l.all, string(user)+" "+list)
	l.leave(user, list, ev.At)
	return nil
}

func (l *people) Choose(ctx context.Context, user mail.Address, c directory.Choice, ev directory.Evidence) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx, ev); err != nil {
		return err
	}
	l.chosen = append(l.chosen, fmt.Sprintf("%s +%v -%v all=%v", user, c.Join, c.Leave, c.All))
	if c.All {
		l.leave(user, directory.AllLists, ev.At)
	}
	for _, id := range c.Leave {
		l.leave(user, id, ev.At)
	}
	l.join(user, c.Join, ev.At)
	return nil
}

func (l *people) join(user mail.Address, lists []string, at time.Time) {
	if _, all := l.gone[user][directory.AllLists]; all && len(lists) > 0 {
		for _, id := range []string{"promo", "sale", "news"} {
			l.leave(user, id, at)
		}
		delete(l.gone[user], directory.AllLists)
	}
	for _, id := range lists {
		delete(l.gone[user], id)
		l.consent[id] = at
	}
}

func (l *people) State(_ context.Context, user mail.Address, lists []string) (optout.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return optout.State{}, l.fail
	}
	s := optout.State{Consent: maps.Clone(l.consent), Suppressed: l.suppressed}
	s.On = map[string]bool{}
	for _, id := range lists {
		_, left := l.gone[user][id]
		_, all := l.gone[user][directory.AllLists]
		s.On[id] = !left && !all
	}
	for _, at := range l.gone[user] {
		if at.After(s.LastLeft) {
			s.LastLeft = at
		}
	}
	return s, nil
}

func (l *people) Ask(ctx context.Context, user mail.Address, lists []string, ev directory.Evidence) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx, ev); err != nil {
		return false, err
	}
	if ev.At.Sub(l.askedAt) < 24*time.Hour {
		return false, nil
	}
	l.asked, l.askedAt = append(l.asked, string(user)+" "+strings.Join(lists, " ")), ev.At
	return true, nil
}

func (l *people) Confirm(ctx context.Context, user mail.Address, lists []string, ev directory.Evidence) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.begin(ctx, ev); err != nil {
		return err
	}
	l.confirmed = append(l.confirmed, string(user)+" "+strings.Join(lists, " "))
	if l.suppressed == directory.KindComplaint {
		l.suppressed = ""
	}
	l.join(user, lists, ev.At)
	return nil
}

type page struct {
	*optout.Handler
	*people
	log *logText
}

// logText may be written to while it is read.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// builtIn are the pages as they come; they are never changed.
var builtIn = sync.OnceValues(func() (*optout.Templates, error) { return optout.Load("") })

func newPage(t testing.TB) *page {
	t.Helper()
	k, _ := openKeyring(t)
	pages, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	l := &people{consent: map[string]time.Time{}}
	p := &page{people: l, log: &logText{}}
	p.Handler = &optout.Handler{
		Keyring: k,
		Pages:   pages,
		Prefix:  "/mail",
		Lists: []optout.ListInfo{
			{ID: "promo", Name: "Promotions <b>", Language: "en", Listed: true},
			{ID: "sale", Name: "여름 세일", Language: "ko", Listed: true, Advertising: true},
			{ID: "news", Name: "News", Language: "en", Listed: true},
			{ID: "staff", Name: "Staff", Language: "en"},
		},
		OptOut: l.OptOut, Choose: l.Choose, State: l.State, Ask: l.Ask, Confirm: l.Confirm,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Zone:           time.FixedZone("KST", 9*3600),
		Log:            slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return p
}

func (p *page) do(method, path, kind, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://u.example.com"+path, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}
