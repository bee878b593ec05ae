package main_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	postern "postern/cmd/postern"
	"postern/relay/sign"
)

// shipped is the config.toml at the project's root.
func shipped(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// working is the smallest configuration that is right.
const working = `
[[lane]]
name = "out"
driver = "maildir"
`

func TestShippedConfig(t *testing.T) {
	text := shipped(t)
	var raw map[string]any
	if _, err := toml.Decode(text, &raw); err != nil {
		t.Fatal(err)
	}

	t.Run("lists every key", func(t *testing.T) {
		written := map[string]bool{}
		keysOf(raw, "", written)
		for _, key := range postern.EveryKey() {
			if !written[key] && !strings.HasSuffix(key, "_file") {
				t.Errorf("config.toml does not show the key %s", key)
			}
			delete(written, key)
		}
		for key := range written {
			t.Errorf("config.toml shows %s, which is no key", key)
		}
	})

	t.Run("is right once its key is made", func(t *testing.T) {
		t.Chdir(t.TempDir())
		_, err := postern.ParseConfig(text)
		want := "dkim[0].key_file: there is no file data/dkim.pem: make it with `postern dkim keygen --domain example.com --selector postern --out data/dkim.pem`"
		if err == nil || err.Error() != want {
			t.Fatalf("without a key: %v\nwant: %s", err, want)
		}
		writeKey(t, "data/dkim.pem")
		if _, err := postern.ParseConfig(text); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("has the defaults in its plain tables", func(t *testing.T) {
		t.Chdir(t.TempDir())
		writeKey(t, "data/dkim.pem")
		got, err := postern.ParseConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		want := postern.DefaultConfig()
		got.SMTP.Listeners, got.SMTP.Accounts, got.SMTP.Networks = want.SMTP.Listeners, want.SMTP.Accounts, want.SMTP.Networks
		got.Lists, got.Lanes, got.DKIM, got.Admin.Users = want.Lists, want.Lanes, want.DKIM, want.Admin.Users
		if g, w := got.String(), want.String(); g != w || !reflect.DeepEqual(got, want) {
			t.Errorf("config.toml:\n%s\ndefaults:\n%s", g, w)
		}
	})
}

// TestEntryDefaults: an entry of an array table starts from what config.toml
// shows, except for names and rights, which a forgotten line must not give.
func TestEntryDefaults(t *testing.T) {
	full, _ := postern.DecodeConfig(shipped(t))
	bare, _ := postern.DecodeConfig("[[smtp.listener]]\n[[smtp.account]]\n[[smtp.network]]\n[[list]]\n[[lane]]\n[[dkim]]\n[[admin.user]]\n")
	noDefault := map[string]bool{
		"smtp.listener[0].address": true, "smtp.account[0].username": true, "smtp.account[0].send_as": true, "smtp.account[0].lists": true,
		"smtp.network[0].cidr": true, "smtp.network[0].send_as": true, "smtp.network[0].relay": true, "smtp.network[0].lists": true,
		"list[0].id": true, "list[0].address": true, "list[0].name": true, "list[0].owner": true,
		"lane[0].name": true, "lane[0].driver": true, "dkim[0].domain": true, "dkim[0].key_file": true, "admin.user[0].username": true,
	}
	shown, started := leaves(t, full), leaves(t, bare)
	for path, value := range shown {
		switch {
		case noDefault[path]:
			if v := started[path]; v != "" && v != "false" && v != "[]" {
				t.Errorf("%s gives %s without being written", path, v)
			}
		case started[path] != value:
			t.Errorf("%s starts as %q, config.toml shows %q", path, started[path], value)
		}
		delete(noDefault, path)
	}
	for path := range noDefault {
		t.Errorf("%s is not in config.toml", path)
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	const secret = "very-secret-4711"
	hash := "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lists := "[[list]]\nid = \"promo\"\naddress = \"promo@lists.example.com\"\n"

	t.Run("are never printed", func(t *testing.T) {
		cfg, err := postern.ParseConfig(lists + `
[[smtp.account]]
username = "a@example.com"
password_hash = "` + hash + `"
send_as = ["*@example.com"]
lists = ["promo"]
[[admin.user]]
username = "admin"
password_hash_file = "` + file("hash", hash+"\n") + `"
[[lane]]
name = "out"
driver = "smtp"
[lane.smtp]
username = "me"
password = "` + secret + `"
[sync]
dsn_file = "` + file("dsn", "postern:"+secret+"@tcp(db)/shop\r\n") + `"
`)
		if err != nil {
			t.Fatal(err)
		}
		if string(cfg.Sync.DSN) != "postern:"+secret+"@tcp(db)/shop" || string(cfg.Admin.Users[0].PasswordHash) != hash {
			t.Errorf("secret files give %q and %q", string(cfg.Sync.DSN), string(cfg.Admin.Users[0].PasswordHash))
		}
		var logged bytes.Buffer
		slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "cfg", cfg, "lane", cfg.Lanes[0], "dsn", cfg.Sync.DSN)
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "cfg", cfg, "lane", cfg.Lanes[0], "dsn", cfg.Sync.DSN)
		for _, printed := range []string{cfg.String(), fmt.Sprintf("%v %+v %#v", *cfg, *cfg, *cfg), fmt.Sprint(cfg), logged.String(),
			fmt.Sprintf("%s %q %x", cfg.Sync.DSN, cfg.Sync.DSN, cfg.Sync.DSN)} {
			if strings.Contains(printed, secret) || strings.Contains(printed, hash) {
				t.Errorf("a secret is printed:\n%s", printed)
			}
		}
		if n := strings.Count(cfg.String(), `"(hidden)"`); n != 4 {
			t.Errorf("%d secrets are shown as hidden, want 4:\n%s", n, cfg)
		}
	})

	t.Run("given twice, missing, empty", func(t *testing.T) {
		_, err := postern.ParseConfig(working + `
[lane.smtp]
username = "me"
password = "x"
password_file = "y"
[[admin.user]]
username = "a"
password_hash_file = "` + filepath.Join(dir, "absent") + `"
[[admin.user]]
username = "b"
password_hash_file = "` + file("empty", "\n") + `"
[[admin.user]]
username = "c"
password_hash_file = "` + file("plain", secret) + `"
[sync]
dsn_file = "/dev/null"
`)
		same(t, err, `lane[0].smtp.password: is given, and lane[0].smtp.password_file too: give one of them
admin.user[0].password_hash_file: cannot read `+filepath.Join(dir, "absent")+`: no such file or directory
admin.user[1].password_hash_file: cannot read `+filepath.Join(dir, "empty")+`: it is empty
sync.dsn_file: cannot read /dev/null: it is not a regular file
admin.user[2].password_hash: is not a bcrypt hash: make one with `+"`postern passwd`")
	})
}

// TestPrintedConfig: what `postern config` prints is a configuration that means
// the same (where there is no secret in it).
func TestPrintedConfig(t *testing.T) {
	text := shipped(t)
	t.Chdir(t.TempDir())
	writeKey(t, "data/dkim.pem")
	first, err := postern.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	second, err := postern.ParseConfig(first.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, first)
	}
	if !reflect.DeepEqual(first, second) {
		t.Errorf("printed:\n%s\nread again:\n%s", first, second)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(shipped(f))
	f.Add(working)
	f.Add("[[smtp.listener]]\naddress = 1\ntls = \"foo\"\nproxy_protocol_from = [\"10.0.0.1\"]\n")
	f.Add("smtp = 3\nlist = [1, {id = 2}]\n[fields]\n\"이 름\" = {type = \"x\", alias = [\"{\"]}\n")
	f.Add("[relay]\nretention = \"1h\"\n[relay.retry]\nbackoff = nan\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := postern.DecodeConfig(text)
		if first == nil {
			return // not TOML
		}
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				if line == "" {
					t.Errorf("an empty problem in %q", err)
				}
			}
			return
		}
		second, err := postern.DecodeConfig(first.String())
		if err != nil {
			t.Fatalf("what is printed of a good configuration is not good: %v\n%s", err, first)
		}
		if a, b := first.String(), second.String(); a != b && !strings.Contains(a, "(hidden)") {
			t.Fatalf("printed:\n%s\nread again:\n%s", a, b)
		}
	})
}

func keysOf(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			p := strings.TrimPrefix(strings.TrimSuffix(path, ".")+"."+key, ".")
			switch path {
			case "sync.columns":
				continue // the keys of this table are the user's own,
			case "fields":
				p = path // and of this one
			}
			into[p] = true
			if path == "fields" {
				keysOf(value, "fields.", into)
			} else {
				keysOf(value, p, into)
			}
		}
	case []map[string]any:
		for _, table := range v {
			keysOf(table, path, into)
		}
	}
}

// leaves gives the value of every key of the printed configuration's array
// tables.
func leaves(t *testing.T, cfg *postern.Config) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.Kind() == reflect.Struct && v.Type().Field(0).Tag.Get("toml") != "" {
			for i := range v.NumField() {
				name, rest, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ",")
				if rest == "" {
					walk(strings.TrimPrefix(path+"."+name, "."), v.Field(i))
				}
			}
			return
		}
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && v.Len() > 0 && v.Type().Elem().PkgPath() != "net/netip" {
			walk(path+"[0]", v.Index(0))
			return
		}
		if strings.Contains(path, "[0]") {
			out[path] = fmt.Sprint(v.Interface())
			if out[path] == "invalid Prefix" {
				out[path] = ""
			}
		}
	}
	walk("", reflect.ValueOf(cfg).Elem())
	return out
}

func writeKey(t testing.TB, path string) {
	t.Helper()
	pem, _, err := sign.GenerateKey("example.com", "postern", 2048)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem, 0o600); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestNoticesComeFromADomainOfOurs, also where nobody said from which address.
func TestNoticesComeFromADomainOfOurs(t *testing.T) {
	dkim := "[[dkim]]\ndomain = %q\nsign = false\n"
	for _, tt := range []struct{ text, want string }{
		{"", "postmaster@example.com"},
		{fmt.Sprintf(dkim, "shop.example"), "postmaster@shop.example"},
		{fmt.Sprintf(dkim, "shop.example") + fmt.Sprintf(dkim, "example.com"), "postmaster@example.com"},
		{"[notices]\nfrom = \"it@other.example\"\n" + fmt.Sprintf(dkim, "shop.example"), "it@other.example"},
	} {
		cfg, err := postern.ParseConfig(tt.text + "[[lane]]\nname = \"out\"\ndriver = \"maildir\"\n")
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if string(cfg.Notices.From) != tt.want {
			t.Errorf("%s: notices come from %s, want %s", tt.text, cfg.Notices.From, tt.want)
		}
	}
}

func TestTheOperatorIsAPerson(t *testing.T) {
	for _, operator := range []string{"unsubscribe@lists.example.com", "promo@lists.example.com", "bounces+1@lists.example.com", "postmaster@lists.example.com"} {
		_, err := postern.ParseConfig(fmt.Sprintf("[notices]\noperator = %q\n[[list]]\nid = \"promo\"\naddress = \"promo@lists.example.com\"\n[[lane]]\nname = \"out\"\ndriver = \"maildir\"\n", operator))
		if err == nil || !strings.Contains(err.Error(), "notices.operator: "+operator+" is read by this gateway") {
			t.Errorf("%s: %v", operator, err)
		}
	}
}
