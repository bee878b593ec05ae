package report

import (
	"context"
	"slices"
	"time"

	"postern/mail"
	"postern/relay/notice"
	"postern/spool"
)

// tellComplaints tells the owners of lists who has reported their mail as spam: at most
// once an hour for a list, in one notice for all of its mails.
func (r *Reporter) tellComplaints(ctx context.Context, now time.Time) {
	lists := map[string][]spool.Untold{} // messages of a list, oldest first
	for after := mail.ID(""); ctx.Err() == nil; {
		some, err := r.cfg.Spool.Complaints(after, page)
		if err != nil {
			r.cfg.Log.Error("it cannot be read which complaints are to be told", "error", err)
			return
		}
		if len(some) == 0 {
			break
		}
		for i := range some {
			lists[some[i].ListID()] = append(lists[some[i].ListID()], some[i])
		}
		after = some[len(some)-1].ID
	}
	for list, all := range lists {
		key := string(mail.NoticeComplaints) + " " + list
		first := slices.MinFunc(all, func(a, b spool.Untold) int { return a.Since.Compare(b.Since) })
		if ctx.Err() != nil || now.Before(first.Since.Add(gatherList)) || !r.mayTell(key, now) {
			continue
		}
		r.careful("the owner of a list could not be told of complaints", all[0].ID, func() error { return r.tellOwner(ctx, key, all, now) })
	}
}

// tellOwner tells of complaints about the mails of one list. Its owner is that of the
// newest.
func (r *Reporter) tellOwner(ctx context.Context, key string, all []spool.Untold, now time.Time) error {
	list := all[len(all)-1].List
	var tells []spool.Telling
	var about []notice.Complaints
	for i := range all[:min(len(all), maxBlamed)] {
		u := &all[i]
		seen := time.Now()
		copies, seqs, err := r.cfg.Spool.ComplaintCopies(u.ID, maxAccusers)
		if err != nil {
			return err
		}
		if len(seqs) == 0 { // gone this moment
			continue
		}
		tells = append(tells, spool.Telling{Kind: mail.NoticeComplaints, About: []mail.ID{u.ID}, Copies: seqs, Seen: seen, At: now})
		c := notice.Complaints{About: notice.About{ID: u.ID, From: u.From, Subject: u.Subject, AcceptedAt: u.AcceptedAt},
			Sent: u.Counts[mail.Sent], Total: u.Outcomes[mail.Complained], New: len(seqs)}
		for _, cp := range copies {
			c.All = append(c.All, notice.Complaint{To: cp.To, At: cp.OutcomeAt, Words: cp.OutcomeWords})
		}
		about = append(about, c)
	}
	if len(tells) == 0 {
		return nil
	}
	if list.Owner == "" || r.cfg.Ours(list.Owner) {
		r.cfg.Log.Warn("nobody can be told of complaints: the list has no owner who is a person", "list", list.ID, "owner", list.Owner)
		for _, t := range tells {
			if err := r.cfg.Spool.Told(ctx, t); err != nil {
				return err
			}
		}
		return nil
	}
	l := r.letter(list.Owner, list.Language, now)
	if err := r.send(ctx, l, mail.NoticeComplaints, notice.Complained(l, shownList(list), about), tells, r.cfg.Lane); err != nil {
		return err
	}
	r.hasTold(key, now)
	return nil
}

func shownList(l *mail.ListPolicy) string { return l.Name + " <" + string(l.Address) + ">" }
