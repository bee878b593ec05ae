package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/admin"
	"postern/directory"
	"postern/directory/dynamodb"
	"postern/directory/embedded"
	"postern/expand"
	"postern/mail"
	"postern/relay"
	"postern/relay/maildir"
	"postern/relay/ses"
	"postern/relay/sign"
	"postern/relay/smarthost"
	"postern/smtpd"
	"postern/spool"
)

// This file turns the configuration into what each package wants.

func openSpool(cfg *Config, log *slog.Logger) (*spool.Spool, error) {
	return spool.Open(cfg.DataDir, spool.Options{Log: log, LaneOf: cfg.laneOf, UncertainDue: cfg.uncertainDue})
}

func openIndex(cfg *Config) (*directory.Index, error) {
	return directory.OpenIndex(filepath.Join(cfg.DataDir, "index.db"))
}

func openStore(cfg *Config, log *slog.Logger) (directory.Store, error) {
	if cfg.Directory.Driver == "dynamodb" {
		d := cfg.Directory.DynamoDB
		return dynamodb.New(context.Background(), dynamodb.Config{
			Table: d.Table, Region: d.Region, Endpoint: d.Endpoint, Segments: d.Segments, Fields: cfg.fieldTypes(), Log: log,
		})
	}
	return embedded.Open(filepath.Join(cfg.DataDir, "directory.db"))
}

// location is the configured time zone, which Validate has found to exist.
func (c *Config) location() *time.Location {
	l, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return time.Local
	}
	return l
}

// laneOf is the live lane of a message: a notice's own; else the list's, the submitter's,
// that of the From domain. The one of its acceptance counts where the list is gone from the
// configuration, and the first where none is named or the name is gone.
func (c *Config) laneOf(m *mail.Message) string {
	for _, name := range c.lanesOf(m) {
		for i := range c.Lanes {
			if name != "" && c.Lanes[i].Name == name {
				return name
			}
		}
	}
	return c.Lanes[0].Name
}

// lanesOf names the lanes of a message, the first before the others; some may be "".
func (c *Config) lanesOf(m *mail.Message) []string {
	if m.Notice != "" {
		return []string{m.Lane}
	}
	names := make([]string, 0, 3)
	if m.List != nil {
		list := m.Lane
		for i := range c.Lists {
			if c.Lists[i].ID == m.List.ID {
				list = c.Lists[i].Lane
			}
		}
		names = append(names, list)
	}
	for i := range c.SMTP.Accounts {
		if a := &c.SMTP.Accounts[i]; a.Username == m.Submitter {
			names = append(names, a.Lane)
		}
	}
	for i := range c.SMTP.Networks {
		n := smtpd.Network{CIDR: c.SMTP.Networks[i].CIDR, CertNames: c.SMTP.Networks[i].CertNames}
		if n.SubmitterName() == m.Submitter {
			names = append(names, c.SMTP.Networks[i].Lane)
		}
	}
	var from *DKIMConfig // the nearest domain
	for i := range c.DKIM {
		if d := &c.DKIM[i]; signsFor(d.Domain, m.HeaderFrom) && (from == nil || len(d.Domain) > len(from.Domain)) {
			from = d
		}
	}
	if from != nil {
		names = append(names, from.Lane)
	}
	return names
}

// uncertainDue says when a copy is sent again whose attempt a crash cut short: at
// once where a repetition leaves one mail, else by policy.
func (c *Config) uncertainDue(m *mail.Message, now time.Time) time.Time {
	name := c.laneOf(m)
	for _, l := range c.Lanes {
		if l.Name == name && l.Driver == "maildir" {
			return now
		}
	}
	if u := c.unknowns(); u.Resend {
		return now.Add(u.Wait)
	}
	return time.Time{}
}

func (c *Config) unknowns() relay.Unknowns {
	return relay.Unknowns{Resend: c.Relay.Uncertain == "resend", Wait: c.Relay.UncertainWait}
}

func (c *Config) listSchedule() relay.Schedule {
	r := c.Relay.Retry
	return relay.Schedule{Interval: r.Interval, Backoff: r.Backoff, Retries: r.Retries}
}

func (c *Config) ordinarySchedule() relay.Schedule {
	r := c.Relay.RetryRelayed
	return relay.Schedule{Interval: r.Interval, Backoff: r.Backoff, MaxInterval: r.MaxInterval, MaxAge: r.MaxAge}
}

func (c *Config) signingKeys() (*sign.Keys, error) {
	var keys []sign.KeyConfig
	for _, k := range c.DKIM {
		keys = append(keys, sign.KeyConfig{Domain: k.Domain, Selector: k.Selector, KeyFile: k.KeyFile, Sign: k.Sign})
	}
	return sign.Open(keys)
}

// fields is the vocabulary: what the configuration says, what was seen before.
func (c *Config) fields(index *directory.Index) (*expand.Fields, error) {
	return c.vocabulary(index.Fields())
}

func (c *Config) vocabulary(learnt map[string]string) (*expand.Fields, error) {
	defs := map[string]expand.FieldDef{}
	for name, f := range c.Fields {
		defs[name] = expand.FieldDef{Type: f.Type, Alias: f.Alias}
	}
	fields, err := expand.NewFields(defs, learnt)
	if err == nil && c.Sync.on() {
		for _, attribute := range slices.Sorted(maps.Keys(c.Sync.Columns)) { // their types are known when MySQL has been asked
			if !directory.Reserved(attribute) {
				fields.Learn(attribute, expand.TypeString)
			}
		}
	}
	return fields, err
}

// fieldTypes are the fields of the configuration.
func (c *Config) fieldTypes() map[string]string {
	types := map[string]string{}
	for name, f := range c.Fields {
		types[name] = cmp.Or(f.Type, expand.TypeString)
	}
	return types
}

// vocabularyOf tells the API what fields there are: for imports, exports and the check of
// users.
func (c *Config) vocabularyOf(api *admin.API, fields *expand.Fields) {
	api.Types = c.fieldTypes()
	api.Resolve = func(heading string) (string, bool) {
		field, ok := fields.Resolve(heading)
		return field, ok && (field == expand.FieldEmail || !expand.IsBuiltIn(field))
	}
}

// checkFilters compiles every list's filter, so that a mistake stops the start.
func (c *Config) checkFilters(fields *expand.Fields) error {
	var errs []error
	for i := range c.Lists {
		if err := c.Lists[i].filterProblem(fields, c.Location()); err != nil {
			errs = append(errs, fmt.Errorf("list[%d].filter: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// filterProblem says what is wrong with the list's filter; nil: nothing.
func (l *ListConfig) filterProblem(fields *expand.Fields, loc *time.Location) error {
	_, err := expand.CompileFilter(l.Filter, fields, loc)
	switch {
	case errors.Is(err, expand.ErrUnknownField):
		return fmt.Errorf("of the list %q, %w (a field that no import has brought must stand in [fields])", l.ID, err)
	case err != nil:
		return fmt.Errorf("of the list %q, %w", l.ID, err)
	}
	return nil
}

// footers reads the templates of footers, so that a mistake stops the start.
func (c *Config) footers(fields *expand.Fields) (*expand.Footers, error) {
	var lists []mail.ListPolicy
	for i := range c.Lists {
		lists = append(lists, c.Lists[i].policy())
	}
	return expand.LoadFooters(c.Templates.Footers, fields, lists)
}

// warnOfRisks says what of the configuration works and may be regretted.
func (c *Config) warnOfRisks(log *slog.Logger) {
	for i, l := range c.Lanes {
		if l.Driver == "ses" && l.SES.EventsQueue != "" && c.Relay.UncertainWait < 2*time.Minute {
			log.Warn("relay.uncertain_wait is shorter than the two minutes for which SQS hides what a gateway that was killed had in hand: a copy may be sent twice before its event comes")
		}
		if l.Driver == "ses" && l.SES.EventsQueue == "" && l.SES.EventsTopic == "" {
			log.Warn(fmt.Sprintf("lane[%d].ses has neither events_queue nor events_topic: bounces and complaints are not seen, and copies whose answer was lost may be sent twice; docs/ses.md says how to set one up", i))
		}
	}
}

func (c *Config) lanes(log *slog.Logger) ([]relay.LaneConfig, error) {
	var lanes []relay.LaneConfig
	for i, l := range c.Lanes {
		s, err := c.sender(l, log)
		if err != nil {
			return nil, fmt.Errorf("lane[%d].%s: %w", i, l.Driver, err)
		}
		lane := relay.LaneConfig{Name: l.Name, Driver: l.Driver, Sender: s, Concurrency: l.Concurrency, Rate: l.Rate, Reserve: l.TransactionalReserve}
		if s, asks := s.(*ses.Sender); asks {
			lane.Account = s.Account
		}
		lanes = append(lanes, lane)
	}
	return lanes, nil
}

func (c *Config) sender(l LaneConfig, log *slog.Logger) (relay.Sender, error) {
	switch l.Driver {
	case "smtp":
		upstream, err := authorities(l.SMTP.CAFile)
		if err != nil {
			return nil, err
		}
		return smarthost.New(smarthost.Config{
			Address: l.SMTP.Address, Fallback: l.SMTP.Fallback, TLS: l.SMTP.TLS, Username: l.SMTP.Username, Password: string(l.SMTP.Password),
			Hostname: c.Hostname, MaxConns: l.Concurrency, TLSConfig: upstream, Log: log,
		})
	case "ses":
		return ses.New(context.Background(), ses.Config{
			Region: l.SES.Region, Endpoint: l.SES.Endpoint, ConfigurationSet: l.SES.ConfigurationSet, Concurrency: l.Concurrency,
		})
	}
	return maildir.New(l.Maildir.Path)
}

func (c *Config) smtp() (smtpd.Config, error) {
	s := c.SMTP
	out := smtpd.Config{
		Hostname: c.Hostname, MaxMessageBytes: s.MaxMessageBytes, MaxRecipients: s.MaxRecipients,
		MaxConnections: s.MaxConnections, MaxConnectionsPerIP: s.MaxConnectionsPerIP,
		ReadTimeout: s.ReadTimeout, WriteTimeout: s.WriteTimeout,
	}
	for _, l := range s.Listeners {
		out.Listeners = append(out.Listeners, smtpd.Listener{
			Address: l.Address, TLS: l.TLS, TLSMin: l.TLSMin, Auth: l.Auth, InsecureAuth: l.InsecureAuth,
			BareNewline: l.BareNewline, ProxyProtocolFrom: l.ProxyProtocolFrom,
		})
	}
	for _, a := range s.Accounts {
		out.Accounts = append(out.Accounts, smtpd.Account{
			Username: a.Username, PasswordHash: string(a.PasswordHash), SendAs: a.SendAs, Lists: a.Lists, Relay: a.Relay,
			Priority: a.Priority, PerMinute: a.PerMinute, PerDay: a.PerDay, Language: a.Language, RewriteFrom: a.RewriteFrom,
		})
	}
	for _, n := range s.Networks {
		out.Networks = append(out.Networks, smtpd.Network{
			CIDR: n.CIDR, TrustLoopback: n.TrustLoopback, CertNames: n.CertNames, Tenants: n.Tenants, SendAs: n.SendAs, Lists: n.Lists,
			Relay: n.Relay, Priority: n.Priority, PerMinute: n.PerMinute, PerDay: n.PerDay, Language: n.Language,
			RewriteFrom: n.RewriteFrom,
		})
	}
	return out, nil
}

// policy is what is pinned of a list when a message for it is accepted.
func (l *ListConfig) policy() mail.ListPolicy {
	p := mail.ListPolicy{
		ID: l.ID, Address: l.Address, Name: l.Name, Language: l.Language, Owner: l.Owner, Filter: l.Filter,
		Missing: l.Missing, Release: l.Release, ReleaseOver: l.ReleaseOver, Advertising: l.Advertising,
		Identity: mail.Identity(l.Identity),
	}
	for _, a := range l.Approvers {
		p.Approvers = append(p.Approvers, string(a))
	}
	return p
}

// blocked asks the local index just before a copy is sent.
func blocked(index *directory.Index) func(mail.Address, string) (mail.State, string, bool) {
	return func(to mail.Address, list string) (mail.State, string, bool) {
		b, yes := index.Blocked(to, list)
		if !yes {
			return 0, "", false
		}
		if b.Kind == "suppressed" {
			return mail.Suppressed, b.Reason, true
		}
		return mail.Unsubscribed, b.Reason, true
	}
}

// learn remembers a field seen in the directory; a failure costs nothing but the
// memory.
func learn(index *directory.Index, log *slog.Logger, name, typ string) {
	if err := index.Learn(map[string]string{name: typ}); err != nil {
		log.Warn("a new field could not be remembered", "field", name, "error", err)
	}
}

// newAPI is the administrators' JSON API over these files.
func newAPI(s *spool.Spool, store directory.Store, index *directory.Index,
	render func(*mail.Message, *mail.Copy) (mail.Content, error), log *slog.Logger) *admin.API {
	return &admin.API{Spool: s, Users: store, Index: index, Render: render, Learn: index.Learn, Fields: index.Fields, Log: log}
}

// adminPages are the pages over api; url says where they are, once they are open.
func (c *Config) adminPages(api *admin.API, url func() string) *admin.Pages {
	p := &admin.Pages{
		API: api, URL: url, BehindProxy: c.Admin.BehindProxy, Secure: c.Admin.CertFile != "" || c.Admin.BehindProxy,
		Location: c.location(), Loopback: !c.Admin.BehindProxy && isLoopback(c.Admin.Listen),
	}
	for _, u := range c.Admin.Users {
		p.Users = append(p.Users, admin.User{Name: u.Username, PasswordHash: string(u.PasswordHash), Admin: u.Role == "admin"})
	}
	return p
}

// freeMail is where nobody but the provider can sign: a From there fails DMARC
// on every copy.
func freeMail(domain string) bool {
	for _, d := range strings.Fields("gmail.com googlemail.com naver.com yahoo.com yahoo.co.kr daum.net hanmail.net nate.com kakao.com outlook.com hotmail.com live.com icloud.com") {
		if d == domain {
			return true
		}
	}
	return false
}
