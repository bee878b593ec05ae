package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no zone files

	"postern/expand"
	"postern/mail"
)

// check finds what is wrong with the values themselves. It opens no file.
func (c *Config) check(found *problems) {
	k := &checker{found: found}
	k.general(c)
	k.smtp(&c.SMTP)
	k.rights(c)
	k.lists(c)
	k.people(c)
	k.relay(&c.Relay)
	k.lanes(c)
	k.dkim(c)
	k.pages(c)
	k.sync(c)
}

// maxSocketPath is the longest path that a Unix socket can have (unix(7)), in bytes.
const maxSocketPath = 107

type checker struct {
	found  *problems
	fields *expand.Fields // of the configuration; nil when these are wrong
}

func (k *checker) general(c *Config) {
	k.domain("hostname", c.Hostname)
	if c.DataDir == "" {
		k.found.add("data_dir", "is empty: name the folder for spool, directory and keys")
	} else if n := len(c.ControlSocket()); n > maxSocketPath {
		k.found.add("data_dir", "is %d bytes too long for the path of a socket in it: choose a shorter one, or a relative one", n-maxSocketPath)
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil || c.Timezone == "" {
		k.found.add("timezone", `%q is not a time zone such as "Asia/Seoul" or "UTC"`, c.Timezone)
	}
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
	var err error
	k.fields, err = c.vocabulary(nil)
	k.found.join(err)
}

func (k *checker) smtp(s *SMTPConfig) {
	atLeast(k, "smtp.max_message_bytes", s.MaxMessageBytes, 1024)
	atLeast(k, "smtp.max_recipients", s.MaxRecipients, 1)
	atLeast(k, "smtp.max_connections", s.MaxConnections, 1)
	atLeast(k, "smtp.max_connections_per_ip", s.MaxConnectionsPerIP, 1)
	atLeast(k, "smtp.max_queue", s.MaxQueue, 1)
	k.positive("smtp.read_timeout", s.ReadTimeout)
	k.positive("smtp.write_timeout", s.WriteTimeout)
	seen := map[string]string{}
	for i := range s.Listeners {
		k.listener(fmt.Sprintf("smtp.listener[%d]", i), &s.Listeners[i], s, seen)
	}
	if (s.TLS.CertFile == "") != (s.TLS.KeyFile == "") {
		k.found.add("smtp.tls", "has only one of cert_file and key_file: give both")
	}
}

func (k *checker) listener(path string, l *ListenerConfig, s *SMTPConfig, seen map[string]string) {
	k.hostPort(path+".address", l.Address, seen)
	k.oneOf(path+".tls", l.TLS, "none", "starttls", "implicit")
	k.oneOf(path+".tls_min", l.TLSMin, "1.0", "1.1", "1.2", "1.3")
	k.oneOf(path+".auth", l.Auth, "required", "optional", "off")
	k.oneOf(path+".bare_newline", l.BareNewline, "reject", "normalise")
	for j, p := range l.ProxyProtocolFrom {
		if p.Bits() == 0 {
			k.found.add(fmt.Sprintf("%s.proxy_protocol_from[%d]", path, j), "%s would let anybody pretend to come from any address: name your load balancers", p)
		}
	}
	if (l.TLS == "starttls" || l.TLS == "implicit") && s.TLS.CertFile == "" {
		k.found.add(path+".tls", "%q needs smtp.tls.cert_file and smtp.tls.key_file", l.TLS)
	}
	if l.Auth == "required" && l.TLS == "none" && !l.InsecureAuth {
		k.found.add(path+".auth", `"required", but without TLS nobody can log in: set tls, or insecure_auth = true on a trusted wire`)
	}
}

// rights checks who may send: accounts and networks.
func (k *checker) rights(c *Config) {
	users := map[string]string{}
	for i := range c.SMTP.Accounts {
		a, path := &c.SMTP.Accounts[i], fmt.Sprintf("smtp.account[%d]", i)
		k.unique(path+".username", strings.ToLower(a.Username), users)
		k.hash(path+".password_hash", a.PasswordHash)
		k.right(c, path, a.SendAs, a.Lists, a.Relay, a.Priority, a.RewriteFrom)
		k.oneOf(path+".language", a.Language, "ko", "en", "")
		k.limits(c, path, a.PerMinute, a.PerDay)
		k.lane(path+".lane", a.Lane, c)
	}
	cidrs := map[string]string{}
	for i := range c.SMTP.Networks {
		n, path := &c.SMTP.Networks[i], fmt.Sprintf("smtp.network[%d]", i)
		if !n.CIDR.IsValid() {
			k.found.add(path+".cidr", `is missing: a network such as "10.0.0.0/8"`)
		} else {
			k.unique(path+".cidr", networkKey(n), cidrs)
		}
		k.right(c, path, n.SendAs, n.Lists, n.Relay, n.Priority, n.RewriteFrom)
		k.oneOf(path+".language", n.Language, "ko", "en", "")
		k.limits(c, path, n.PerMinute, n.PerDay)
		k.lane(path+".lane", n.Lane, c)
		for j, d := range n.Tenants {
			k.domain(fmt.Sprintf("%s.tenants[%d]", path, j), d)
		}
		k.certNames(path, n, &c.SMTP)
		if open := openListener(&c.SMTP); n.Relay && n.CIDR.IsValid() && n.CIDR.Addr().IsLoopback() && !n.TrustLoopback && open != "" {
			k.found.add(path+".trust_loopback", "a loopback network with relay, while a listener is open on %s: behind a proxy or NAT "+
				"strangers look like loopback and could send anything; set trust_loopback = true if there is none", open)
		}
	}
}

// limits holds that a day's count survives a restart: it is made again from what
// the spool still has.
func (k *checker) limits(c *Config, path string, perMinute, perDay int) {
	atLeast(k, path+".per_minute", perMinute, 0)
	atLeast(k, path+".per_day", perDay, 0)
	if perDay > 0 && c.Relay.Retention < 24*time.Hour {
		k.found.add(path+".per_day", "a limit for a day is counted from the messages of the last 24 hours, and relay.retention = %q drops them earlier: make it at least \"24h\"", c.Relay.Retention)
	}
}

// networkKey is the network's addresses, which may be there again for other
// certificates.
func networkKey(n *NetworkConfig) string {
	if len(n.CertNames) == 0 {
		return n.CIDR.String()
	}
	return n.CIDR.String() + " with cert_names " + strings.ToLower(strings.Join(n.CertNames, ", "))
}

// certNames checks the names of the client certificates that a network wants.
func (k *checker) certNames(path string, n *NetworkConfig, s *SMTPConfig) {
	tls := slices.ContainsFunc(s.Listeners, func(l ListenerConfig) bool { return l.TLS != "none" })
	if len(n.CertNames) > 0 && !tls {
		k.found.add(path+".cert_names", "no listener speaks TLS, so no client could show a certificate: set tls of an smtp.listener")
	}
	for j, name := range n.CertNames {
		if name == "" || strings.ContainsAny(name, " \t\r\n@/") {
			k.found.add(fmt.Sprintf("%s.cert_names[%d]", path, j), "%q is not a DNS name such as mail.example.com", name)
		}
	}
}

func (k *checker) right(c *Config, path string, sendAs, lists []string, relay bool, p mail.Priority, rewrite mail.Address) {
	if !relay && len(lists) == 0 {
		k.found.add(path, "gives no right: name lists, or set relay = true")
	}
	if len(sendAs) == 0 {
		k.found.add(path+".send_as", `is empty: name the sender addresses that are allowed, such as "*@example.com"`)
	}
	for j, pattern := range sendAs {
		k.pattern(fmt.Sprintf("%s.send_as[%d]", path, j), pattern)
	}
	for j, id := range lists {
		if id != "*" && !slices.ContainsFunc(c.Lists, func(l ListConfig) bool { return l.ID == id }) {
			k.found.add(fmt.Sprintf("%s.lists[%d]", path, j), "there is no list with the id %q%s", id, among(ids(c.Lists)))
		}
	}
	k.oneOf(path+".priority", string(p), string(mail.Bulk), string(mail.Transactional))
	k.address(path+".rewrite_from", rewrite, false)
}

func (k *checker) lists(c *Config) {
	known, addresses := map[string]string{}, map[string]string{}
	for i := range c.Lists {
		l, path := &c.Lists[i], fmt.Sprintf("list[%d]", i)
		k.id(path+".id", l.ID, known)
		k.address(path+".address", l.Address, true)
		if l.Address != "" {
			k.unique(path+".address", l.Address.Key(), addresses)
			if l.Address.Key() == c.OptOut.Mailto.Key() {
				k.found.add(path+".address", "is also optout.mailto: mail to it would unsubscribe; choose another")
			}
		}
		k.oneOf(path+".language", l.Language, "ko", "en")
		k.address(path+".owner", l.Owner, false)
		k.lane(path+".lane", l.Lane, c)
		k.oneOf(path+".missing", l.Missing, "hold", "skip")
		k.oneOf(path+".release", l.Release, "immediate", "sender", "approver")
		atLeast(k, path+".release_over", l.ReleaseOver, 0)
		for j, a := range l.Approvers {
			k.address(fmt.Sprintf("%s.approvers[%d]", path, j), a, true)
		}
		if l.Release == "approver" && len(l.Approvers) == 0 {
			k.found.add(path+".approvers", `is empty, so nobody could release: name approvers, or set release = "sender"`)
		}
		k.filter(path+".filter", l, c)
		k.identity(path, l)
	}
}

// filter leaves a field that the configuration does not name to [Config.checkFilters]:
// which fields there are is known when the directory has been seen.
func (k *checker) filter(path string, l *ListConfig, c *Config) {
	if k.fields == nil {
		return
	}
	if err := l.filterProblem(k.fields, c.Location()); err != nil && !errors.Is(err, expand.ErrUnknownField) {
		k.found.add(path, "%w", err)
	}
}

func (k *checker) identity(path string, l *ListConfig) {
	k.address(path+".identity.email", l.Identity.Email, false)
	if !l.Advertising {
		return
	}
	for _, key := range mail.Identity(l.Identity).Missing() {
		k.found.add(path+".identity."+key, "is empty, but advertising = true must show it")
	}
}

func (k *checker) people(c *Config) {
	k.oneOf("directory.driver", c.Directory.Driver, "embedded", "dynamodb")
	if d := &c.Directory.DynamoDB; c.Directory.Driver == "dynamodb" {
		k.present("directory.dynamodb.table", d.Table)
	}
	within(k, "directory.dynamodb.segments", c.Directory.DynamoDB.Segments, 1, 64)
	k.url("directory.dynamodb.endpoint", c.Directory.DynamoDB.Endpoint)
	t := &c.Templates
	k.oneOf("templates.driver", t.Driver, "files", "ses")
	k.oneOf("templates.images", t.Images, "inline", "link")
	atLeast(k, "templates.cache", t.Cache, 0)
	atLeast(k, "templates.host_images_over", t.HostImagesOver, 0)
	k.url("templates.host_base_url", t.HostBaseURL)
	k.url("templates.ses_endpoint", t.SESEndpoint)
	k.url("templates.dynamodb_endpoint", t.DynamoDBEndpoint)
	k.url("templates.s3_endpoint", t.S3Endpoint)
	if t.HostImagesOver > 0 {
		k.present("templates.host_bucket", t.HostBucket)
		k.present("templates.host_base_url", t.HostBaseURL)
	}
}

func (k *checker) relay(r *RelayConfig) {
	k.oneOf("relay.uncertain", r.Uncertain, "resend", "hold")
	k.positive("relay.uncertain_wait", r.UncertainWait)
	k.positive("relay.retention", r.Retention)
	within(k, "relay.retry.retries", r.Retry.Retries, 0, 100)
	k.positive("relay.retry.interval", r.Retry.Interval)
	within(k, "relay.retry.backoff", r.Retry.Backoff, 1, 100)
	k.positive("relay.retry_relayed.interval", r.RetryRelayed.Interval)
	within(k, "relay.retry_relayed.backoff", r.RetryRelayed.Backoff, 1, 100)
	atLeast(k, "relay.retry_relayed.max_interval", r.RetryRelayed.MaxInterval, r.RetryRelayed.Interval)
	k.positive("relay.retry_relayed.max_age", r.RetryRelayed.MaxAge)
	within(k, "relay.breaker.bounce_rate", r.Breaker.BounceRate, 0, 1)
	within(k, "relay.breaker.complaint_rate", r.Breaker.ComplaintRate, 0, 1)
	atLeast(k, "relay.breaker.bounces_min", r.Breaker.BouncesMin, 0)
	atLeast(k, "relay.breaker.complaints_min", r.Breaker.ComplaintsMin, 0)
}

func (k *checker) lanes(c *Config) {
	if len(c.Lanes) == 0 {
		k.found.add("lane", "there is none, so nothing could leave: add a [[lane]]")
	}
	known := map[string]string{}
	for i := range c.Lanes {
		l, path := &c.Lanes[i], fmt.Sprintf("lane[%d]", i)
		k.id(path+".name", l.Name, known)
		k.oneOf(path+".driver", l.Driver, "maildir", "smtp", "ses")
		within(k, path+".concurrency", l.Concurrency, 1, 10_000)
		within(k, path+".rate", l.Rate, 0, 1e6)
		within(k, path+".transactional_reserve", l.TransactionalReserve, 0, 0.9)
		k.oneOf(path+".smtp.return_path", l.SMTP.ReturnPath, "own", "sender")
		k.oneOf(path+".smtp.tls", l.SMTP.TLS, "none", "starttls", "implicit")
		switch l.Driver {
		case "maildir":
			k.present(path+".maildir.path", l.Maildir.Path)
		case "smtp":
			k.hostPort(path+".smtp.address", l.SMTP.Address, nil)
			for j, a := range l.SMTP.Fallback {
				k.hostPort(fmt.Sprintf("%s.smtp.fallback[%d]", path, j), a, nil)
			}
			if l.SMTP.Username == "" && l.SMTP.Password+Secret(l.SMTP.PasswordFile) != "" {
				k.found.add(path+".smtp.username", "is empty, but there is a password")
			}
		}
		k.url(path+".ses.endpoint", l.SES.Endpoint)
		k.url(path+".ses.events_queue", l.SES.EventsQueue)
		if t := l.SES.EventsTopic; t != "" && !topicARN.MatchString(t) {
			k.found.add(path+".ses.events_topic", "%q is not the ARN of an SNS topic, such as arn:aws:sns:ap-northeast-2:123456789012:postern-events", t)
		}
	}
}

var topicARN = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)

func (k *checker) dkim(c *Config) {
	known := map[string]string{}
	for i, d := range c.DKIM {
		path := fmt.Sprintf("dkim[%d]", i)
		k.lane(path+".lane", d.Lane, c)
		k.domain(path+".domain", d.Domain)
		k.unique(path+".domain", mail.Address("x@"+d.Domain).Domain(), known)
		if d.Sign {
			k.present(path+".key_file", d.KeyFile)
			k.domain(path+".selector", d.Selector)
		}
	}
}

// pages checks what this machine shows to people: notices, opt-out, admin.
func (k *checker) pages(c *Config) {
	k.address("notices.from", c.Notices.From, true)
	k.lane("notices.lane", c.Notices.Lane, c)
	k.address("notices.operator", c.Notices.Operator, false)
	if c.Notices.Operator != "" && c.automatic(c.Notices.Operator) {
		k.found.add("notices.operator", "%s is read by this gateway and by no person: name a mailbox of yours", c.Notices.Operator)
	}
	k.oneOf("notices.language", c.Notices.Language, "ko", "en")
	seen := map[string]string{}
	k.hostPort("optout.listen", c.OptOut.Listen, seen)
	k.present("optout.base_url", c.OptOut.BaseURL)
	k.url("optout.base_url", c.OptOut.BaseURL)
	k.public("optout.base_url", c.OptOut.BaseURL)
	k.address("optout.mailto", c.OptOut.Mailto, true)
	k.hostPort("admin.listen", c.Admin.Listen, seen)
	if (c.Admin.CertFile == "") != (c.Admin.KeyFile == "") {
		k.found.add("admin", "has only one of cert_file and key_file: give both")
	}
	if !isLoopback(c.Admin.Listen) && !c.Admin.BehindProxy && c.Admin.CertFile == "" {
		k.found.add("admin.listen", "%q is beyond loopback, where passwords would travel in clear: give cert_file and key_file, or set behind_proxy = true", c.Admin.Listen)
	}
	users := map[string]string{}
	for i, u := range c.Admin.Users {
		path := fmt.Sprintf("admin.user[%d]", i)
		k.unique(path+".username", strings.ToLower(u.Username), users)
		k.hash(path+".password_hash", u.PasswordHash)
		k.oneOf(path+".role", u.Role, "admin", "viewer")
	}
}
