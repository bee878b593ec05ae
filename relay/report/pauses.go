package report

import (
	"context"
	"slices"
	"time"

	"postern/mail"
	"postern/relay/notice"
	"postern/spool"
)

// matter is what befell some messages, and how it is told.
type matter struct {
	kind     mail.Notice
	of       []spool.Summary // oldest first
	sort     func(*spool.Summary) string
	since    func(*spool.Summary) time.Time
	operator bool // is told as well
	compose  func(l notice.Letter, oldest *spool.Summary, others []notice.About) []byte
}

// tellPauses tells sender, owner and operator of the mails that the gateway itself has
// paused.
func (r *Reporter) tellPauses(ctx context.Context, now time.Time) {
	r.tellOf(ctx, now, matter{
		kind: mail.NoticePaused, of: r.cfg.Spool.Stopped(), operator: true,
		sort:  func(s *spool.Summary) string { return string(s.Stopped.Kind) },
		since: func(s *spool.Summary) time.Time { return s.Stopped.At },
		compose: func(l notice.Letter, s *spool.Summary, others []notice.About) []byte {
			return notice.Paused(l, notice.Pause{About: r.shown(&s.Message), Kind: s.Stopped.Kind, Words: s.Reason, At: s.Stopped.At, Until: s.Stopped.Until,
				Counts: s.Counts, Outcomes: s.Outcomes, Growing: !s.Expanded}, others)
		},
	})
}

// tellSlow tells sender and owner of the mails that will not be out today, once it is
// known how many copies they have. One that is paused is told as that.
func (r *Reporter) tellSlow(ctx context.Context, now time.Time) {
	slow := slices.DeleteFunc(r.cfg.Spool.Slow(), func(s spool.Summary) bool { return !s.Expanded || s.State != mail.Sending })
	r.tellOf(ctx, now, matter{
		kind: mail.NoticeSlow, of: slow,
		sort:  func(*spool.Summary) string { return "" },
		since: func(s *spool.Summary) time.Time { return s.Forecast.At },
		compose: func(l notice.Letter, s *spool.Summary, others []notice.About) []byte {
			return notice.Slow(l, notice.Forecast{About: r.shown(&s.Message), Waiting: s.Forecast.Copies, Today: s.Forecast.Today, Until: s.Forecast.Until, Counts: s.Counts}, others)
		},
	})
}

// shown is a mail as those are told of it who did not all send it.
func (r *Reporter) shown(m *mail.Message) notice.About {
	a := r.about(m)
	a.From = m.From
	return a
}

// party are messages that one notice tells of, and to whom.
type party struct {
	key   string // of their hour
	to    []mail.Address
	of    []spool.Summary
	since time.Time
}

// tellOf tells of a matter: a sender, or whoever stands in the place of one, in at most
// one notice an hour, which names the oldest message and counts the others.
func (r *Reporter) tellOf(ctx context.Context, now time.Time, m matter) {
	told := 0
	for _, p := range r.parties(&m) {
		switch {
		case ctx.Err() != nil:
			return
		case len(p.to) > 0 && (now.Before(p.since.Add(gatherOrdinary)) || !r.mayTell(p.key, now)):
			continue
		}
		if told++; told > atOnce {
			return // the others at the next look
		}
		r.careful("people could not be told: "+string(m.kind), p.of[0].ID, func() error { return r.tellParty(ctx, &m, p, now) })
	}
}

// parties puts messages together that one notice tells of, in the order of the oldest.
func (r *Reporter) parties(m *matter) (all []*party) {
	by := map[string]*party{}
	for i := range m.of {
		s := &m.of[i]
		to := r.readers(&s.Message, m.operator)
		key := string(m.kind) + " " + m.sort(s)
		if len(to) > 0 {
			key += " " + to[0].Key()
		}
		p := by[key]
		if p == nil {
			p = &party{key: key, since: m.since(s)}
			by[key] = p
			all = append(all, p)
		}
		p.of = append(p.of, *s)
		if at := m.since(s); at.Before(p.since) {
			p.since = at
		}
		for _, a := range to {
			p.to = with(p.to, a)
		}
	}
	return all
}

// readers are who is told what befell a message: its sender, the owner of its list, the
// operator, as far as there are such people. Nobody is told of a notice.
func (r *Reporter) readers(m *mail.Message, operator bool) (to []mail.Address) {
	if m.Notice != "" {
		return nil
	}
	all := []mail.Address{m.From}
	if m.List != nil {
		all = append(all, m.List.Owner)
	}
	if operator {
		all = append(all, r.cfg.Operator)
	}
	for _, a := range all {
		if a != "" && !r.cfg.Ours(a) {
			to = with(to, a)
		}
	}
	return to
}

// with adds an address that is not there yet, up to the bound.
func with(all []mail.Address, a mail.Address) []mail.Address {
	if len(all) >= maxReaders || slices.ContainsFunc(all, func(b mail.Address) bool { return b.Key() == a.Key() }) {
		return all
	}
	return append(all, a)
}

// tellParty tells of some messages. What one commit cannot mark is marked after it: a
// crash in between makes one notice more, of those.
func (r *Reporter) tellParty(ctx context.Context, m *matter, p *party, now time.Time) error {
	var ids []mail.ID
	for i := range p.of {
		ids = append(ids, p.of[i].ID)
	}
	mark := func(about []mail.ID) spool.Telling { return spool.Telling{Kind: m.kind, About: about, At: now} }
	first := ids[:min(len(ids), maxMarked)]
	if len(p.to) == 0 {
		r.cfg.Log.Warn("nobody can be told by mail", "what", m.kind, "message", ids[0], "from", p.of[0].From, "others", len(ids)-1, "reason", p.of[0].Reason)
		if err := r.cfg.Spool.Told(ctx, mark(first)); err != nil {
			return err
		}
	} else {
		oldest := &p.of[0]
		l := r.letter(p.to[0], r.languageOf(oldest, p.to[0]), now)
		for _, a := range p.to[1:] {
			if r.mayCopy(m.kind, a, now) {
				l.Cc = append(l.Cc, a)
			}
		}
		var others []notice.About
		for i := range p.of[1:] {
			others = append(others, notice.About{ID: p.of[1+i].ID, Subject: p.of[1+i].Subject})
		}
		if err := r.send(ctx, l, m.kind, m.compose(l, oldest, others), []spool.Telling{mark(first)}, r.cfg.Lane); err != nil {
			return err
		}
		r.hasTold(p.key, now)
	}
	for rest := range slices.Chunk(ids[len(first):], maxMarked) {
		if err := r.cfg.Spool.Told(ctx, mark(rest)); err != nil {
			return err
		}
	}
	return nil
}

// languageOf is the language of a notice about a message: the operator has one of their
// own.
func (r *Reporter) languageOf(s *spool.Summary, to mail.Address) string {
	if s.List == nil && to.Key() != s.From.Key() {
		return r.cfg.Language
	}
	return s.SenderLanguage()
}

// copied is how many notices of a kind somebody got beside their first reader.
type copied struct {
	since time.Time
	n     int
}

// mayCopy counts a notice for its further readers: when a thousand senders are told of
// the same, the operator does not want a thousand mails. What they are spared is in the
// log and in the queue.
func (r *Reporter) mayCopy(kind mail.Notice, a mail.Address, now time.Time) bool {
	key := string(kind) + " " + a.Key()
	c := r.copied[key]
	if c == nil || !now.Before(c.since.Add(between)) {
		c = &copied{since: now}
		r.copied[key] = c
	}
	c.n++
	if c.n == maxCopied+1 {
		r.cfg.Log.Warn("no more copies of notices within the hour", "notice", kind, "to", a)
	}
	return c.n <= maxCopied
}
