package dialogue

import "time"

// Session is what is known of one connection, safe to show to an administrator.
type Session struct {
	ID       string    `json:"id"`             // as in the log lines of the connection
	Remote   string    `json:"remote"`         // the client's host:port
	Listener string    `json:"listener"`       // the address it connected to
	Began    time.Time `json:"began"`          // of the last, when Times is more than 1
	Ended    time.Time `json:"ended,omitzero"` // zero while it is open
	Times    int       `json:"times"`          // how many sessions without a dialogue ended like this one
	Helo     string    `json:"helo"`
	TLS      TLS       `json:"tls"`
	Auth     Auth      `json:"auth"`
	Accepted int       `json:"accepted"` // mails
	Mails    []string  `json:"mails"`    // message ids of the first of them
	Octets   int64     `json:"octets"`   // received above TLS
	Lines    []Line    `json:"lines"`
	Outcome  Outcome   `json:"outcome"`
	Reason   string    `json:"reason"` // the cause as a word for scripts, such as "wrong-password"
	Cause    string    `json:"cause"`  // in sentences, with what to do
}

// TLS is what was agreed, or how that failed.
type TLS struct {
	Version    string `json:"version"` // "TLS 1.3"; "" in the clear
	Cipher     string `json:"cipher"`
	ServerName string `json:"server_name"` // that the client asked for (SNI)
	Failed     string `json:"failed"`      // a sentence; "" when it did not fail
}

// Auth is the last log-in. User is "" where what was typed is no name that is
// known here: it may be a password in the wrong place.
type Auth struct {
	Mechanism string `json:"mechanism"`
	User      string `json:"user"`
	OK        bool   `json:"ok"`
}

// Line is one line of the dialogue.
type Line struct {
	At   int64  `json:"at"`  // milliseconds since the beginning
	Who  string `json:"who"` // "client", "server"; "" for a remark
	Text string `json:"text"`
}

// Outcome is how a session ended, in one word.
type Outcome string

// The outcomes.
const (
	Open    Outcome = "open"    // it goes on
	Sent    Outcome = "sent"    // mail was taken and nothing refused
	Partly  Outcome = "partly"  // mail was taken and something refused
	Nothing Outcome = "nothing" // no mail was offered, and none refused
	Failed  Outcome = "failed"
)

// Bad says whether somebody may want to know why.
func (o Outcome) Bad() bool { return o == Failed || o == Partly }
