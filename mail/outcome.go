package mail

import (
	"fmt"
	"strings"
	"time"
)

// Outcome is what became of a copy after upstream had accepted it, as events say.
// A later event only raises it, whatever the order in which events come.
type Outcome uint8

const (
	NoOutcome   Outcome = iota
	Delivered           // the recipient's server has taken it
	SoftBounced         // it was not taken, for a reason that may pass
	Bounced             // it was not taken, for good
	Complained          // the recipient calls it spam
	NumOutcomes = iota
)

var outcomeNames = [NumOutcomes]string{"", "delivered", "soft-bounced", "bounced", "complained"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", o)
}

// MarshalText gives the name people see; "" for none yet.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, n := range outcomeNames {
		if n == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q; the outcomes are %s", b, strings.Join(outcomeNames[1:], ", "))
}

// Outcomes is how many copies of a message have each outcome; of NoOutcome none are
// counted.
type Outcomes [NumOutcomes]int

// Tally is what a rate of bounces or complaints is made of.
type Tally struct {
	Answered   int `json:"answered,omitempty"` // copies that upstream has taken, or that have failed
	Bounced    int `json:"bounced,omitempty"`
	Complained int `json:"complained,omitempty"`
}

// Less is what has come since.
func (t Tally) Less(since Tally) Tally {
	return Tally{t.Answered - since.Answered, t.Bounced - since.Bounced, t.Complained - since.Complained}
}

// Plus adds two tallies.
func (t Tally) Plus(u Tally) Tally {
	return Tally{t.Answered + u.Answered, t.Bounced + u.Bounced, t.Complained + u.Complained}
}

// StopKind is why the gateway itself has paused a message.
type StopKind string

const (
	StopRefused StopKind = "refused" // upstream would refuse every copy
	StopUnmade  StopKind = "unmade"  // its copies cannot be made
	StopBounces StopKind = "breaker" // too many of its copies bounce, or too many complain
)

// Stop is a pause that the gateway itself made.
type Stop struct {
	Kind   StopKind  `json:"kind"`
	At     time.Time `json:"at"`
	Until  time.Time `json:"until,omitzero"`   // it goes on by itself then; zero: by hand
	ToldAt time.Time `json:"told_at,omitzero"` // when sender, owner and operator were told
}

// Forecast says that a message will not be out today, because its lane's quota for
// 24 hours is not enough.
type Forecast struct {
	At     time.Time `json:"at"`
	Copies int       `json:"copies"`           // of the message, that are not out
	Today  int       `json:"today"`            // of these that the quota lets out now
	Until  time.Time `json:"until"`            // when the last will be out, about
	ToldAt time.Time `json:"told_at,omitzero"` // when the sender was told
}
