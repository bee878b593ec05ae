package letters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
	"postern/spool"
)

// List is what letters say about a configured list.
type List struct {
	ID          string
	Name        string // for people
	Language    string // "ko", else English
	Advertising bool   // results and reminders are for these lists alone
	Identity    mail.Identity
	// Receives says whether the list's filter lets a subscribed user through; nil: it
	// has none.
	Receives func(*directory.User) bool
}

// company is who writes: the list's own name where it has no identity.
func (l List) company() string {
	if name := strings.TrimSpace(l.Identity.Company); name != "" {
		return name
	}
	return l.Name
}

// group is what one letter can be about: the lists of one sender in one language.
type group struct {
	identity mail.Identity
	language string
}

func (l List) group() group {
	g := group{l.Identity, "en"}
	if l.Language == "ko" {
		g.language = "ko"
	}
	return g
}

// Route is how a letter leaves.
type Route struct {
	From     mail.Address // of the header: one that we can sign for
	Envelope mail.Address // "": the null sender
	Lane     string       // [mail.Message].Lane
}

// Config is what a Writer works with.
type Config struct {
	Spool    *spool.Spool
	Index    *directory.Index
	Texts    *Texts
	Hostname string
	Location *time.Location // of the dates in letters
	Lists    func() []List  // all that are configured
	Route    func(List) Route
	// Preferences is the address of a person's page, by a token for the list.
	Preferences func(user mail.Address, list string) string
	// Leave makes the List-Unsubscribe of a reminder of one list.
	Leave func(user mail.Address, list string) Unsubscribe
	// ConsentField is the attribute of a user that holds the time of consent, for those
	// of whom the ledger knows none; "": there is no such attribute.
	ConsentField string
	Log          *slog.Logger
}

// Writer writes letters. Run does so by itself; the other methods may be called from
// any goroutine.
type Writer struct {
	cfg Config

	warned time.Time // of Run alone: that results are late
}

// New makes a Writer that writes nothing by itself until Run.
func New(cfg Config) *Writer {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Writer{cfg: cfg}
}

// How is how the ledger's entries about letters came about.
const How = "letter"

// ErrNoMail says that a person or a file has stopped all mail to an address, so that no
// confirmation could set it free ([directory.Index.Confirmed]).
var ErrNoMail = errors.New("all mail to this address was stopped by hand or by an import")

// confirmDays is how long a link of a confirmation works: optout's tokens say so.
const confirmDays = 7

// Confirm writes to somebody who has called our mail spam, or whose address has bounced,
// and asks whether they want a list's mail again: by a link, and only by that. It
// returns when the letter is on disk. The same link again makes no second letter.
// Whoever calls it sees to it that nobody is asked often ([directory.Index.AskConfirmation]).
func (w *Writer) Confirm(ctx context.Context, user mail.Address, list, confirm string) error {
	l, found := w.list(list)
	if !found {
		return fmt.Errorf("the list %q is not configured", list)
	}
	if link(confirm) == "" {
		return errors.New("a confirmation needs a link that can be opened")
	}
	if s, suppressed, err := w.cfg.Index.Suppression(user); err != nil {
		return err
	} else if suppressed && (s.Kind == directory.KindManual || s.Kind == directory.KindImport) {
		return ErrNoMail
	}
	now := time.Now()
	d := w.data(l, user, now)
	d.Link, d.Days = confirm, strconv.Itoa(confirmDays)
	d.Until = day(w.in(now.AddDate(0, 0, confirmDays)), l.Language)
	_, err := w.write(ctx, sheet{list: l, to: user, name: Confirm, kind: mail.NoticeConfirm, data: d, repeat: fingerprint("confirm", confirm)}, now)
	return err
}

func (w *Writer) list(id string) (List, bool) {
	for _, l := range w.cfg.Lists() {
		if l.ID == id {
			return l, true
		}
	}
	return List{}, false
}

func (w *Writer) in(t time.Time) time.Time { return t.In(w.cfg.Location) }

// data is what every letter shows.
func (w *Writer) data(l List, user mail.Address, now time.Time) Data {
	return Data{Company: l.company(), Address: l.Identity.Address, Phone: l.Identity.Phone, Contact: string(l.Identity.Email),
		Email: string(user), Masked: mask(user), Date: day(w.in(now), l.Language), List: l.Name,
		Preferences: w.cfg.Preferences(user, l.ID)}
}

// sheet is a letter before it is rendered.
type sheet struct {
	list   List // whose identity and route it has
	to     mail.Address
	name   Name
	kind   mail.Notice
	data   Data
	leave  Unsubscribe
	repeat string // what the spool knows it by
	since  time.Time
}

// unwritable is why somebody cannot be written to at all.
type unwritable struct{ cause error }

func (u *unwritable) Error() string { return u.cause.Error() }

func (u *unwritable) Unwrap() error { return u.cause }

// write takes a letter into custody, and gives its id: that of the first one when the
// spool has taken the same before.
func (w *Writer) write(ctx context.Context, s sheet, now time.Time) (mail.ID, error) {
	route := w.cfg.Route(s.list)
	l := Letter{ID: mail.NewID(now), Hostname: w.cfg.Hostname, From: route.From, Name: s.list.company(), ReplyTo: s.list.Identity.Email,
		To: s.to, Date: w.in(now), Leave: s.leave}
	l.Subject, l.Text = w.cfg.Texts.Render(s.name, s.list.Language, s.data)
	if _, err := sevenBit(s.to); err != nil {
		return "", &unwritable{err}
	}
	raw, err := l.Bytes()
	if err != nil {
		return "", err
	}
	body, err := w.cfg.Spool.NewBody()
	if err != nil {
		return "", err
	}
	defer body.Discard()
	if _, err := body.Write(raw); err != nil {
		return "", fmt.Errorf("write a letter: %w", err)
	}
	m := mail.Message{ID: l.ID, Submission: l.ID, From: route.Envelope, HeaderFrom: route.From, Submitter: "postern",
		Subject: l.Subject, Priority: priority(s.kind), Lane: route.Lane, State: mail.Sending, AcceptedAt: now,
		Size: int64(len(raw)), Notice: s.kind}
	a := spool.Accepted{Message: m, Copies: []mail.Copy{{To: s.to}}, Repeat: s.repeat, RepeatSince: s.since}
	err = w.cfg.Spool.Accept(ctx, body, []spool.Accepted{a})
	var again *spool.Repeated
	if errors.As(err, &again) {
		w.cfg.Log.Info("this letter was accepted before", "message", again.ID, "notice", s.kind, "to", s.to)
		return again.ID, nil
	}
	if err != nil {
		return "", err
	}
	w.cfg.Log.Info("letter accepted", "message", m.ID, "notice", s.kind, "letter", s.name, "to", s.to)
	return m.ID, nil
}

// priority: somebody sits and waits for a confirmation, and for nothing else.
func priority(kind mail.Notice) mail.Priority {
	if kind == mail.NoticeConfirm {
		return mail.Transactional
	}
	return mail.Bulk
}

// fingerprint names what a letter tells.
func fingerprint(kind string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "letter " + kind + " " + hex.EncodeToString(sum[:])
}
