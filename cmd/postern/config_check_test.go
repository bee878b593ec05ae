package main_test

import (
	"os"
	"strings"
	"testing"

	postern "postern/cmd/postern"
)

// TestBadConfig: what is wrong, and the sentences that the administrator reads.
func TestBadConfig(t *testing.T) {
	t.Chdir(t.TempDir())
	writeKey(t, "key.pem")
	if err := os.WriteFile("not-a-key.pem", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	promo := "[[list]]\nid = \"promo\"\naddress = \"promo@lists.example.com\"\n"
	for _, c := range []struct{ name, text, want string }{
		{"nothing wrong", working, ""},
		{"empty file", "", "lane: there is none, so nothing could leave: add a [[lane]]"},
		{"no TOML", "a = \n", `line 1 is not TOML: expected value but found '\n' instead`},
		{"no TOML, a key twice", "data_dir = \"a\"\ndata_dir = \"b\"\n", `line 2 is not TOML: Key 'data_dir' has already been defined.`},

		{"unknown keys, with the nearest", working + "[smtp]\nmax_recipient = 3\n[[smtp.listener]]\naddress = \"127.0.0.1:25\"\nmax_connections = 3\nqqqq = 1\n[Log]\n[lognotes]\nx=1\n",
			`Log: unknown key, did you mean log?
lognotes: unknown key
smtp.listener[0].max_connections: unknown key, did you mean smtp.max_connections?
smtp.listener[0].qqqq: unknown key
smtp.max_recipient: unknown key, did you mean smtp.max_recipients?`},
		{"types, all at once", `
hostname = 3
lane = "x"
log = true
list = [1]
fields = 1
[smtp]
max_recipients = "many"
max_queue = 1.5
read_timeout = 5
write_timeout = "5 minutes"
[smtp.tls]
cert_file = false
[relay.breaker]
bounce_rate = "5 %"
[optout]
trusted_proxies = "10.0.0.0/8"
[admin]
behind_proxy = "yes"
user = {}
[sync]
dsn = 4711
`, `admin.behind_proxy: "yes" is not true or false
admin.user: must be tables, each written [[admin.user]]
fields: 1 is not a table
hostname: 3 is not a text in quotes
lane: must be tables, each written [[lane]]
list[0]: 1 is not a table
log: true is not a table
optout.trusted_proxies: "10.0.0.0/8" is not an array: write [...]
relay.breaker.bounce_rate: "5 %" is not a number
smtp.max_queue: 1.5 is not a whole number
smtp.max_recipients: "many" is not a whole number
smtp.read_timeout: 5 is not a duration such as "90s", "5m" or "720h"
smtp.tls.cert_file: false is not a text in quotes
smtp.write_timeout: "5 minutes" is not a duration such as "90s", "5m" or "720h"
sync.dsn: the value is not a text in quotes
list[0].id: "" is not a name of 1 to 64 letters a-z, digits, _ and -
list[0].address: is missing: a mail address`},
		{"networks that are none", working + `
[[smtp.listener]]
address = "127.0.0.1:0"
proxy_protocol_from = ["10.0.0.7", "10.0.0.7/8", "office", 10]
`, `smtp.listener[0].proxy_protocol_from[0]: "10.0.0.7" is one address, not a network: write "10.0.0.7/32"
smtp.listener[0].proxy_protocol_from[1]: "10.0.0.7/8" names an address inside a network: the network is "10.0.0.0/8"
smtp.listener[0].proxy_protocol_from[2]: "office" is not a network such as "10.0.0.0/8"
smtp.listener[0].proxy_protocol_from[3]: 10 is not a network such as "10.0.0.0/8"`},
		{"general", working + "hostname = \"a b\"\n", `lane[0].hostname: unknown key, did you mean hostname?`},
		{"general values", "hostname = \"a b\"\ndata_dir = \"\"\ntimezone = \"Seoul\"\n[log]\nlevel = \"loud\"\nformat = \"\"\n[fields]\nEmail = {type = \"text\"}\n" + working,
			`hostname: "a b" is not a domain name
data_dir: is empty: name the folder for spool, directory and keys
timezone: "Seoul" is not a time zone such as "Asia/Seoul" or "UTC"
log.level: "loud" is not one of debug, info, warn, error
log.format: is missing: one of text, json
fields.Email: type is "text"; it must be string, number or bool`},
		{"listeners", working + `
[smtp]
max_recipients = 0
read_timeout = "0s"
[[smtp.listener]]
address = "127.0.0.1:2525"
tls = "foo"
tls_min = "1.4"
bare_newline = "keep"
[[smtp.listener]]
address = "127.0.0.1:2525"
auth = "required"
[[smtp.listener]]
address = "2525"
tls = "starttls"
[smtp.tls]
key_file = "key.pem"
`, `smtp.max_recipients: 0 is too small: at least 1
smtp.read_timeout: 0s is not more than nothing
smtp.listener[0].tls: "foo" is not one of none, starttls, implicit
smtp.listener[0].tls_min: "1.4" is not one of 1.0, 1.1, 1.2, 1.3
smtp.listener[0].bare_newline: "keep" is not one of reject, normalise
smtp.listener[1].address: "127.0.0.1:2525" is already that of smtp.listener[0]
smtp.listener[1].auth: "required", but without TLS nobody can log in: set tls, or insecure_auth = true on a trusted wire
smtp.listener[2].address: "2525" is not a host and a port such as "127.0.0.1:2525"
smtp.listener[2].tls: "starttls" needs smtp.tls.cert_file and smtp.tls.key_file
smtp.tls: has only one of cert_file and key_file: give both`},
		{"certificate", working + "[smtp.tls]\ncert_file = \"absent.pem\"\nkey_file = \"absent.key\"\n[admin]\ncert_file = \"key.pem\"\nkey_file = \"key.pem\"\n",
			`smtp.tls.cert_file: cannot read absent.pem: no such file or directory
smtp.tls.key_file: cannot read absent.key: no such file or directory
admin.cert_file: key.pem and key.pem are no certificate with its key: tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched`},
		{"accounts", working + promo + `
[[smtp.account]]
[[smtp.account]]
username = "a@example.com"
password_hash = "plain"
send_as = ["*.example.com", "x@example.com"]
lists = ["prmo"]
priority = "urgent"
per_day = -1
rewrite_from = "nobody"
[[smtp.account]]
username = "A@example.com"
send_as = ["*"]
relay = true
`, `smtp.account[0].username: is empty
smtp.account[0]: gives no right: name lists, or set relay = true
smtp.account[0].send_as: is empty: name the sender addresses that are allowed, such as "*@example.com"
smtp.account[1].password_hash: is not a bcrypt hash: make one with ` + "`postern passwd`" + `
smtp.account[1].send_as[0]: "*.example.com" is neither an address nor "*@domain"
smtp.account[1].lists[0]: there is no list with the id "prmo" (there are: promo)
smtp.account[1].priority: "urgent" is not one of bulk, transactional
smtp.account[1].rewrite_from: "nobody" is not a mail address: it needs a name, an @ and a domain
smtp.account[1].per_day: -1 is too small: at least 0
smtp.account[2].username: "a@example.com" is already that of smtp.account[1]`},
		{"limits that no restart would survive", working + `
[relay]
retention = "23h"
[[smtp.account]]
username = "a@example.com"
send_as = ["*"]
relay = true
per_minute = 5
per_day = 1
[[smtp.network]]
cidr = "10.0.0.0/8"
send_as = ["*"]
relay = true
per_minute = -1
per_day = 9
`, `smtp.account[0].per_day: a limit for a day is counted from the messages of the last 24 hours, and relay.retention = "23h0m0s" drops them earlier: make it at least "24h"
smtp.network[0].per_minute: -1 is too small: at least 0
smtp.network[0].per_day: a limit for a day is counted from the messages of the last 24 hours, and relay.retention = "23h0m0s" drops them earlier: make it at least "24h"`},
		{"networks", working + promo + `
[[smtp.network]]
send_as = ["*"]
lists = ["*"]
[[smtp.network]]
cidr = "10.0.0.0/33"
send_as = ["*"]
lists = ["promo"]
`, `smtp.network[1].cidr: "10.0.0.0/33" is not a network such as "10.0.0.0/8"
smtp.network[0].cidr: is missing: a network such as "10.0.0.0/8"`},
		{"certificates of clients", working + `
[smtp.tls]
client_ca_file = "absent.pem"
[[smtp.listener]]
address = "127.0.0.1:0"
proxy_protocol_from = ["10.0.0.7/32", "::/0"]
[[smtp.network]]
cidr = "10.0.0.0/8"
cert_names = ["a.example.com", "mail@example.com"]
send_as = ["*"]
relay = true
[[smtp.network]]
cidr = "10.0.0.0/8"
cert_names = ["B.example.com"]
send_as = ["*"]
relay = true
[[smtp.network]]
cidr = "10.0.0.0/8"
cert_names = ["b.example.com"]
send_as = ["*"]
relay = true
[[smtp.network]]
cidr = "10.0.0.0/8"
send_as = ["*"]
relay = true
`, `smtp.listener[0].proxy_protocol_from[1]: ::/0 would let anybody pretend to come from any address: name your load balancers
smtp.network[0].cert_names: no listener speaks TLS, so no client could show a certificate: set tls of an smtp.listener
smtp.network[0].cert_names[1]: "mail@example.com" is not a DNS name such as mail.example.com
smtp.network[1].cert_names: no listener speaks TLS, so no client could show a certificate: set tls of an smtp.listener
smtp.network[2].cidr: "10.0.0.0/8 with cert_names b.example.com" is already that of smtp.network[1]
smtp.network[2].cert_names: no listener speaks TLS, so no client could show a certificate: set tls of an smtp.listener
smtp.tls.client_ca_file: read the authorities of client certificates: open absent.pem: no such file or directory`},
		{"loopback relay behind an open listener", working + `
[[smtp.listener]]
address = "127.0.0.1:2525"
[[smtp.listener]]
address = ":25"
[[smtp.network]]
cidr = "127.0.0.0/8"
send_as = ["*"]
relay = true
[[smtp.network]]
cidr = "::1/128"
send_as = ["*"]
relay = true
trust_loopback = true
`, `smtp.network[0].trust_loopback: a loopback network with relay, while a listener is open on :25: behind a proxy or NAT strangers look like loopback and could send anything; set trust_loopback = true if there is none`},
		{"lists", working + promo + `
[[list]]
id = "Promo!"
address = "PROMO@lists.example.com"
language = "fr"
owner = "x"
lane = "fast"
filter = 'Gender == '
missing = "send"
release = "approver"
release_over = -1
advertising = true
[[list]]
id = "promo"
address = "unsubscribe@lists.example.com"
approvers = ["", "김@example.com"]
[list.identity]
email = "x"
`, `list[1].id: "Promo!" is not a name of 1 to 64 letters a-z, digits, _ and -
list[1].address: "promo@lists.example.com" is already that of list[0]
list[1].language: "fr" is not one of ko, en
list[1].owner: "x" is not a mail address: it needs a name, an @ and a domain
list[1].lane: there is no lane with the name "fast" (there are: out)
list[1].missing: "send" is not one of hold, skip
list[1].release_over: -1 is too small: at least 0
list[1].approvers: is empty, so nobody could release: name approvers, or set release = "sender"
list[1].filter: of the list "Promo!", the filter "Gender == " cannot be used: unexpected token EOF (character 10)
list[1].identity.company: is empty, but advertising = true must show it
list[1].identity.address: is empty, but advertising = true must show it
list[1].identity.phone: is empty, but advertising = true must show it
list[1].identity.email: is empty, but advertising = true must show it
list[2].id: "promo" is already that of list[0]
list[2].address: is also optout.mailto: mail to it would unsubscribe; choose another
list[2].approvers[0]: is missing: a mail address
list[2].approvers[1]: "김@example.com" has letters beyond ASCII before the @, which mail cannot carry everywhere
list[2].identity.email: "x" is not a mail address: it needs a name, an @ and a domain`},
		{"directory, templates, relay", working + `
[directory]
driver = "ldap"
[directory.dynamodb]
segments = 0
endpoint = "localhost:8000"
[templates]
driver = "x"
images = "x"
host_images_over = 1
cache = "-1s"
[relay]
uncertain = "x"
retention = "-1h"
[relay.retry]
retries = -1
backoff = 0.5
[relay.retry_relayed]
max_interval = "1s"
[relay.breaker]
bounce_rate = 5
complaint_rate = nan
`, `directory.driver: "ldap" is not one of embedded, dynamodb
directory.dynamodb.segments: 0 is not from 1 to 64
directory.dynamodb.endpoint: "localhost:8000" is not an address such as "https://mail.example.com"
templates.driver: "x" is not one of files, ses
templates.images: "x" is not one of inline, link
templates.cache: -1s is too small: at least 0s
templates.host_bucket: is empty
templates.host_base_url: is empty
relay.uncertain: "x" is not one of resend, hold
relay.retention: -1h0m0s is not more than nothing
relay.retry.retries: -1 is not from 0 to 100
relay.retry.backoff: 0.5 is not from 1 to 100
relay.retry_relayed.max_interval: 1s is too small: at least 1m0s
relay.breaker.bounce_rate: 5 is not from 0 to 1
relay.breaker.complaint_rate: NaN is not from 0 to 1`},
		{"lanes", `
[[lane]]
[[lane]]
name = "a"
driver = "pigeon"
concurrency = 0
rate = -1
transactional_reserve = 1
[lane.ses]
endpoint = "ftp://x"
[[lane]]
name = "a"
driver = "smtp"
[lane.smtp]
address = "relay"
tls = "yes"
password = "x"
[[lane]]
name = "m"
driver = "maildir"
[lane.maildir]
path = ""
`, `lane[0].name: "" is not a name of 1 to 64 letters a-z, digits, _ and -
lane[0].driver: is missing: one of maildir, smtp, ses
lane[1].driver: "pigeon" is not one of maildir, smtp, ses
lane[1].concurrency: 0 is not from 1 to 10000
lane[1].rate: -1 is not from 0 to 1e+06
lane[1].transactional_reserve: 1 is not from 0 to 0.9
lane[1].ses.endpoint: "ftp://x" is not an address such as "https://mail.example.com"
lane[2].name: "a" is already that of lane[1]
lane[2].smtp.tls: "yes" is not one of none, starttls, implicit
lane[2].smtp.address: "relay" is not a host and a port such as "127.0.0.1:2525"
lane[2].smtp.username: is empty, but there is a password
lane[3].maildir.path: is empty`},
		{"dkim", working + `
[[dkim]]
domain = "a b"
key_file = "key.pem"
[[dkim]]
domain = "a.example.com"
[[dkim]]
domain = "b.example.com"
key_file = "absent.pem"
[[dkim]]
domain = "c.example.com"
selector = "x y"
key_file = "not-a-key.pem"
[[dkim]]
domain = "d.example.com"
key_file = "not-a-key.pem"
[[dkim]]
domain = "E.example.com"
sign = false
[[dkim]]
domain = "e.example.com"
key_file = "key.pem"
`, `dkim[0].domain: "a b" is not a domain name
dkim[1].key_file: is empty
dkim[3].selector: "x y" is not a domain name
dkim[6].domain: "e.example.com" is already that of dkim[5]
dkim[2].key_file: there is no file absent.pem: make it with ` + "`postern dkim keygen --domain b.example.com --selector postern --out absent.pem`" + `
dkim[4] (d.example.com): key_file not-a-key.pem: there is no private key in it; it must be PEM with BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY`},
		{"notices, optout, admin", working + `
[notices]
from = ""
lane = "x"
operator = "x"
[optout]
listen = "0.0.0.0:8081"
base_url = "lists.example.com"
mailto = ""
[admin]
listen = "0.0.0.0:8081"
key_file = "key.pem"
[[admin.user]]
username = "a"
role = "root"
[[admin.user]]
username = "A"
`, `notices.from: is missing: a mail address
notices.lane: there is no lane with the name "x" (there are: out)
notices.operator: "x" is not a mail address: it needs a name, an @ and a domain
optout.base_url: "lists.example.com" is not an address such as "https://mail.example.com"
optout.mailto: is missing: a mail address
admin.listen: "0.0.0.0:8081" is already that of optout
admin: has only one of cert_file and key_file: give both
admin.user[0].role: "root" is not one of admin, viewer
admin.user[1].username: "a" is already that of admin.user[0]`},
		{"unsubscribing without TLS", working + "[optout]\nbase_url = \"http://lists.example.com:8081/x\"\n",
			`optout.base_url: "http://lists.example.com:8081/x" is not https, and mail programs unsubscribe in one click by https alone: put a server with TLS in front of optout.listen and write https:// here`},
		{"a long data_dir", "data_dir = \"" + strings.Repeat("d", 100) + "\"\n" + working,
			`data_dir: is 6 bytes too long for the path of a socket in it: choose a shorter one, or a relative one`},
		{"admin beyond loopback", working + "[admin]\nlisten = \":8080\"\n",
			`admin.listen: ":8080" is beyond loopback, where passwords would travel in clear: give cert_file and key_file, or set behind_proxy = true`},
		{"sync", working + "[sync]\ndsn = \"x\"\ntable = \"\"\nkey = \"\"\nupdated = \"\"\ninterval = \"-1s\"\noverlap = \"-1s\"\nca_file = \"absent.pem\"\ns3_bucket = \"b\"\nchunk = 0\ntripwire = 2\n[sync.columns]\nName = \"\"\nOptOut = \"o\"\nsubscriptionstatus = \"s\"\n",
			`sync.interval: -1s is too small: at least 0s
sync.overlap: -1s is too small: at least 0s
sync.chunk: 0 is not from 1 to 100000
sync.tripwire: 2 is not from 0 to 1
sync.table: is empty
sync.key: is empty
sync.updated: is empty
sync.columns.Email: is empty
sync.columns.Name: is empty
sync.columns.OptOut: is written by the gateway itself: map no column to it
sync.columns.subscriptionstatus: is spelt SubscriptionStatus
sync.dsn: cannot be read: it should be like user:password@tcp(db.example.com:3306)/shop?tls=true, see https://github.com/go-sql-driver/mysql#dsn-data-source-name
sync.ca_file: cannot read absent.pem: no such file or directory`},
		{"a consent that is the time of change", working + "[sync]\ndsn = \"me:secret@tcp(db)/shop\"\nconsent = \"UPDATE_AT\"\n",
			`sync.consent: is the column of sync.updated: every change of a row would count as its person's consent, and bring back who left here; leave it empty when there is no time of consent`},
		{"a DSN without a database", working + "[sync]\ndsn = \"me:secret@tcp(db)/\"\n",
			`sync.dsn: names no database: put it behind the last slash, or write sync.table as database.table`},
		{"a database in the table's name", working + "[sync]\ndsn = \"me:secret@tcp(db)/\"\ntable = \"shop.users\"\n", ``},
		{"without MySQL nothing of it counts", working + "[sync]\ntable = \"\"\nca_file = \"absent.pem\"\ns3_bucket = \"b\"\n", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := postern.ParseConfig(c.text)
			same(t, err, c.want)
		})
	}
}

func TestLoad(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(text string) {
		if err := os.WriteFile("postern.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := postern.Load("postern.toml")
	same(t, err, "there is no configuration file postern.toml: name one with --config")

	write("x = 1\n" + working)
	_, err = postern.Load("postern.toml")
	same(t, err, "postern.toml is not right:\nx: unknown key")

	// Commands on data_dir do without the files that only serving needs.
	write(working + "[[dkim]]\ndomain = \"example.com\"\nkey_file = \"absent.pem\"\n[sync]\ndsn_file = \"absent\"\n")
	if _, err := postern.LoadOffline("postern.toml"); err != nil {
		t.Error(err)
	}
	if _, err = postern.Load("postern.toml"); err == nil || !strings.Contains(err.Error(), "absent.pem") || !strings.Contains(err.Error(), "dsn_file") {
		t.Errorf("missing files: %v", err)
	}

	// A configuration built by hand is checked the same way.
	cfg := postern.DefaultConfig()
	same(t, cfg.Validate(), "lane: there is none, so nothing could leave: add a [[lane]]")
}
