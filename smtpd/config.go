package smtpd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"postern/mail"
)

// Config is what New needs. Hostname, ReadTimeout, WriteTimeout, Log, Intake
// and at least one listener are required.
type Config struct {
	Hostname            string        // our name in the greeting and in Received
	MaxMessageBytes     int64         // of one mail with CRLF line ends, in octets; a mail of exactly this size is taken
	MaxRecipients       int           // accepted RCPTs of one mail; one more gets 452 4.5.3
	MaxConnections      int           // open at once; 0: no limit
	MaxConnectionsPerIP int           // open at once from one IPv4 address or IPv6 /64; 0: no limit
	ReadTimeout         time.Duration // silence of the client before 421; never the length of a whole DATA
	WriteTimeout        time.Duration // for one reply
	AuthDelay           time.Duration // pause before the answer to the first wrong password, doubled by each more; 0: 1 s
	MaxAuthFailures     int           // wrong passwords of one connection, the last of which gets 421; 0: 5
	Listeners           []Listener
	Accounts            []Account
	Networks            []Network
	// GetCertificate serves STARTTLS and implicit TLS, as in [tls.Config]; nil
	// when no listener speaks TLS. [Certificate.Get] fits.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientCAs are the authorities that Network.CertNames are believed from; nil,
	// as a function or as its result: the system's. [ClientCAs.Get] fits.
	ClientCAs func() *x509.CertPool
	// Public says which recipients anybody may write to, without AUTH and from any
	// address (opt-out, bounces), and within which bounds; nil is an ordinary
	// recipient. They still pass Intake.Check, of strangers as a Submitter without
	// rights. Without Public there are none.
	Public func(sub *mail.Submitter, from, to mail.Address) *Service
	Log    *slog.Logger
	Intake Intake
}

// Listener is one address on which clients are served.
type Listener struct {
	Address string // host:port; port 0 takes a free one
	// Socket is used instead of opening Address: a socket that a supervisor
	// handed over.
	Socket       net.Listener
	TLS          string // "none", "starttls", "implicit"
	TLSMin       string // "1.0" to "1.3"
	Auth         string // "required", "optional", "off"
	InsecureAuth bool   // AUTH is offered without TLS too
	BareNewline  string // "reject", "normalise"
	// ProxyProtocolFrom are the addresses of load balancers. Each connection from
	// there must begin with a PROXY header (version 1 or 2), and its source address
	// is the client's. From elsewhere no header is taken.
	ProxyProtocolFrom []netip.Prefix
}

// Account is somebody who may log in.
type Account struct {
	Username     string // compared without regard to case
	PasswordHash string // bcrypt; "" never logs in
	SendAs       []string
	Lists        []string
	Relay        bool
	Priority     mail.Priority
	PerMinute    int    // recipients of accepted mails in any minute; 0: no limit. See [Server.Spent]
	PerDay       int    // in any 24 hours
	Language     string // of notices to its senders: "ko", "en", "" for the usual one
	RewriteFrom  mail.Address
}

// Network is clients who may send without AUTH, known by their address and, with
// CertNames, by a TLS client certificate in addition. Of several around an
// address those with the longest prefix count, and of these the first whose
// certificate the client has. Who has none of them is a stranger: a shorter
// prefix does not help.
type Network struct {
	CIDR          netip.Prefix
	TrustLoopback bool // see New
	// CertNames are DNS names, one of which a valid certificate must bear; its
	// wildcard covers one label. A name with a wildcard here is only that very name.
	CertNames   []string
	Tenants     []string // for the intake, as in [mail.Submitter]
	SendAs      []string
	Lists       []string
	Relay       bool
	Priority    mail.Priority
	PerMinute   int // of all its clients together, as with Account
	PerDay      int
	Language    string // as of an Account
	RewriteFrom mail.Address
}

// SubmitterName is the [mail.Submitter].Name of the network's clients. The same
// addresses may be there again for other certificates.
func (n *Network) SubmitterName() string {
	if len(n.CertNames) == 0 {
		return "network " + n.CIDR.String()
	}
	return fmt.Sprintf("network %s (%s)", n.CIDR, strings.Join(n.CertNames, ", "))
}

const (
	defaultAuthDelay    = time.Second
	defaultAuthFailures = 5
)

// check finds everything that is wrong with the configuration.
func (c *Config) check() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.Hostname == "" || strings.ContainsAny(c.Hostname, " \t\r\n()<>;") {
		bad("hostname: %q is not a host name", c.Hostname)
	}
	if c.MaxMessageBytes <= 0 {
		bad("smtp.max_message_bytes: must be more than 0")
	}
	if c.MaxRecipients <= 0 {
		bad("smtp.max_recipients: must be more than 0")
	}
	if c.MaxConnections < 0 || c.MaxConnectionsPerIP < 0 {
		bad("smtp.max_connections, smtp.max_connections_per_ip: must not be negative")
	}
	if c.ReadTimeout <= 0 || c.WriteTimeout <= 0 {
		bad("smtp.read_timeout, smtp.write_timeout: must be more than 0")
	}
	if c.Log == nil || c.Intake == nil {
		bad("smtpd needs a Log and an Intake")
	}
	if len(c.Listeners) == 0 {
		bad("smtp.listener: there is none, so no client could connect")
	}
	for i := range c.Listeners {
		errs = append(errs, c.checkListener(i)...)
	}
	errs = append(errs, c.checkAccounts()...)
	errs = append(errs, c.checkNetworks()...)
	return errors.Join(errs...)
}

func (c *Config) checkListener(i int) (errs []error) {
	l := c.Listeners[i]
	bad := func(key, format string, a ...any) {
		errs = append(errs, fmt.Errorf("smtp.listener[%d].%s: %s", i, key, fmt.Sprintf(format, a...)))
	}
	if _, _, err := net.SplitHostPort(l.Address); err != nil && l.Socket == nil {
		bad("address", "%q is not host:port", l.Address)
	}
	oneOf := func(key, value string, allowed ...string) {
		for _, a := range allowed {
			if a == value {
				return
			}
		}
		bad(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
	oneOf("tls", l.TLS, "none", "starttls", "implicit")
	oneOf("tls_min", l.TLSMin, "1.0", "1.1", "1.2", "1.3")
	oneOf("auth", l.Auth, "required", "optional", "off")
	oneOf("bare_newline", l.BareNewline, "reject", "normalise")
	if l.TLS != "none" && c.GetCertificate == nil {
		bad("tls", "%q needs a certificate: set smtp.tls.cert_file and smtp.tls.key_file", l.TLS)
	}
	if l.Auth == "required" && l.TLS == "none" && !l.InsecureAuth {
		bad("auth", "nobody could log in here: AUTH is not taken without TLS, so set tls, or insecure_auth = true")
	}
	for j, p := range l.ProxyProtocolFrom {
		if !p.IsValid() || p.Bits() == 0 {
			bad(fmt.Sprintf("proxy_protocol_from[%d]", j), "%s would let anybody pretend to come from any address: name your load balancers", p)
		}
	}
	return errs
}

func (c *Config) checkAccounts() (errs []error) {
	seen := map[string]bool{}
	for i, a := range c.Accounts {
		bad := func(key, format string, args ...any) {
			errs = append(errs, fmt.Errorf("smtp.account[%d].%s: %s", i, key, fmt.Sprintf(format, args...)))
		}
		name := strings.ToLower(a.Username)
		if name == "" {
			bad("username", "is empty")
		}
		if seen[name] {
			bad("username", "%q is there twice", a.Username)
		}
		seen[name] = true
		if a.PasswordHash != "" {
			if _, err := bcrypt.Cost([]byte(a.PasswordHash)); err != nil || len(a.PasswordHash) != 60 {
				bad("password_hash", "is not a bcrypt hash: make one with `postern passwd`")
			}
		}
		if a.PerMinute < 0 || a.PerDay < 0 {
			bad("per_minute, per_day", "must not be negative")
		}
	}
	return errs
}

// checkNetworks also holds the rule that a loopback network with relay is
// refused while a listener is not on loopback: behind a proxy or NAT every
// stranger would come from 127.0.0.1.
func (c *Config) checkNetworks() (errs []error) {
	outside := ""
	for _, l := range c.Listeners {
		if l.Socket == nil && !loopbackHost(l.Address) {
			outside = l.Address
		}
	}
	for i, n := range c.Networks {
		bad := func(key, format string, args ...any) {
			errs = append(errs, fmt.Errorf("smtp.network[%d].%s: %s", i, key, fmt.Sprintf(format, args...)))
		}
		if !n.CIDR.IsValid() {
			bad("cidr", "is not an address range such as 10.0.0.0/8")
			continue
		}
		if n.Relay && n.CIDR.Addr().IsLoopback() && outside != "" && !n.TrustLoopback {
			bad("relay", "%s may relay while %s is open beyond loopback: a proxy or NAT would make strangers look like loopback; "+
				"set trust_loopback = true if there is none, or listen on loopback only", n.CIDR, outside)
		}
		if n.PerMinute < 0 || n.PerDay < 0 {
			bad("per_minute, per_day", "must not be negative")
		}
		if len(n.CertNames) > 0 && !c.speaksTLS() {
			bad("cert_names", "no listener speaks TLS, so no client could show a certificate: set tls of an smtp.listener")
		}
		for j, name := range n.CertNames {
			if name == "" || strings.ContainsAny(name, " \t\r\n@/") {
				bad(fmt.Sprintf("cert_names[%d]", j), "%q is not a DNS name such as mail.example.com", name)
			}
		}
	}
	return errs
}

func (c *Config) speaksTLS() bool {
	for _, l := range c.Listeners {
		if l.TLS != "none" {
			return true
		}
	}
	return false
}

func loopbackHost(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
