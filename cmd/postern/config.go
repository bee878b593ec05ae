package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"

	"postern/mail"
)

// Config is config.toml: plain values, nothing opened, nothing resolved but the
// secrets. Keys that are absent have the values of [DefaultConfig]; an entry of
// an array table starts from its type's own defaults. Paths are relative to the
// working directory of the process, as everywhere in a shell.
type Config struct {
	Hostname  string                 `toml:"hostname"`
	DataDir   string                 `toml:"data_dir"`
	Timezone  string                 `toml:"timezone"` // IANA name
	Log       LogConfig              `toml:"log"`
	Fields    map[string]FieldConfig `toml:"fields"`
	SMTP      SMTPConfig             `toml:"smtp"`
	Lists     []ListConfig           `toml:"list"`
	Directory DirectoryConfig        `toml:"directory"`
	Templates TemplatesConfig        `toml:"templates"`
	Relay     RelayConfig            `toml:"relay"`
	Lanes     []LaneConfig           `toml:"lane"`
	DKIM      []DKIMConfig           `toml:"dkim"`
	Notices   NoticesConfig          `toml:"notices"`
	OptOut    OptOutConfig           `toml:"optout"`
	Admin     AdminConfig            `toml:"admin"`
	Sync      SyncConfig             `toml:"sync"`
}

type LogConfig struct {
	Level  string `toml:"level"`  // debug, info, warn, error
	Format string `toml:"format"` // text, json
}

// FieldConfig is one attribute of a user that placeholders and filters may name.
type FieldConfig struct {
	Type  string   `toml:"type"` // string, number, bool
	Alias []string `toml:"alias"`
}

type SMTPConfig struct {
	MaxMessageBytes     int64            `toml:"max_message_bytes"`
	MaxRecipients       int              `toml:"max_recipients"`
	MaxConnections      int              `toml:"max_connections"`
	MaxConnectionsPerIP int              `toml:"max_connections_per_ip"`
	MaxQueue            int              `toml:"max_queue"` // copies
	ReadTimeout         time.Duration    `toml:"read_timeout"`
	WriteTimeout        time.Duration    `toml:"write_timeout"`
	Listeners           []ListenerConfig `toml:"listener"`
	TLS                 SMTPTLSConfig    `toml:"tls"`
	Accounts            []AccountConfig  `toml:"account"`
	Networks            []NetworkConfig  `toml:"network"`
}

type ListenerConfig struct {
	Address           string         `toml:"address"` // host:port
	TLS               string         `toml:"tls"`     // none, starttls, implicit
	TLSMin            string         `toml:"tls_min"` // 1.0, 1.1, 1.2, 1.3
	Auth              string         `toml:"auth"`    // required, optional, off
	InsecureAuth      bool           `toml:"insecure_auth"`
	BareNewline       string         `toml:"bare_newline"` // reject, normalise
	ProxyProtocolFrom []netip.Prefix `toml:"proxy_protocol_from"`
}

type SMTPTLSConfig struct {
	CertFile     string `toml:"cert_file"`
	KeyFile      string `toml:"key_file"`
	ClientCAFile string `toml:"client_ca_file"` // authorities of network.cert_names; "": the system's
}

type AccountConfig struct {
	Username         string        `toml:"username"`
	PasswordHash     Secret        `toml:"password_hash"` // bcrypt; empty never logs in
	PasswordHashFile string        `toml:"password_hash_file,omitempty"`
	SendAs           []string      `toml:"send_as"` // patterns of mail.MatchAddress
	Lists            []string      `toml:"lists"`   // list ids, or "*"
	Relay            bool          `toml:"relay"`
	Priority         mail.Priority `toml:"priority"`
	Lane             string        `toml:"lane"`       // of its ordinary mail; "": by From, else the first
	PerMinute        int           `toml:"per_minute"` // recipients; 0: no limit
	PerDay           int           `toml:"per_day"`
	Language         string        `toml:"language"` // of notices to its senders: ko, en; "": as in notices
	RewriteFrom      mail.Address  `toml:"rewrite_from"`
}

type NetworkConfig struct {
	CIDR          netip.Prefix  `toml:"cidr"`
	TrustLoopback bool          `toml:"trust_loopback"`
	CertNames     []string      `toml:"cert_names"`
	Tenants       []string      `toml:"tenants"` // domains in X-OriginatorOrg
	SendAs        []string      `toml:"send_as"`
	Relay         bool          `toml:"relay"`
	Lists         []string      `toml:"lists"`
	Priority      mail.Priority `toml:"priority"`
	Lane          string        `toml:"lane"`       // as of an account
	PerMinute     int           `toml:"per_minute"` // recipients of all its clients together; 0: no limit
	PerDay        int           `toml:"per_day"`
	Language      string        `toml:"language"` // as of an account
	RewriteFrom   mail.Address  `toml:"rewrite_from"`
}

type ListConfig struct {
	ID          string         `toml:"id"`
	Address     mail.Address   `toml:"address"`
	Name        string         `toml:"name"`
	Language    string         `toml:"language"` // ko, en
	Owner       mail.Address   `toml:"owner"`
	Lane        string         `toml:"lane"` // "": the submitter's, else by From, else the first
	Filter      string         `toml:"filter"`
	Missing     string         `toml:"missing"` // hold, skip
	Release     string         `toml:"release"` // immediate, sender, approver
	ReleaseOver int            `toml:"release_over"`
	Approvers   []mail.Address `toml:"approvers"`
	Template    string         `toml:"template"`
	Advertising bool           `toml:"advertising"`
	Listed      bool           `toml:"listed"` // on the preferences page
	Identity    IdentityConfig `toml:"identity"`
}

// IdentityConfig is who advertises, as Korean law wants it shown.
type IdentityConfig struct {
	Company string       `toml:"company"`
	Address string       `toml:"address"`
	Phone   string       `toml:"phone"`
	Email   mail.Address `toml:"email"`
}

type DirectoryConfig struct {
	Driver   string         `toml:"driver"` // embedded, dynamodb
	DynamoDB DynamoDBConfig `toml:"dynamodb"`
}

type DynamoDBConfig struct {
	Table    string `toml:"table"`
	Region   string `toml:"region"`
	Endpoint string `toml:"endpoint"`
	Segments int    `toml:"segments"`
}

type TemplatesConfig struct {
	Driver         string        `toml:"driver"` // files, ses
	Path           string        `toml:"path"`
	Table          string        `toml:"table"`
	Images         string        `toml:"images"` // inline, link
	Cache          time.Duration `toml:"cache"`
	HostImagesOver int64         `toml:"host_images_over"` // bytes; 0: never
	HostBucket     string        `toml:"host_bucket"`
	HostBaseURL    string        `toml:"host_base_url"`
	Footers        string        `toml:"footers"` // folder; "": the built-in ones

	Region           string `toml:"region"` // "": that of the first ses lane, of the directory, of the environment
	SESEndpoint      string `toml:"ses_endpoint"`
	DynamoDBEndpoint string `toml:"dynamodb_endpoint"`
	S3Endpoint       string `toml:"s3_endpoint"`
}

type RelayConfig struct {
	Uncertain     string             `toml:"uncertain"` // resend, hold
	UncertainWait time.Duration      `toml:"uncertain_wait"`
	Retention     time.Duration      `toml:"retention"`
	Retry         RetryConfig        `toml:"retry"`
	RetryRelayed  RetryRelayedConfig `toml:"retry_relayed"`
	Breaker       BreakerConfig      `toml:"breaker"`
}

type RetryConfig struct {
	Retries  int           `toml:"retries"` // after the first attempt
	Interval time.Duration `toml:"interval"`
	Backoff  float64       `toml:"backoff"`
}

type RetryRelayedConfig struct {
	Interval    time.Duration `toml:"interval"`
	Backoff     float64       `toml:"backoff"`
	MaxInterval time.Duration `toml:"max_interval"`
	MaxAge      time.Duration `toml:"max_age"`
}

type BreakerConfig struct {
	BounceRate    float64 `toml:"bounce_rate"`
	BouncesMin    int     `toml:"bounces_min"`
	ComplaintRate float64 `toml:"complaint_rate"`
	ComplaintsMin int     `toml:"complaints_min"`
}

type LaneConfig struct {
	Name                 string            `toml:"name"`
	Driver               string            `toml:"driver"` // maildir, smtp, ses
	Concurrency          int               `toml:"concurrency"`
	Rate                 float64           `toml:"rate"` // copies a second; 0: see config.toml
	TransactionalReserve float64           `toml:"transactional_reserve"`
	Maildir              LaneMaildirConfig `toml:"maildir"`
	SMTP                 LaneSMTPConfig    `toml:"smtp"`
	SES                  LaneSESConfig     `toml:"ses"`
}

type LaneMaildirConfig struct {
	Path string `toml:"path"`
}

type LaneSMTPConfig struct {
	Address      string   `toml:"address"`
	Fallback     []string `toml:"fallback"` // host:port, in order
	TLS          string   `toml:"tls"`      // none, starttls, implicit
	CAFile       string   `toml:"ca_file"`  // authorities of the upstream's certificate; "": the system's
	Username     string   `toml:"username"`
	Password     Secret   `toml:"password"`
	PasswordFile string   `toml:"password_file,omitempty"`
	ReturnPath   string   `toml:"return_path"` // own, sender
}

type LaneSESConfig struct {
	Region           string `toml:"region"`
	Endpoint         string `toml:"endpoint"`
	ConfigurationSet string `toml:"configuration_set"`
	EventsQueue      string `toml:"events_queue"` // URL of an SQS queue
	EventsTopic      string `toml:"events_topic"` // ARN of an SNS topic
}

type DKIMConfig struct {
	Domain   string `toml:"domain"`
	Selector string `toml:"selector"`
	KeyFile  string `toml:"key_file"`
	Sign     bool   `toml:"sign"` // false: the lane's upstream signs for this domain
	Lane     string `toml:"lane"` // of mail with a From of this domain, unless list or submitter have one
}

type NoticesConfig struct {
	From     mail.Address `toml:"from"`
	Lane     string       `toml:"lane"`
	Language string       `toml:"language"` // ko, en
	Operator mail.Address `toml:"operator"`
}

type OptOutConfig struct {
	Listen         string         `toml:"listen"`
	BaseURL        string         `toml:"base_url"`
	Mailto         mail.Address   `toml:"mailto"`
	Pages          string         `toml:"pages"`         // folder of page templates; "": the built-in ones
	Letters        string         `toml:"letters"`       // folder of texts of mails to recipients; "": the built-in ones
	ConsentField   string         `toml:"consent_field"` // attribute of a user that holds the time of consent; "": none
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`
}

type AdminConfig struct {
	Listen      string            `toml:"listen"`
	BehindProxy bool              `toml:"behind_proxy"`
	CertFile    string            `toml:"cert_file"`
	KeyFile     string            `toml:"key_file"`
	Users       []AdminUserConfig `toml:"user"`
}

type AdminUserConfig struct {
	Username         string `toml:"username"`
	PasswordHash     Secret `toml:"password_hash"`
	PasswordHashFile string `toml:"password_hash_file,omitempty"`
	Role             string `toml:"role"` // admin, viewer
}

type SyncConfig struct {
	DSN      Secret            `toml:"dsn"`
	DSNFile  string            `toml:"dsn_file,omitempty"`
	Table    string            `toml:"table"`
	Key      string            `toml:"key"`
	Updated  string            `toml:"updated"`
	Deleted  string            `toml:"deleted"`
	Consent  string            `toml:"consent"`
	Columns  map[string]string `toml:"columns"` // attribute to column
	Interval time.Duration     `toml:"interval"`
	Overlap  time.Duration     `toml:"overlap"` // how far before the last change a pass begins
	Chunk    int               `toml:"chunk"`
	S3Bucket string            `toml:"s3_bucket"`
	Tripwire float64           `toml:"tripwire"`
	CAFile   string            `toml:"ca_file"` // authorities of the server's certificate; "": as the DSN says
}

// on says that there is a MySQL to sync from; the secret file may not have been read.
func (s *SyncConfig) on() bool { return s.DSN != "" || s.DSNFile != "" }

// Load reads and checks a configuration file, with the secret files, keys and
// certificates that it names. The error names every problem at once, one a line,
// each beginning with its key path.
func Load(path string) (*Config, error) {
	cfg, found, err := read(path)
	if err != nil {
		return nil, err
	}
	cfg.readSecrets(found)
	cfg.check(found)
	cfg.checkFiles(found)
	return cfg, found.under(path)
}

// LoadOffline is Load for commands that only touch data_dir: files which those
// do not need (secrets, keys, certificates) are not read, and may be missing.
func LoadOffline(path string) (*Config, error) {
	cfg, found, err := read(path)
	if err != nil {
		return nil, err
	}
	cfg.check(found)
	return cfg, found.under(path)
}

// ParseConfig is Load for a text already in memory.
func ParseConfig(text string) (*Config, error) {
	cfg, found, err := decodeConfig(text)
	if err != nil {
		return nil, err
	}
	cfg.readSecrets(found)
	cfg.check(found)
	cfg.checkFiles(found)
	return cfg, found.err()
}

// Validate checks the values and the files they name, for a Config that was not
// loaded. The error joins every problem, each beginning with its key path.
func (c *Config) Validate() error {
	found := &problems{}
	c.check(found)
	c.checkFiles(found)
	return found.err()
}

// ControlSocket is where a running gateway takes orders from this machine.
func (c *Config) ControlSocket() string { return filepath.Join(c.DataDir, "control.sock") }

// Location is the time zone in which times are shown; UTC when it is unknown,
// which Validate refuses.
func (c *Config) Location() *time.Location {
	if l, err := time.LoadLocation(c.Timezone); err == nil {
		return l
	}
	return time.UTC
}

// String is the effective configuration as TOML, secrets hidden.
func (c *Config) String() string {
	text, err := toml.Marshal(*c)
	if err != nil { // only values that TOML cannot hold, and Config has none
		return fmt.Sprintf("# the configuration cannot be printed: %v\n", err)
	}
	return string(text)
}

func read(path string) (*Config, *problems, error) {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil, fmt.Errorf("there is no configuration file %s: name one with --config", path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	cfg, found, err := decodeConfig(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, found, nil
}

// decodeConfig reads text over the defaults. The error is of syntax; what is
// well-formed but does not fit is in the problems.
func decodeConfig(text string) (*Config, *problems, error) {
	var raw map[string]any
	if _, err := toml.Decode(text, &raw); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, nil, fmt.Errorf("line %d is not TOML: %s", syntax.Position.Line, syntax.Message)
		}
		return nil, nil, fmt.Errorf("not TOML: %w", err)
	}
	cfg, found := DefaultConfig(), &problems{}
	decodeTable(raw, cfg, found)
	cfg.Notices.From = cfg.noticesFrom()
	return cfg, found, nil
}
