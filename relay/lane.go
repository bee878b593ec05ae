package relay

import (
	"context"
	"math"
	"time"

	"postern/mail"
)

// LaneConfig is an upstream account and how it is used.
type LaneConfig struct {
	Name        string
	Driver      string // for people
	Sender      Sender
	Concurrency int     // attempts at the same time, at least 1
	Rate        float64 // copies a second at most; 0: as the account says, else no limit
	// Reserve is the share of Concurrency that bulk mail leaves free, 0 to 1: at least
	// one place where it is not 0, and never all. It is the share of the account's quota
	// that bulk mail leaves, too.
	Reserve float64
	// Account asks upstream what the account may send; nil where that cannot be asked. It
	// is called at the start and then once a minute at most, also over a restart. Its
	// error is shown to people.
	Account func(context.Context) (Account, error)
}

// reserved is how many places bulk mail leaves free.
func (c *LaneConfig) reserved() int {
	return min(int(math.Ceil(c.Reserve*float64(c.Concurrency))), c.Concurrency-1)
}

// Account is what an upstream account may send, as upstream says.
type Account struct {
	Rate    float64 `json:"rate"`              // copies a second; 0: upstream does not say
	Max24   float64 `json:"max_24h"`           // copies in any 24 hours; negative: unlimited
	Sent24  float64 `json:"sent_24h"`          // copies in the last 24 hours, of all who use the account
	Sandbox bool    `json:"sandbox,omitempty"` // only to verified recipients
	Paused  bool    `json:"paused,omitempty"`  // upstream sends nothing for the account
	// Enforcement is upstream's opinion of the account: at Amazon SES HEALTHY, PROBATION
	// or SHUTDOWN. With SHUTDOWN it sends nothing.
	Enforcement string `json:"enforcement,omitempty"`
}

// stopped says, in words, why upstream sends nothing for the account; "": it does.
func (a *Account) stopped() string {
	switch {
	case a.Enforcement == "SHUTDOWN":
		return "upstream has shut the account down (enforcement status SHUTDOWN)"
	case a.Paused:
		return "sending is paused for the account"
	}
	return ""
}

// LaneStatus is a lane as an administrator sees it.
type LaneStatus struct {
	Name      string     `json:"name"`
	Driver    string     `json:"driver"`
	State     string     `json:"state"`                // running, slowed, paused
	Reason    string     `json:"reason,omitempty"`     // why it is slowed or paused, in words
	Remedy    string     `json:"remedy,omitempty"`     // what a person can do about it
	Exact     bool       `json:"-"`                    // Remedy is about this very pause, and not about all of its class
	Class     mail.Class `json:"-"`                    // of the pause: Unreachable, AccountWide, QuotaSpent or Uncertain
	ByHand    bool       `json:"by_hand,omitempty"`    // somebody paused it, and it stays so until somebody resumes it
	BulkHeld  string     `json:"bulk_held,omitempty"`  // why bulk mail alone waits, until somebody resumes the lane
	Events    string     `json:"events,omitempty"`     // what keeps the events of its copies from coming in; "": nothing is known to
	BulkWaits string     `json:"bulk_waits,omitempty"` // why bulk mail alone waits, until its share of the quota is free again
	Account   string     `json:"account,omitempty"`    // what is worth knowing of the account: that it cannot be asked, that it is in the sandbox or under review
	Until     time.Time  `json:"until,omitzero"`       // when a paused lane is tried again, or a slowed one is as fast as before, about
	Rate      float64    `json:"rate,omitempty"`       // copies a second it may send now; 0: no limit
	Limit     float64    `json:"limit,omitempty"`      // what configuration and account allow; 0: no limit is known
	InFlight  int        `json:"in_flight"`
	Quota     *Quota     `json:"quota,omitempty"` // nil: there is no account to be asked, or it did not answer
}

// Quota is what the account may send, for an administrator.
type Quota struct {
	Rate        float64   `json:"rate"`     // copies a second
	Max24       float64   `json:"max_24h"`  // copies in any 24 hours; -1: unlimited
	Used        float64   `json:"used"`     // of them
	Left        float64   `json:"left"`     // -1: unlimited
	AskedAt     time.Time `json:"asked_at"` // when upstream said so; what was sent since is counted
	Sandbox     bool      `json:"sandbox,omitempty"`
	Enforcement string    `json:"enforcement,omitempty"`
}
