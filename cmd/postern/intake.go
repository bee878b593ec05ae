package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"postern/directory"
	"postern/expand"
	"postern/expand/hosting"
	"postern/mail"
	"postern/optout"
	"postern/relay/events"
	"postern/relay/sign"
	"postern/spool"
)

// repeatWindow is how long a submission is recognised when its client, who lost
// our 250, sends it again.
const repeatWindow = 10 * time.Minute

// intake decides what is taken at RCPT and DATA, and turns a submission into
// messages: one for each list, one for the ordinary recipients.
type intake struct {
	cfg     *Config
	spool   *spool.Spool
	index   *directory.Index
	fields  *expand.Fields
	keys    *sign.Keys
	keyring *optout.Keyring
	log     *slog.Logger
	// feedback lets what has come back about copies have its effect.
	feedback func(context.Context, []events.Event) error
	forward  forwarding // of mail to the postmaster; nil: it is refused
	// optOut takes a person off a list, durably.
	optOut  func(ctx context.Context, user mail.Address, list string, ev directory.Evidence) error
	footers *expand.Footers

	findTemplate findTemplate
	pictures     *hosting.Bucket // where large pictures are put; nil: they stay in the mail
	services     *services
	lists        map[string]*ListConfig // by address key
	ours         map[string]bool        // domains that have lists and nobody's mailbox
	location     *time.Location
	large        chan struct{} // one place, for the large mail that is being compiled
	lookup       lookupTXT     // for the keys of signed mail
	patience     time.Duration // for the pictures of one message
}

// largeMail is the size in octets from which one mail at a time is compiled: that
// takes up to fifteen times its size, most of it where Korean text is written anew.
const largeMail = 4 << 20

// hostPatience is how long all pictures of a message may take to be hosted; the others
// stay in the mail. Somebody waits for the answer to DATA.
const hostPatience = 30 * time.Second

func newIntake(cfg *Config, s *spool.Spool, index *directory.Index, fields *expand.Fields, keys *sign.Keys, keyring *optout.Keyring, log *slog.Logger) *intake {
	in := &intake{services: newServices(cfg), cfg: cfg, spool: s, index: index, fields: fields, keys: keys, keyring: keyring, log: log,
		lists: map[string]*ListConfig{}, ours: map[string]bool{}, location: cfg.location(), large: make(chan struct{}, 1), lookup: net.DefaultResolver.LookupTXT, patience: hostPatience}
	for i := range cfg.Lists {
		l := &cfg.Lists[i]
		in.lists[l.Address.Key()] = l
		in.ours[l.Address.Domain()] = true
	}
	for _, d := range cfg.DKIM { // where people have mailboxes too
		delete(in.ours, mail.Address("x@"+d.Domain).Domain())
	}
	return in
}

// Check decides one recipient.
func (in *intake) Check(ctx context.Context, sub *mail.Submitter, from, to mail.Address) error {
	if svc := in.services.of(sub, from, to); svc.kind != noService {
		return in.checkService(svc)
	}
	if d, ok, err := in.destination(to); ok {
		return in.checkList(ctx, sub, from, d, err)
	}
	if in.ours[to.Domain()] {
		return mail.Refuse(550, "5.1.1", "there is no list %s here; is the address written rightly?", to)
	}
	if !sub.Relay {
		return mail.Refuse(550, "5.7.1", "%s may not send to ordinary addresses such as %s: the right `relay` is missing in the configuration; send to a list, or have the administrator set `relay = true` in %s", sub.Name, to, sub.Entry())
	}
	if _, err := to.ASCII(); err != nil {
		return err
	}
	return in.checkRoom()
}

// checkList decides a list; wrong is what is wrong with its address, which only who
// may use the list is told.
func (in *intake) checkList(ctx context.Context, sub *mail.Submitter, from mail.Address, d destination, wrong error) error {
	l := d.ListConfig
	switch {
	case from == "":
		return mail.Refuse(550, "5.7.1", "%s takes no mail with an empty sender (MAIL FROM:<>), as bounces and automatic replies have it; send it from an address of your own", l.Address)
	case !sub.MayUseList(l.ID):
		return mail.Refuse(550, "5.7.1", "%s may not send to the list %s: it is not among its `lists` in the configuration; have the administrator add %q in %s", sub.Name, l.Address, l.ID, sub.Entry())
	case wrong != nil:
		return wrong
	}
	if err := in.checkTemplate(ctx, sub, d); err != nil {
		return err
	}
	return in.checkRoom()
}

// mustBeSigned says whether a list trusts only a signature: who did not log in and
// is not on this machine is known by an address alone.
func mustBeSigned(sub *mail.Submitter) bool { return !sub.Authenticated && !sub.Loopback }

// notSendAs refuses a From header.
func notSendAs(sub *mail.Submitter, from mail.Address) error {
	return mail.Refuse(550, "5.7.1", "%s may not send mail whose From is %s: it is not among its `send_as` in the configuration; use an address of your own as From, or have the administrator add this one to %s", sub.Name, from, sub.Entry())
}

// checkRoom puts mail off when the queue or the disk is full.
func (in *intake) checkRoom() error {
	if err := in.spool.Broken(); err != nil {
		return mail.Later(452, "4.3.0", "the spool cannot be written at the moment; try again later")
	}
	if n := in.spool.OpenCopies(); n >= in.cfg.SMTP.MaxQueue {
		return mail.Later(452, "4.3.1", "%d copies are waiting to be sent, as many as this gateway takes; try again later", n)
	}
	return nil
}

// Accept takes a submission into custody: everything is on disk when it returns
// an id, and nothing is kept when it returns an error.
func (in *intake) Accept(ctx context.Context, sub *mail.Submitter, env mail.Envelope, r io.Reader) (mail.ID, error) {
	body, err := in.spool.NewBody()
	if err != nil {
		return "", full(err)
	}
	defer body.Discard()
	if _, err := io.Copy(writeErrors{body}, r); err != nil {
		return "", full(err)
	}
	now := time.Now()
	env, asked := in.services.take(sub, env)
	serve, err := in.serve(ctx, sub, env.From, asked, body, now)
	if err != nil {
		return "", err
	}
	if len(env.Recipients) == 0 {
		return mail.NewID(now), serve()
	}
	if err := in.checkSigned(ctx, sub, env, body); err != nil {
		return "", err
	}
	lists, ordinary := in.split(env.Recipients)
	octets, err := in.wrappers(ctx, lists)
	if err != nil {
		return "", err
	}
	if body.Size()+octets >= largeMail { // nobody waits for the network in this place but for pictures that are hosted
		select {
		case in.large <- struct{}{}:
			defer func() { <-in.large }()
		case <-ctx.Done():
			return "", mail.Later(421, "4.3.2", "this gateway is shutting down; the mail was not taken, send it again later")
		}
	}
	raw, err := body.Bytes()
	if err != nil {
		return "", full(err)
	}
	msgs, err := in.messages(ctx, sub, env, lists, ordinary, raw, now)
	if err != nil {
		return "", err
	}
	if err := serve(); err != nil { // nothing refuses the mail any more
		return "", err
	}
	return in.keep(ctx, sub, body, msgs)
}

// checkSigned holds the rule for lists that are reached by an address alone.
func (in *intake) checkSigned(ctx context.Context, sub *mail.Submitter, env mail.Envelope, body *spool.Body) error {
	lists, _ := in.split(env.Recipients)
	if len(lists) == 0 || !mustBeSigned(sub) {
		return nil
	}
	f, err := body.Reader()
	if err != nil {
		return full(err)
	}
	m := &signedMail{lookup: in.lookup, sub: sub, lists: lists, now: time.Now(), maxAge: in.signedAge()}
	return m.check(ctx, f, body.Size())
}

// signedAge is how old a signed mail may be: no older than the spool remembers it,
// which is for its retention.
func (in *intake) signedAge() time.Duration {
	return max(0, min(maxDated, in.cfg.Relay.Retention-clockSkew))
}

// repeats is by what the lists' messages of a submission are known when it comes
// again, and since when; the mark is "" when there is nothing to know it by.
func (in *intake) repeats(sub *mail.Submitter, env mail.Envelope, raw []byte, now time.Time) (mark string, since time.Time, err error) {
	if !mustBeSigned(sub) {
		return fingerprint(env.From, raw), now.Add(-repeatWindow), nil
	}
	mark, err = signedFingerprint(raw)
	return mark, now.Add(-in.signedAge() - clockSkew), err
}

// keep stores the messages but those that were stored when the client sent the
// same before: it did not hear our 250, or sends to more recipients now.
func (in *intake) keep(ctx context.Context, sub *mail.Submitter, body *spool.Body, msgs []spool.Accepted) (mail.ID, error) {
	err := in.spool.Accept(ctx, body, msgs)
	var again *spool.Repeated
	if errors.As(err, &again) {
		in.log.Info("repeated submission", "message", again.ID, "session", sub.Session)
		if msgs, err = in.without(again.ID, msgs); err != nil {
			return "", full(err)
		}
		if len(msgs) == 0 {
			return again.ID, nil
		}
		return in.keep(ctx, sub, body, msgs)
	}
	if err != nil {
		return "", full(err)
	}
	for i := range msgs {
		m := &msgs[i].Message
		in.log.Info("accepted", "message", m.ID, "list", m.ListID(), "from", m.From, "submitter", sub.Name,
			"session", sub.Session, "bytes", m.Size, "copies", len(msgs[i].Copies))
	}
	return msgs[0].Message.ID, nil
}

// without drops the message that is in the spool already under the id old, which
// takes its place among the siblings of the others.
func (in *intake) without(old mail.ID, msgs []spool.Accepted) ([]spool.Accepted, error) {
	known, err := in.spool.Message(old)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(msgs, func(a spool.Accepted) bool {
		return a.Message.ListID() == known.Message.ListID() && templateOf(&a.Message) == templateOf(&known.Message)
	})
	if i < 0 { // a signed mail is known however it was addressed
		i = slices.IndexFunc(msgs, func(a spool.Accepted) bool { return a.Message.ListID() == known.Message.ListID() })
	}
	if i < 0 {
		return nil, fmt.Errorf("message %s is no repetition of one of this submission", old)
	}
	dropped := msgs[i].Message.ID
	msgs = slices.Delete(msgs, i, i+1)
	for j := range msgs {
		siblings := slices.Clone(msgs[j].Message.Siblings)
		if k := slices.Index(siblings, dropped); k >= 0 {
			siblings[k] = old
		}
		msgs[j].Message.Siblings = siblings
	}
	return msgs, nil
}

// writeErrors marks the errors of writing, so that a client's broken connection
// is told from a broken disk.
type writeErrors struct{ w io.Writer }

type diskError struct{ err error }

func (e *diskError) Error() string { return "write the body: " + e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

func (w writeErrors) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		err = &diskError{err}
	}
	return n, err
}

// full answers 452 for whatever keeps mail from being stored (RFC 5321 §4.2.3).
func full(err error) error {
	var known *mail.Error
	var disk *diskError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &mail.Error{Code: 452, Enhanced: "4.3.1", Public: "the disk of this gateway is full; try again later", Err: err}
	case errors.As(err, &disk), errors.Is(err, spool.ErrBroken), errors.Is(err, spool.ErrClosed):
		return &mail.Error{Code: 452, Enhanced: "4.3.0", Public: "the spool cannot be written at the moment; try again later", Err: err}
	}
	var sys syscall.Errno
	if errors.As(err, &sys) {
		return &mail.Error{Code: 452, Enhanced: "4.3.0", Public: "the spool cannot be written at the moment; try again later", Err: err}
	}
	return err
}

// messages makes the messages of a submission, in the order in which their lists
// were named; the ordinary recipients' comes last.
func (in *intake) messages(ctx context.Context, sub *mail.Submitter, env mail.Envelope, lists []destination, ordinary []mail.Address, raw []byte, now time.Time) ([]spool.Accepted, error) {
	submission := mail.NewID(now)
	mark, since := "", now
	if len(lists) > 0 { // a legacy system may mean to send the same twice, a marketer not
		var err error
		if mark, since, err = in.repeats(sub, env, raw, now); err != nil {
			return nil, err
		}
	}
	var msgs []spool.Accepted
	var siblings []mail.ID
	for _, d := range lists {
		repeat := ""
		if mark != "" {
			repeat = mark + " " + d.ID
			if d.template != d.Template && !mustBeSigned(sub) { // a signed mail opens a list once, however it is addressed
				repeat += "+" + d.template
			}
		}
		if repeat != "" && slices.ContainsFunc(msgs, func(a spool.Accepted) bool { return a.Repeat == repeat }) {
			continue // nobody would get a copy of it
		}
		a, err := in.listMessage(ctx, sub, env, d, raw, now)
		if err != nil {
			return nil, err
		}
		a.Message.Submission, a.Message.Siblings, a.Repeat, a.RepeatSince = submission, siblings, repeat, since
		siblings = append(siblings[:len(siblings):len(siblings)], a.Message.ID)
		msgs = append(msgs, a)
	}
	if len(ordinary) > 0 {
		a, err := in.ordinaryMessage(sub, env, ordinary, raw, now)
		if err != nil {
			return nil, err
		}
		a.Message.Submission = submission
		if mark != "" {
			a.Repeat, a.RepeatSince = mark+" "+people(ordinary), since
		}
		msgs = append(msgs, a)
	}
	return msgs, nil
}

// people names a set of recipients.
func people(to []mail.Address) string {
	keys := make([]string, len(to))
	for i, a := range to {
		keys[i] = a.Key()
	}
	slices.Sort(keys)
	sum := sha256.Sum256([]byte(strings.Join(keys, "\n")))
	return "@" + hex.EncodeToString(sum[:]) // no list's id begins so
}

func (in *intake) split(rcpts []mail.Address) (lists []destination, ordinary []mail.Address) {
	seen := map[string]bool{}
	for _, to := range rcpts {
		if seen[to.Key()] {
			continue
		}
		seen[to.Key()] = true
		if d, ok, _ := in.destination(to); ok {
			lists = append(lists, d)
		} else {
			ordinary = append(ordinary, to)
		}
	}
	return lists, ordinary
}

func (in *intake) listMessage(ctx context.Context, sub *mail.Submitter, env mail.Envelope, d destination, raw []byte, now time.Time) (spool.Accepted, error) {
	id := mail.NewID(now)
	policy := d.policy()
	policy.Template = d.template
	what := in.input(id, policy, sub, raw, now)
	what.Template = d.wrapper
	if in.pictures != nil {
		ctx, cancel := context.WithTimeout(ctx, in.patience)
		defer cancel()
		what.HostOver = in.cfg.Templates.HostImagesOver
		what.Host = func(m expand.Image) (string, error) { return in.pictures.Put(ctx, m) }
	}
	c, compiled, err := in.compile(what, sub)
	if err != nil {
		return spool.Accepted{}, err
	}
	for _, why := range c.Unhosted() {
		in.log.Warn("a large picture is not hosted", "message", id, "list", d.ID, "why", why)
	}
	m := in.message(id, sub, env, raw, now)
	// Bulk, whoever sends it: a campaign takes nothing of what is kept for orders, and breakers hold it.
	m.List, m.Lane, m.State, m.Priority = &policy, d.Lane, mail.Expanding, mail.Bulk
	m.HeaderFrom, m.Subject = c.HeaderFrom(), c.Subject()
	m.Fields, m.Required = c.Fields(), c.Required()
	m.TokenKey = in.keyring.Newest()
	m.Streaming = policy.Release == "immediate" && (policy.Missing == "skip" || !slices.Contains(m.Required, true))
	return spool.Accepted{Message: m, Compiled: compiled}, nil
}

// compile reads a mail to a list, and its error is the answer to DATA; compiled is
// what the spool keeps.
func (in *intake) compile(what expand.Input, sub *mail.Submitter) (c *expand.Compiled, compiled []byte, err error) {
	if err := expand.CheckExpandable(what.Raw, what.List); err != nil {
		return nil, nil, err
	}
	if what.Host != nil { // no picture of a mail that may not be sent is put where all can see it
		if err := in.checkAuthor(sub, what.Raw); err != nil {
			return nil, nil, err
		}
	}
	if c, err = expand.Compile(what); err != nil {
		return nil, nil, err
	}
	if err := in.checkFrom(sub, c.HeaderFrom()); err != nil {
		return nil, nil, err
	}
	if compiled, err = c.MarshalBinary(); err != nil {
		return nil, nil, err
	}
	if limit := in.cfg.SMTP.MaxMessageBytes; int64(c.Size()) > limit {
		return nil, nil, mail.Refuse(552, "5.3.4", "a copy of this mail would have %d octets, and at most %d can be sent: a copy has a footer more than the mail, and text in other scripts than Latin grows when it is encoded for transfer; send a smaller attachment or less text", c.Size(), limit)
	}
	return c, compiled, nil
}

func (in *intake) ordinaryMessage(sub *mail.Submitter, env mail.Envelope, to []mail.Address, raw []byte, now time.Time) (spool.Accepted, error) {
	id := mail.NewID(now)
	r, err := expand.Ordinary(in.input(id, mail.ListPolicy{}, sub, raw, now))
	if err != nil {
		return spool.Accepted{}, err
	}
	if err := in.checkFrom(sub, r.From); err != nil {
		return spool.Accepted{}, err
	}
	m := in.message(id, sub, env, raw, now)
	m.State, m.HeaderFrom, m.Subject, m.RewriteFrom = mail.Sending, r.From, r.Subject, sub.RewriteFrom
	a := spool.Accepted{Message: m}
	for _, to := range to {
		a.Copies = append(a.Copies, mail.Copy{To: to})
	}
	return a, nil
}

func (in *intake) input(id mail.ID, policy mail.ListPolicy, sub *mail.Submitter, raw []byte, now time.Time) expand.Input {
	return expand.Input{
		ID: id, Raw: raw, List: policy, Hostname: in.cfg.Hostname, Mailto: in.cfg.OptOut.Mailto, BaseURL: in.cfg.OptOut.BaseURL,
		Date: now.In(in.location), Vocabulary: in.fields, RewriteFrom: sub.RewriteFrom,
		Footers: in.footers, LinkImages: in.cfg.Templates.Images == "link",
	}
}

func (in *intake) message(id mail.ID, sub *mail.Submitter, env mail.Envelope, raw []byte, now time.Time) mail.Message {
	return mail.Message{
		ID: id, From: in.sender(sub, env.From), Submitter: sub.Name, Priority: sub.Priority, Language: sub.Language,
		AcceptedAt: now, Size: int64(len(raw)),
	}
}

// sender is the envelope sender with which a mail goes on. The one of a device whose
// From is rewritten is often no address at all: upstreams refuse it, SPF fails for
// it, and bounces to it are lost. One that it may use, of a domain of ours, stays,
// because the bounces are for whoever that is; and so does the null sender.
func (in *intake) sender(sub *mail.Submitter, from mail.Address) mail.Address {
	if from == "" || sub.RewriteFrom == "" {
		return from
	}
	if _, ours, _ := in.keys.For(from); ours && sub.MaySendAs(from) {
		return from
	}
	return sub.RewriteFrom
}

// checkAuthor is checkFrom for a mail that is not compiled yet.
func (in *intake) checkAuthor(sub *mail.Submitter, raw []byte) error {
	head, err := expand.ReadHead(raw)
	if err != nil {
		return err
	}
	from, err := head.From()
	if err != nil {
		return err
	}
	return in.checkFrom(sub, cmp.Or(sub.RewriteFrom, from))
}

// checkFrom holds the right to the From header and to a signature for it.
func (in *intake) checkFrom(sub *mail.Submitter, from mail.Address) error {
	if sub.RewriteFrom == "" && !sub.MaySendAs(from) {
		return notSendAs(sub, from)
	}
	if _, found, _ := in.keys.For(from); found {
		return nil
	}
	if freeMail(from.Domain()) {
		return mail.Refuse(550, "5.7.1", "From is %s, and only %s can sign for its own addresses, so receivers would refuse every copy; use an address of your own domain as From, and this one in Reply-To", from, from.Domain())
	}
	return mail.Refuse(550, "5.7.1", "From is %s, and there is no [[dkim]] key for %s in the configuration; use a From for which there is one, or have the administrator add it (`postern dkim keygen`), or set `rewrite_from` for a device that can have no other", from, from.Domain())
}

// fingerprint tells a submission that is sent again from a new one: envelope
// sender, Message-ID and all octets but our own Received field, which is the
// first. Without a Message-ID there is none.
func fingerprint(from mail.Address, raw []byte) string {
	rest := raw[traceLength(raw):]
	if headerValue(rest, "Message-Id") == "" {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", from.Key())
	h.Write(rest)
	return hex.EncodeToString(h.Sum(nil))
}

// headerValue is the first value of a field, unfolded, decoded no further.
func headerValue(raw []byte, name string) string {
	for k, v := range headerFields(raw) {
		if k == name {
			return v
		}
	}
	return ""
}
