package report

import (
	"context"
	"time"

	"postern/mail"
	"postern/relay/notice"
	"postern/spool"
)

// tellFailures tells every sender who is to be told now.
func (r *Reporter) tellFailures(ctx context.Context, now time.Time) error {
	for after := mail.ID(""); ; {
		list, err := r.cfg.Spool.Untold(after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			if due(&list[i], now) {
				if err := r.tellFailure(ctx, &list[i], now); err != nil {
					return err
				}
			}
		}
		after = list[len(list)-1].ID
	}
}

// due says whether the failures of a message are told now, or gathered for longer.
func due(u *spool.Untold, now time.Time) bool {
	gather := gatherOrdinary
	if u.List != nil {
		gather = gatherList
	}
	switch {
	case now.Before(u.ToldAt.Add(between)):
		return false
	case u.Counts.Open() == 0:
		return true
	}
	return !now.Before(u.Since.Add(gather))
}

func (r *Reporter) tellFailure(ctx context.Context, u *spool.Untold, now time.Time) error {
	copies, seqs, err := r.cfg.Spool.UntoldCopies(u.ID, maxNamed)
	if err != nil || len(seqs) == 0 {
		return err
	}
	tells := &spool.Telling{Kind: mail.NoticeFailed, About: []mail.ID{u.ID}, Copies: seqs, At: now}
	if r.cfg.Ours(u.From) {
		r.cfg.Log.Warn("nobody can be told of failures: the sender is an address of this gateway itself", "message", u.ID, "from", u.From, "copies", len(seqs))
		return r.cfg.Spool.Told(ctx, *tells)
	}
	named := r.recipients(&u.Message, copies)
	if seqs[0] == 0 && u.List != nil { // it could not be expanded
		named = append(named, notice.Recipient{To: u.List.Address, Words: u.Reason, At: u.DoneAt})
	}
	l := r.letter(u.From, u.SenderLanguage(), now)
	raw := notice.Failed(l, r.about(&u.Message), named, totals(u.Counts, len(seqs)))
	return r.send(ctx, l, mail.NoticeFailed, raw, tells, r.cfg.Lane)
}

// warnLate warns the senders of mails that have waited for long.
func (r *Reporter) warnLate(ctx context.Context, now time.Time) error {
	waiting := map[mail.Address][]mail.Message{} // of a sender, oldest first
	for _, m := range r.cfg.Spool.Late(now.Add(-late)) {
		if len(waiting[m.From]) < maxMarked {
			waiting[m.From] = append(waiting[m.From], m)
		}
	}
	for from, ms := range waiting {
		if !r.mayWarn(from, now) {
			continue
		}
		if err := r.warn(ctx, ms, now); err != nil {
			return err
		}
		r.hasWarned(from, now)
	}
	return nil
}

func (r *Reporter) mayWarn(from mail.Address, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, warned := r.warned[from]
	return !warned || !now.Before(at.Add(between))
}

func (r *Reporter) hasWarned(from mail.Address, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f, at := range r.warned {
		if !now.Before(at.Add(between)) {
			delete(r.warned, f)
		}
	}
	r.warned[from] = now
}

// warn tells one sender of their oldest late mail, and how many more there are.
func (r *Reporter) warn(ctx context.Context, ms []mail.Message, now time.Time) error {
	tells := &spool.Telling{Kind: mail.NoticeDelayed, At: now}
	for i := range ms {
		tells.About = append(tells.About, ms[i].ID)
	}
	m := &ms[0]
	if r.cfg.Ours(m.From) {
		r.cfg.Log.Warn("nobody can be told that mail is late: the sender is an address of this gateway itself", "message", m.ID, "from", m.From)
		return r.cfg.Spool.Told(ctx, *tells)
	}
	sum, err := r.cfg.Spool.Message(m.ID)
	if err != nil {
		return err
	}
	copies, err := r.openCopies(m.ID)
	if err != nil {
		return err
	}
	l := r.letter(m.From, m.SenderLanguage(), now)
	named := r.recipients(m, copies)
	if len(named) == 0 && m.List != nil { // not expanded yet
		named = []notice.Recipient{{To: m.List.Address, Words: m.Reason}}
	}
	if len(named) == 0 {
		return r.cfg.Spool.Told(ctx, *tells) // settled this moment
	}
	raw := notice.Delayed(l, r.about(m), named, totals(sum.Counts, 0), len(ms)-1)
	return r.send(ctx, l, mail.NoticeDelayed, raw, tells, r.cfg.Lane)
}

// openCopies are the first copies of a message that are not settled.
func (r *Reporter) openCopies(id mail.ID) ([]mail.Copy, error) {
	var open []mail.Copy
	for after := uint32(0); len(open) < maxNamed; {
		list, err := r.cfg.Spool.Copies(id, after, maxNamed)
		if err != nil || len(list) == 0 {
			return open, err
		}
		for _, c := range list {
			if !c.State.Settled() && len(open) < maxNamed {
				open = append(open, c)
			}
		}
		after = list[len(list)-1].Seq
	}
	return open, nil
}

func (r *Reporter) about(m *mail.Message) notice.About {
	a := notice.About{ID: m.ID, Subject: m.Subject, AcceptedAt: m.AcceptedAt, Header: r.header(m)}
	if m.List != nil {
		a.List = m.List.Name + " <" + string(m.List.Address) + ">"
	}
	return a
}

// recipients are copies as a notice names them. A copy that was never tried waits
// for its lane, or was stopped before it was sent.
func (r *Reporter) recipients(m *mail.Message, copies []mail.Copy) []notice.Recipient {
	var out []notice.Recipient
	for _, c := range copies {
		n := notice.Recipient{To: c.To, Words: c.LastError, Attempts: c.Attempts}
		if c.Claims > 0 {
			n.At = c.At
		}
		if !c.State.Settled() {
			if n.Words == "" {
				n.Words = m.Reason // of its pause
			}
			if n.Words == "" {
				n.Words = r.paused()
			}
			if m.List == nil && r.cfg.GiveUp > 0 {
				n.Until = m.AcceptedAt.Add(r.cfg.GiveUp)
			}
		}
		out = append(out, n)
	}
	return out
}

// paused is why some lane is paused: the likely reason of a copy that was never tried.
func (r *Reporter) paused() string {
	for _, l := range r.cfg.Lanes() {
		if l.State == "paused" {
			return l.Reason
		}
	}
	return ""
}

func totals(c mail.Counts, failed int) notice.Totals {
	return notice.Totals{Recipients: c.Total(), Reached: c[mail.Sent], Failed: failed, Waiting: c.Open()}
}

// subject is what lists of messages show for a notice.
func subject(kind mail.Notice) string {
	switch kind {
	case mail.NoticeFailed:
		return "notice: mail could not be delivered"
	case mail.NoticeDelayed:
		return "notice: mail is delayed"
	case mail.NoticePostmaster:
		return "notice: mail for postmaster"
	}
	return "notice to the operator"
}
