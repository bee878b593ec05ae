package report

import (
	"context"
	"fmt"
	"slices"
	"time"

	"postern/mail"
	"postern/relay/notice"
	"postern/spool"
)

// tellFailures tells the senders who are to be told now, up to atOnce of them; more
// says that there are others. One that cannot be told does not keep the others.
func (r *Reporter) tellFailures(ctx context.Context, now time.Time) (more bool) {
	told := 0
	for after := mail.ID(""); ctx.Err() == nil; {
		list, err := r.cfg.Spool.Untold(after, page)
		if err != nil {
			r.cfg.Log.Error("it cannot be read which failures are to be told", "error", err)
			return false
		}
		if len(list) == 0 {
			return false
		}
		for i := range list {
			if !due(&list[i], now) {
				continue
			}
			if told++; told > atOnce {
				return true
			}
			r.careful("a sender could not be told of failures", list[i].ID, func() error { return r.tellFailure(ctx, &list[i], now) })
		}
		after = list[len(list)-1].ID
	}
	return false
}

// careful runs what composes a notice from what strangers wrote. Where that panics,
// one notice fails, and not the gateway at every start anew.
func (r *Reporter) careful(what string, about mail.ID, fn func() error) {
	defer func() {
		if p := recover(); p != nil {
			r.cfg.Log.Error(what, "message", about, "error", fmt.Sprint(p))
		}
	}()
	if err := fn(); err != nil && r.cfg.Spool.Broken() == nil {
		r.cfg.Log.Error(what, "message", about, "error", err)
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
	seen := time.Now()
	copies, seqs, err := r.cfg.Spool.UntoldCopies(u.ID, maxNamed)
	if err != nil || len(seqs) == 0 {
		return err
	}
	tells := spool.Telling{Kind: mail.NoticeFailed, About: []mail.ID{u.ID}, Copies: seqs, Seen: seen, At: now}
	if r.cfg.Ours(u.From) {
		r.cfg.Log.Warn("nobody can be told of failures: the sender is an address of this gateway itself", "message", u.ID, "from", u.From, "copies", len(seqs))
		return r.cfg.Spool.Told(ctx, tells)
	}
	l := r.letter(u.From, u.SenderLanguage(), now)
	raw := notice.Failed(l, r.about(&u.Message), r.recipients(&u.Message, copies), totals(&u.Summary, len(seqs)))
	return r.send(ctx, l, mail.NoticeFailed, raw, []spool.Telling{tells}, r.cfg.Lane)
}

// warnLate warns the senders of mails that have waited for long.
func (r *Reporter) warnLate(ctx context.Context, now time.Time) {
	waiting := map[mail.Address][]mail.ID{} // of a sender, oldest first
	for _, m := range r.cfg.Spool.Late(now.Add(-late)) {
		waiting[m.From] = append(waiting[m.From], m.ID)
	}
	for from, ids := range waiting {
		if ctx.Err() != nil || !r.mayTell(lateKey(from), now) {
			continue
		}
		r.careful("a sender could not be told that mail is late", ids[0], func() error { return r.warn(ctx, from, ids, now) })
	}
}

func lateKey(from mail.Address) string { return string(mail.NoticeDelayed) + " " + string(from) }

// warn tells one sender of their oldest late mail, and how many more there are. The
// notice marks the oldest as told of, and the others follow: a crash in between makes
// one notice more, of those.
func (r *Reporter) warn(ctx context.Context, from mail.Address, ids []mail.ID, now time.Time) error {
	mark := func(about []mail.ID) spool.Telling {
		return spool.Telling{Kind: mail.NoticeDelayed, About: about, At: now}
	}
	raw, l, err := r.warning(ids, now)
	switch {
	case err != nil:
		return err
	case r.cfg.Ours(from):
		r.cfg.Log.Warn("nobody can be told that mail is late: the sender is an address of this gateway itself", "message", ids[0], "from", from)
		fallthrough
	case raw == nil: // settled this moment
		err = r.cfg.Spool.Told(ctx, mark(ids[:1]))
	default:
		err = r.send(ctx, l, mail.NoticeDelayed, raw, []spool.Telling{mark(ids[:1])}, r.cfg.Lane)
		r.hasTold(lateKey(from), now)
	}
	for rest := range slices.Chunk(ids[1:], maxMarked) {
		if err != nil {
			break
		}
		err = r.cfg.Spool.Told(ctx, mark(rest))
	}
	return err
}

// warning composes the notice; nil: there is nothing to say any more.
func (r *Reporter) warning(ids []mail.ID, now time.Time) ([]byte, notice.Letter, error) {
	sum, err := r.cfg.Spool.Message(ids[0])
	if err != nil {
		return nil, notice.Letter{}, err
	}
	m := &sum.Message
	copies, err := r.openCopies(m.ID)
	if err != nil {
		return nil, notice.Letter{}, err
	}
	named := r.recipients(m, copies)
	if len(named) == 0 && m.List != nil && m.State == mail.Expanding {
		named = []notice.Recipient{{To: m.List.Address, Words: m.Reason}}
	}
	if len(named) == 0 {
		return nil, notice.Letter{}, nil
	}
	l := r.letter(m.From, m.SenderLanguage(), now)
	return notice.Delayed(l, r.about(m), named, totals(&sum, 0), len(ids)-1), l, nil
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
		a.List = shownList(m.List)
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
		switch {
		case c.Outcome >= mail.SoftBounced: // after upstream had taken it
			n.Words, n.At = c.OutcomeWords, c.OutcomeAt
		case !c.State.Settled():
			if n.Words == "" {
				n.Words = m.Reason // of its pause
			}
			if n.Words == "" {
				n.Words = r.paused()
			}
			byHand := c.State == mail.Unknown && c.Due.IsZero()
			if m.List == nil && r.cfg.GiveUp > 0 && !byHand {
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

func totals(s *spool.Summary, failed int) notice.Totals {
	t := notice.Totals{Recipients: s.Counts.Total(), Reached: s.Counts[mail.Sent], Failed: failed, Waiting: s.Counts.Open()}
	if s.List == nil { // whose bounces are told as failures
		t.Reached -= s.Outcomes[mail.SoftBounced] + s.Outcomes[mail.Bounced]
	}
	return t
}

// subject is what lists of messages show for a notice.
func subject(kind mail.Notice) string {
	switch kind {
	case mail.NoticeFailed:
		return "notice: mail could not be delivered"
	case mail.NoticeDelayed:
		return "notice: mail is delayed"
	case mail.NoticePaused:
		return "notice: mail is paused"
	case mail.NoticeSlow:
		return "notice: mail will not be out today"
	case mail.NoticeComplaints:
		return "notice: complaints about a list"
	case mail.NoticePostmaster:
		return "notice: mail for postmaster"
	}
	return "notice to the operator"
}
