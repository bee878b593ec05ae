package mail

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Priority orders the claims on a lane.
type Priority string

const (
	Bulk          Priority = "bulk"
	Transactional Priority = "transactional"
)

// Envelope is what MAIL FROM and RCPT TO said (RFC 5321 §2.3.1).
type Envelope struct {
	From       Address // "" is the null sender
	Recipients []Address
	SMTPUTF8   bool // the client declared it (RFC 6531)
}

// Submitter is who stands behind a session, and what they may do: the rights of
// an account or of a network. It is built by smtpd and judged by the intake.
type Submitter struct {
	Name          string // "marketer@example.com", or "network 10.0.0.0/8"
	Authenticated bool   // by AUTH; false for a network
	Session       string // short id, the same in every log line of a session
	Remote        string // ip:port of the client (after PROXY)
	Loopback      bool   // the client is on this machine and the listener too
	Helo          string
	TLS           string   // "TLS1.3", "" without
	SendAs        []string // patterns for [MatchAddress]
	Lists         []string // list ids
	Tenants       []string // domains that X-OriginatorOrg may name in place of a signed To; see config.toml
	Relay         bool     // may send to ordinary addresses
	Priority      Priority
	Language      string  // of notices to them: "ko", else English
	RewriteFrom   Address // goes into From, and in the place of an envelope sender that must not go on; "" leaves them as they are
}

// MaySendAs says whether a is among the submitter's own addresses.
func (s *Submitter) MaySendAs(a Address) bool {
	for _, p := range s.SendAs {
		if MatchAddress(p, a) {
			return true
		}
	}
	return false
}

// MayUseList says whether the submitter may open the list with this id.
func (s *Submitter) MayUseList(id string) bool {
	for _, l := range s.Lists {
		if l == id || l == "*" {
			return true
		}
	}
	return false
}

// Entry names the part of the configuration that gives the submitter its rights,
// for sentences.
func (s *Submitter) Entry() string {
	if s.Authenticated {
		return "this [[smtp.account]]"
	}
	return "this [[smtp.network]]"
}

// MessageState is where a message is on its way.
type MessageState string

const (
	Expanding MessageState = "expanding" // pages of users become copies
	Held      MessageState = "held"      // complete, waits for a release
	Sending   MessageState = "sending"   // its copies are being sent
	Paused    MessageState = "paused"    // stopped by an operator or a breaker
	Done      MessageState = "done"      // all copies settled
	Cancelled MessageState = "cancelled" // an operator ended it
	Failed    MessageState = "failed"    // it could not be expanded
)

// ListPolicy is what is pinned of a list when a message for it is accepted.
type ListPolicy struct {
	ID          string   `json:"id"`
	Address     Address  `json:"address"`
	Name        string   `json:"name"`
	Language    string   `json:"language"` // "ko" or "en"
	Owner       Address  `json:"owner,omitempty"`
	Filter      string   `json:"filter,omitempty"`
	Missing     string   `json:"missing"` // "hold" or "skip"
	Release     string   `json:"release"` // "immediate", "sender", "approver"
	ReleaseOver int      `json:"release_over,omitempty"`
	Approvers   []string `json:"approvers,omitempty"`
	Advertising bool     `json:"advertising,omitempty"`
	Template    string   `json:"template,omitempty"` // id of what the mail was put into; "" for none
	Identity    Identity `json:"identity,omitzero"`  // shown under the mail when Advertising
}

// Identity is who advertises, as Korean law wants it shown.
type Identity struct {
	Company string  `json:"company"`
	Address string  `json:"address"`
	Phone   string  `json:"phone"`
	Email   Address `json:"email"`
}

// Missing names the keys of [list.identity] that are empty.
func (i Identity) Missing() []string {
	var keys []string
	for _, f := range []struct{ key, value string }{
		{"company", i.Company}, {"address", i.Address}, {"phone", i.Phone}, {"email", string(i.Email)},
	} {
		if strings.TrimSpace(f.value) == "" {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// Message is the part of a submission for one list or for its ordinary
// recipients, as the spool keeps it. Counts are kept beside it.
type Message struct {
	ID         ID `json:"id"`
	Submission ID `json:"submission"` // shared by the messages of one DATA
	// Siblings are the submission's list messages before this one: whoever has a
	// copy of one of them gets none of this, and they expand first.
	Siblings   []ID        `json:"siblings,omitempty"`
	List       *ListPolicy `json:"list,omitempty"`
	From       Address     `json:"from"`        // envelope sender, "" is null
	HeaderFrom Address     `json:"header_from"` // the From header's mailbox, after rewrite_from
	// RewriteFrom is the submitter's at acceptance: From of ordinary mail becomes it.
	RewriteFrom Address      `json:"rewrite_from,omitempty"`
	Submitter   string       `json:"submitter"`
	Subject     string       `json:"subject"` // decoded, placeholders as written
	Priority    Priority     `json:"priority"`
	Lane        string       `json:"lane,omitempty"` // as configured at acceptance; "" is the first
	State       MessageState `json:"state"`
	Reason      string       `json:"reason,omitempty"` // why it waits or failed, in words
	AcceptedAt  time.Time    `json:"accepted_at"`
	DoneAt      time.Time    `json:"done_at,omitzero"`
	Size        int64        `json:"size"` // octets of the body file
	// Fields names what each copy's Values hold, in order.
	Fields []string `json:"fields,omitempty"`
	// Required marks the Fields that have no fallback: an empty value counts.
	Required []bool `json:"required,omitempty"`
	// Checkpoint is the directory's, of the last page whose copies are stored.
	Checkpoint []byte `json:"checkpoint,omitempty"`
	Expanded   bool   `json:"expanded"`            // the last page is stored
	Streaming  bool   `json:"streaming"`           // copies may leave while it still expands
	Releasing  bool   `json:"releasing,omitempty"` // the directory is being asked again before release
	TokenKey   uint32 `json:"token_key,omitempty"` // keyring entry of this message's unsubscribe tokens
	// Language of notices about ordinary mail; a list has its own.
	Language string `json:"language,omitempty"`
	// Notice marks a mail of ours to a sender or an operator: nobody is ever told what
	// became of it, so that no notice makes another. About is the message that it tells of.
	Notice Notice `json:"notice,omitempty"`
	About  ID     `json:"about,omitempty"`
	// ToldAt is when the sender was last told of copies that failed; WarnedAt when
	// they were told, once, that copies are late.
	ToldAt   time.Time `json:"told_at,omitzero"`
	WarnedAt time.Time `json:"warned_at,omitzero"`
	// Stopped is the last pause that the gateway itself made, unless somebody has paused
	// or resumed the message since. CountedAt is when it was last resumed by hand, and
	// Counted what has come of the copies that were sent until then, whenever that came, and
	// what the provider does not count: the breaker counts the others.
	Stopped   *Stop     `json:"stopped,omitempty"`
	Counted   Tally     `json:"counted,omitzero"`
	CountedAt time.Time `json:"counted_at,omitzero"`
	// Forecast is set while the message cannot be out today.
	Forecast *Forecast `json:"forecast,omitempty"`
}

// Notice is what a notice tells; "" is a mail that is none.
type Notice string

const (
	NoticeFailed     Notice = "failed"     // copies of the sender's mail have failed
	NoticeDelayed    Notice = "delayed"    // copies of it are late
	NoticeOperator   Notice = "operator"   // to the operator: lane, disk
	NoticePostmaster Notice = "postmaster" // to the operator: mail that came for postmaster@
	NoticePaused     Notice = "paused"     // the gateway itself has paused the sender's mail
	NoticeSlow       Notice = "slow"       // the sender's mail will not be out today
	NoticeComplaints Notice = "complaints" // to the owner of a list: who calls its mail spam
	NoticeConsent    Notice = "consent"    // to a recipient: what came of their choice, as the law asks
	NoticeConfirm    Notice = "confirm"    // to somebody who had complained: whether they want mail again
	NoticeReminder   Notice = "reminder"   // to a recipient: that they have agreed to advertising, two years ago
)

// Answerable says that the sender is told what becomes of the message: there is
// one, and it is no notice of ours (RFC 5321 §4.5.5, §6.1).
func (m *Message) Answerable() bool { return m.From != "" && m.Notice == "" }

// SenderLanguage is the language of notices to the sender.
func (m *Message) SenderLanguage() string {
	if m.List != nil {
		return m.List.Language
	}
	return m.Language
}

// ListID is the list's id, "" for ordinary mail.
func (m *Message) ListID() string {
	if m.List == nil {
		return ""
	}
	return m.List.ID
}

// State is where a copy is. Queued to Uncertain are open, the others settled.
type State uint8

const (
	Queued        State = iota
	InFlight            // "sending": an attempt has begun
	Deferred            // will be retried at its due time
	Unknown             // "uncertain": an attempt's result is not known
	Sent                // upstream accepted it
	CopyFailed          // "failed"
	CopyCancelled       // "cancelled"
	Suppressed          // the address gets nothing
	Unsubscribed        // left between expansion and dispatch
	Skipped             // a value is missing
	NumStates     = iota
)

var stateNames = [NumStates]string{"queued", "sending", "deferred", "uncertain", "sent", "failed", "cancelled", "suppressed", "unsubscribed", "skipped"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "state(" + strconv.Itoa(int(s)) + ")"
}

// MarshalText gives the name people see.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("unknown copy state %q; the states are %s", b, strings.Join(stateNames[:], ", "))
}

// Settled says that nothing more will be tried for the copy.
func (s State) Settled() bool { return s >= Sent }

// Counts is how many copies of a message are in each state.
type Counts [NumStates]int

// Total is the number of copies.
func (c Counts) Total() int {
	n := 0
	for _, v := range c {
		n += v
	}
	return n
}

// Open is the number of copies that are not settled.
func (c Counts) Open() int { return c[Queued] + c[InFlight] + c[Deferred] + c[Unknown] }

// Copy is what one recipient gets of a message.
type Copy struct {
	Message ID
	Seq     uint32   // number within the message, given at expansion
	To      Address  // as the directory or the envelope has it
	UserKey string   // the user's key as the directory writes it; "" for ordinary mail
	Values  []string // of the message's Fields

	State      State
	Attempts   int       // attempts that count: those that the copy itself spent
	Claims     int       // all attempts ever begun: the fence of Settle
	Due        time.Time // when it is tried next, while queued, deferred or uncertain
	At         time.Time // when State was set
	LastError  string    // upstream's words, or ours
	UpstreamID string    // the id upstream gave the accepted mail

	Outcome      Outcome   // of a copy that upstream accepted
	OutcomeAt    time.Time // when that happened, as the event says
	OutcomeWords string    // the receiving server's words
}

// Key is the copy's key within its message: the normalised address. There is
// one copy of a message for a key, however often its page is stored.
func (c *Copy) Key() string { return c.To.Key() }

// Tag names the copy upstream: [A-Za-z0-9_-]{1,256}, the same in every attempt.
// It is the SES EmailTag and the local part of the copy's Message-ID.
func (c *Copy) Tag() string {
	return string(c.Message) + "-" + strconv.FormatUint(uint64(c.Seq), 36)
}

// ParseTag is the inverse of [Copy.Tag].
func ParseTag(s string) (id ID, seq uint32, err error) {
	head, tail, ok := strings.Cut(s, "-")
	if !ok {
		return "", 0, fmt.Errorf("%q is not a copy's tag", s)
	}
	if id, err = ParseID(head); err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(tail, 36, 32)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not a copy's tag", s)
	}
	return id, uint32(n), nil
}
