package report

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"postern/mail"
	"postern/relay"
	"postern/relay/notice"
	"postern/spool"
)

// Config is what a Reporter works with.
type Config struct {
	Spool    *spool.Spool
	Hostname string
	Location *time.Location
	From     mail.Address  // of every notice
	Envelope mail.Address  // its envelope sender: "", or From where the lane refuses the null sender
	Lane     string        // [mail.Message].Lane of notices
	Language string        // of mail to the operator, and to senders without a language
	Operator mail.Address  // "": nobody is told of lanes and disks
	GiveUp   time.Duration // how long ordinary mail is tried, for the words of a warning
	// Postmaster gets what strangers write to postmaster@.
	Postmaster mail.Address
	// Ours says that an address belongs to this gateway itself, so that no person reads
	// what is sent there.
	Ours  func(mail.Address) bool
	Lanes func() []relay.LaneStatus
	// Sent makes an ordinary mail as it goes out, for the header that a notice quotes;
	// nil: the header is quoted as it was received.
	Sent func(*mail.Message) (mail.Content, error)
	// Trouble is what is wrong with the disk: DiskLow, DiskFull or SpoolBroken, in
	// words; "": nothing.
	Trouble func() (kind notice.Kind, words string)
	// Sync says why the sync from MySQL is behind, and since when; "": it is not. nil: there
	// is none.
	Sync func() (words string, since time.Time)
	// Direct hands a mail to the operator upstream without the spool.
	Direct func(ctx context.Context, to mail.Address, raw []byte) error
	Log    *slog.Logger
}

// How long things may last before somebody is told.
const (
	gatherOrdinary = 30 * time.Second
	gatherList     = 5 * time.Minute
	between        = time.Hour // notices about one mail, or of one kind to one person, mails about one trouble
	late           = 4 * time.Hour
	lanePaused     = 2 * time.Minute
	byHand         = 24 * time.Hour // a lane that somebody has paused
)

// How often the Reporter looks, and how much it takes at a time.
const (
	everyFailure = time.Second      // at most, however many fail
	everyLook    = 10 * time.Second // lanes, disk, and what has become due
	maxNamed     = 1000             // recipients that a notice names
	maxHeader    = 64 << 10         // octets of the original that are looked at for its header
	maxMade      = 4 << 20          // octets of an ordinary mail that is made again for its header
	page         = 100              // messages
	maxMarked    = 2000             // messages, in one commit
	atOnce       = 200              // senders, before lanes and disk are looked at again
	everyWarning = time.Minute      // late mail is looked for
	maxReaders   = 20               // of one notice
	maxCopied    = 10               // notices of a kind, an hour, to one who is not their first reader
	maxBlamed    = 50               // messages in a notice of complaints
	maxAccusers  = 100              // recipients of each that are read
	// maxPostmaster bounds what strangers can fill the spool with while a lane is down.
	maxPostmaster = 100
)

// Reporter tells people. Run does the work; the other methods may be called from
// any goroutine.
type Reporter struct {
	cfg Config

	// Of Run alone.
	looked  time.Time            // when late mail was last looked for
	glanced time.Time            // and paused and slow mail, and complaints
	told    map[string]time.Time // who was told of what within the last hour
	copied  map[string]*copied
	lanes   map[string]*laneTrouble
	disk    trouble
	worst   notice.Kind // of disk, that the operator knows of
	sync    trouble
}

// New makes a Reporter that tells nobody until Run.
func New(cfg Config) *Reporter {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Reporter{cfg: cfg, told: map[string]time.Time{}, copied: map[string]*copied{}, lanes: map[string]*laneTrouble{}}
}

// Run tells what there is to tell until ctx ends.
func (r *Reporter) Run(ctx context.Context) {
	tick := time.NewTicker(everyLook)
	defer tick.Stop()
	for ctx.Err() == nil {
		more := r.look(ctx, time.Now())
		select { // not at every failure of a campaign
		case <-ctx.Done():
		case <-time.After(everyFailure):
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-r.cfg.Spool.TellWake():
		}
	}
}

// look tells what is due; more says that there is more of it than was told.
func (r *Reporter) look(ctx context.Context, now time.Time) (more bool) {
	r.watchDisk(ctx, now)
	r.watchLanes(ctx, now)
	r.watchSync(ctx, now)
	if r.cfg.Spool.Broken() != nil {
		return false
	}
	if !now.Before(r.glanced.Add(everyLook)) {
		r.glanced = now
		r.tellPauses(ctx, now)
		r.tellSlow(ctx, now)
		r.tellComplaints(ctx, now)
	}
	if !now.Before(r.looked.Add(everyWarning)) {
		r.looked = now
		r.warnLate(ctx, now)
	}
	return r.tellFailures(ctx, now)
}

// mayTell says that nobody was told under this key within the hour.
func (r *Reporter) mayTell(key string, now time.Time) bool {
	at, told := r.told[key]
	return !told || !now.Before(at.Add(between))
}

func (r *Reporter) hasTold(key string, now time.Time) {
	for k, at := range r.told {
		if !now.Before(at.Add(between)) {
			delete(r.told, k)
		}
	}
	r.told[key] = now
}

// Moot says that a warning of ours need not go: its mail has been settled since, or
// will be out today after all.
func (r *Reporter) Moot(m *mail.Message) (reason string, moot bool) {
	if m.Notice != mail.NoticeDelayed && m.Notice != mail.NoticeSlow {
		return "", false
	}
	about, err := r.cfg.Spool.Message(m.About)
	switch {
	case err != nil:
		return "", false
	case m.Notice == mail.NoticeSlow && about.Forecast == nil:
		return "no longer true: the mail will be out today", true
	case about.Counts.Open() > 0 || about.State == mail.Expanding:
		return "", false
	}
	return "no longer true: the mail is not waiting any more", true
}

// ToPostmaster takes a stranger's mail to postmaster@ into custody, for Config.Postmaster:
// so many as may wait. It goes after all other mail.
func (r *Reporter) ToPostmaster(ctx context.Context, from mail.Address, remote string, raw []byte) error {
	if r.cfg.Spool.Unfinished(mail.NoticePostmaster) >= maxPostmaster {
		return mail.Later(452, "4.3.1", "there is much mail for the postmaster that waits to be handed on; try again later")
	}
	l := r.letter(r.cfg.Postmaster, r.cfg.Language, time.Now())
	return r.send(ctx, l, mail.NoticePostmaster, notice.Postmaster(l, from, remote, raw), nil, r.cfg.Lane)
}

func (r *Reporter) letter(to mail.Address, language string, now time.Time) notice.Letter {
	if language == "" {
		language = r.cfg.Language
	}
	return notice.Letter{ID: mail.NewID(now), Hostname: r.cfg.Hostname, From: r.cfg.From, To: to,
		Date: now.In(r.cfg.Location), Language: language}
}

// send takes a notice into custody, with the mark that tells is told.
func (r *Reporter) send(ctx context.Context, l notice.Letter, kind mail.Notice, raw []byte, tells []spool.Telling, lane string) error {
	body, err := r.cfg.Spool.NewBody()
	if err != nil {
		return err
	}
	defer body.Discard()
	if _, err := body.Write(raw); err != nil {
		return fmt.Errorf("write a notice: %w", err)
	}
	m := mail.Message{ID: l.ID, Submission: l.ID, From: r.cfg.Envelope, HeaderFrom: r.cfg.From, Submitter: "postern",
		Subject: subject(kind), Priority: priority(kind), Lane: lane, State: mail.Sending, AcceptedAt: l.Date,
		Size: int64(len(raw)), Notice: kind}
	if len(tells) > 0 {
		m.About = tells[0].About[0]
	}
	a := spool.Accepted{Message: m, Copies: []mail.Copy{{To: l.To}}, Tells: tells}
	for _, cc := range l.Cc {
		a.Copies = append(a.Copies, mail.Copy{To: cc})
	}
	if err := r.cfg.Spool.Accept(ctx, body, []spool.Accepted{a}); err != nil {
		return err
	}
	r.cfg.Log.Info("notice accepted", "message", m.ID, "notice", kind, "to", l.To, "cc", l.Cc, "about", m.About)
	return nil
}

// priority: what strangers write must not go before an order.
func priority(kind mail.Notice) mail.Priority {
	if kind == mail.NoticePostmaster {
		return mail.Bulk
	}
	return mail.Transactional
}

// header is what a notice quotes: the header of ordinary mail as it goes out, with
// the Date and Message-ID that were added, by which the sender can find it with
// others who got it; of a list's mail as it was received. nil when it cannot be read.
func (r *Reporter) header(m *mail.Message) []byte {
	if m.List == nil && r.cfg.Sent != nil && m.Size <= maxMade {
		if c, err := r.cfg.Sent(m); err == nil {
			return c.Header
		}
	}
	f, err := r.cfg.Spool.OpenBody(m.ID)
	if err != nil {
		return nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxHeader))
	if err != nil {
		return nil
	}
	header, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return header
}
