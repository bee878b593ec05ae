package main

import (
	"net/netip"
	"time"

	"postern/mail"
)

// DefaultConfig is the configuration of an empty file: the plain tables as the
// config.toml at the project's root shows them, and no array table.
func DefaultConfig() *Config {
	return &Config{
		Hostname: "localhost",
		DataDir:  "data",
		Timezone: "Asia/Seoul",
		Log:      LogConfig{Level: "info", Format: "text"},
		Fields: map[string]FieldConfig{
			"Name":       {Type: "string", Alias: []string{"이름", "성함"}},
			"Gender":     {Type: "string", Alias: []string{}},
			"CreateTime": {Type: "number", Alias: []string{}},
		},
		SMTP:      defaultSMTP(),
		Lists:     []ListConfig{},
		Directory: DirectoryConfig{Driver: "embedded", DynamoDB: DynamoDBConfig{Table: "User", Segments: 1}},
		Templates: TemplatesConfig{Driver: "files", Path: "templates", Table: "ImageAndTemplate", Images: "inline", Cache: 10 * time.Minute},
		Relay:     defaultRelay(),
		Lanes:     []LaneConfig{},
		DKIM:      []DKIMConfig{},
		Notices:   NoticesConfig{From: "postmaster@example.com", Language: "ko"},
		OptOut: OptOutConfig{Listen: "127.0.0.1:8081", BaseURL: "http://127.0.0.1:8081",
			Mailto: "unsubscribe@lists.example.com", TrustedProxies: []netip.Prefix{}},
		Admin: AdminConfig{Listen: "127.0.0.1:8080", Users: []AdminUserConfig{}},
		Sync: SyncConfig{Table: "users", Key: "id", Updated: "update_at", Interval: time.Hour, Overlap: 10 * time.Minute, Chunk: 1000, Tripwire: 0.2,
			Columns: map[string]string{"Email": "email", "Name": "name", "Gender": "gender",
				"CreateTime": "created_at", "SubscriptionStatus": "subscribed"}},
	}
}

func defaultSMTP() SMTPConfig {
	return SMTPConfig{
		MaxMessageBytes:     40 << 20,
		MaxRecipients:       100,
		MaxConnections:      1000,
		MaxConnectionsPerIP: 50,
		MaxQueue:            2_000_000,
		ReadTimeout:         5 * time.Minute,
		WriteTimeout:        time.Minute,
		Listeners:           []ListenerConfig{},
		Accounts:            []AccountConfig{},
		Networks:            []NetworkConfig{},
	}
}

func defaultRelay() RelayConfig {
	return RelayConfig{
		Uncertain:     "resend",
		UncertainWait: 5 * time.Minute,
		Retention:     720 * time.Hour,
		Retry:         RetryConfig{Retries: 3, Interval: time.Second, Backoff: 2},
		RetryRelayed:  RetryRelayedConfig{Interval: time.Minute, Backoff: 2, MaxInterval: time.Hour, MaxAge: 48 * time.Hour},
		Breaker:       BreakerConfig{BounceRate: 0.05, BouncesMin: 20, ComplaintRate: 0.003, ComplaintsMin: 3},
	}
}

// What an entry of an array table starts from. What names the entry (an id, an
// address, a domain) and what gives a right (send_as, lists, relay) has no
// default: a line that was forgotten must not open anything.

func (f *FieldConfig) setDefaults() { *f = FieldConfig{Type: "string", Alias: []string{}} }

func (l *ListenerConfig) setDefaults() {
	*l = ListenerConfig{TLS: "none", TLSMin: "1.2", Auth: "optional", BareNewline: "normalise", ProxyProtocolFrom: []netip.Prefix{}}
}

func (a *AccountConfig) setDefaults() {
	*a = AccountConfig{SendAs: []string{}, Lists: []string{}, Priority: mail.Bulk}
}

func (n *NetworkConfig) setDefaults() {
	*n = NetworkConfig{CertNames: []string{}, Tenants: []string{}, SendAs: []string{}, Lists: []string{}, Priority: mail.Transactional}
}

func (l *ListConfig) setDefaults() {
	*l = ListConfig{Language: "ko", Missing: "hold", Release: "immediate", Approvers: []mail.Address{}, Listed: true}
}

func (l *LaneConfig) setDefaults() {
	*l = LaneConfig{Concurrency: 10, TransactionalReserve: 0.1,
		Maildir: LaneMaildirConfig{Path: "data/outbox"},
		SMTP:    LaneSMTPConfig{Address: "127.0.0.1:25", Fallback: []string{}, TLS: "starttls", ReturnPath: "own"}}
}

func (d *DKIMConfig) setDefaults() { *d = DKIMConfig{Selector: "postern", Sign: true} }

func (u *AdminUserConfig) setDefaults() { *u = AdminUserConfig{Role: "admin"} }
