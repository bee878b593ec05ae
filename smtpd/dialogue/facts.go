package dialogue

// Facts are what [Explain] goes by. All of it is bounded.
type Facts struct {
	Listener Listener
	Address  string // the client's, without port
	Ended    bool

	Refused  Refusal  // before anything was said
	Why      string   // the words of the refusal
	Stranger Stranger // what the client speaks instead of SMTP

	Handshake Handshake
	Trouble   Trouble // with the handshake; "" when it did not fail
	Alert     string  // of the client, as crypto/tls names it
	Hello     Hello
	Version   string // of TLS, "" in the clear
	Cipher    string

	Helo        string
	ESMTP       bool // EHLO, not HELO
	Offered     bool // AUTH was among the answers to EHLO
	Mechanism   string
	User        string
	UserUnknown bool // the name that was typed is no account's
	LoggedIn    bool

	Accepted   int
	Recipients int // accepted, of all mails

	// The last refusal of each kind that nothing has made good since.
	NoTLS, NoAuth, NoMail, NoRecipient, NoData, NoOther Reply

	Last     string // the last command; "" before the first
	Waiting  Waiting
	Octets   int64 // received above TLS
	Unended  int   // octets of a line that never ended
	TimedOut bool
	Farewell Reply // the 421 or 221 with which the server ended the session
}

// Listener is what Facts need to know of the listener.
type Listener struct {
	Address      string
	TLS          string // none, starttls, implicit
	TLSMin       string
	Auth         string // required, optional, off
	InsecureAuth bool
}

// Reply is a refusal and what it answered.
type Reply struct {
	Verb     string
	Code     int
	Enhanced string // "5.7.1"; "" without one
	Text     string // what comes after it
}

// Refusal is why a connection was closed before anything was said.
type Refusal string

// The refusals.
const (
	TooManyFromAddress Refusal = "too-many-from-address"
	TooMany            Refusal = "too-many-connections"
	ProxyHeader        Refusal = "proxy-header"
	ShuttingDown       Refusal = "shutting-down"
)

// Stranger is a client that does not speak SMTP.
type Stranger string

// The strangers that are recognised.
const (
	ClearTLS   Stranger = "TLS without STARTTLS"
	HTTP       Stranger = "HTTP"
	Proxy      Stranger = "a PROXY header"
	MailReader Stranger = "POP3 or IMAP"
	SSH        Stranger = "SSH"
)

// Handshake is how far TLS has come.
type Handshake int

// The steps of TLS.
const (
	NoHandshake Handshake = iota
	HandshakeBegun
	HandshakeFailed
	HandshakeDone
)

// Trouble is a kind of failed handshake.
type Trouble string

// What goes wrong with handshakes.
const (
	NotTLS        Trouble = "not-tls"
	Silence       Trouble = "silence" // not one octet came
	TooOld        Trouble = "too-old"
	NoCipher      Trouble = "no-cipher"
	WrongKeyKind  Trouble = "wrong-key-kind"
	ClientRefuses Trouble = "client-refuses" // Alert says why, if it could be read
	BrokenOff     Trouble = "broken-off"
	Timeout       Trouble = "timeout"
	Other         Trouble = "other"
)

// Hello is what a ClientHello said, seen beside our certificate.
type Hello struct {
	Seen      bool
	Name      string // that was asked for (SNI); "" when none was
	WrongName bool   // our certificate is not for Name
	Names     string // that our certificate is for
	Expired   bool   // our certificate
	Best      string // the newest version that the client offers: "TLS 1.0"
	TooOld    bool   // Best is older than the listener takes
	Unfit     bool   // no cipher suite or signature fits our certificate
	RSAOnly   bool   // the client knows no ECDSA, and our key is one
}

// Waiting is what the server had been promised when the session ended.
type Waiting int

// What is waited for.
const (
	ForCommand  Waiting = iota
	ForResponse         // of AUTH
	ForText             // of DATA
	ForChunk            // of BDAT
	ForServer           // the client waited for a reply
)
