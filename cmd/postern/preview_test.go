package main_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	postern "postern/cmd/postern"
	"postern/directory"
	"postern/directory/embedded"
	"postern/mail"
	"postern/spool"
)

const previewConfig = working + `
[[smtp.listener]]
address = "127.0.0.1:0"
[[smtp.account]]
username = "me@example.com"
send_as = ["me@example.com"]
lists = ["promo"]
[[list]]
id = "promo"
address = "promo@lists.example.com"
language = "en"
[[dkim]]
domain = "example.com"
key_file = "dkim.pem"
`

// inFolder makes a folder with a configuration and mails in it.
func inFolder(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("config.toml", []byte(previewConfig), 0o600); err != nil {
		t.Fatal(err)
	}
}

// previewed is the object of --json; code is the exit code.
func previewed(t *testing.T, stdin string, args ...string) (code int, object map[string]any, stderr string) {
	t.Helper()
	code, stdout, stderr := run(t, stdin, append([]string{"preview", "--list", "promo", "--json"}, args...)...)
	if stdout == "" {
		return code, nil, stderr
	}
	if err := json.Unmarshal([]byte(stdout), &object); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	return code, object, stderr
}

func TestPreviewRefusesInTheWordsOfDATA(t *testing.T) {
	inFolder(t, nil)
	writeKey(t, "dkim.pem")
	cfg, err := postern.Load("config.toml")
	if err != nil {
		t.Fatal(err)
	}
	desk, err := postern.OpenDesk(cfg, keysInDNS{}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	mails := map[string]string{
		"an unknown field":  "From: me@example.com\r\n\r\nDear {{Nmae}}\r\n",
		"not closed":        "From: me@example.com\r\nSubject: {{Name\r\n\r\nHi\r\n",
		"another program's": "From: me@example.com\r\n\r\n*|NAME|*\r\n",
		"no From":           "Subject: x\r\n\r\nHi\r\n",
		"no header":         "\r\nHi\r\n",
		"an odd line":       "From: me@example.com\r\nHi there\r\n\r\nHi\r\n",
		"free mail":         "From: me@naver.com\r\n\r\nHi\r\n",
		"no key":            "From: me@example.org\r\n\r\nHi\r\n",
		"a machine's":       "From: me@example.com\r\nAuto-Submitted: auto-replied\r\n\r\nHi\r\n",
		"S/MIME":            "From: me@example.com\r\nContent-Type: application/pkcs7-mime\r\n\r\nHi\r\n",
		"50 hosts":          strings.Repeat("Received: x\r\n", 50) + "From: me@example.com\r\n\r\nHi\r\n",
		"cut off":           "From: me@example.com\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHi\r\n",
	}
	answers := map[string]string{}
	sub := &mail.Submitter{Name: "me@example.com", Authenticated: true, SendAs: []string{"*"}, Lists: []string{"promo"}}
	for name, raw := range mails {
		_, err := desk.Accept(t.Context(), sub, mail.Envelope{From: "me@example.com", Recipients: []mail.Address{"promo@lists.example.com"}}, strings.NewReader(trace+raw))
		if err == nil {
			t.Fatalf("%s: DATA takes it", name)
		}
		answers[name] = err.Error()
	}
	if err := desk.Close(); err != nil {
		t.Fatal(err)
	}
	for name, raw := range mails {
		code, p, stderr := previewed(t, raw, "-")
		if code != 1 || p["refused"] != answers[name] || stderr != "postern: the mail would be refused: "+answers[name]+"\n" {
			t.Errorf("%s: exit code %d\n got %v\nwant %s\n%s", name, code, p["refused"], answers[name], stderr)
		}
	}
}

func TestPreviewTakesEveryLineEnd(t *testing.T) {
	const text = "From: me@example.com\nSubject: Hi {{Name|you}}\n\nDear {{Name|you}},\n\n{{Unsubscribe}}\n"
	inFolder(t, nil)
	var first map[string]any
	for _, end := range []string{"\r\n", "\n", "\r", "\r\r\n"} {
		for _, raw := range []string{text, strings.TrimSuffix(text, "\n")} {
			code, p, stderr := previewed(t, strings.ReplaceAll(raw, "\n", end), "-")
			if first == nil {
				first = p
			}
			if code != 0 || stderr != "" || !reflect.DeepEqual(p, first) {
				t.Errorf("%q: exit code %d, %v, %s", end, code, p, stderr)
			}
		}
	}
	if first["subject"] != "Hi Jane Doe" || first["size"].(float64) < 300 {
		t.Errorf("got %v", first)
	}
}

// Somebody else has the spool, and no gateway answers.
func TestPreviewNeedsNoSpool(t *testing.T) {
	inFolder(t, map[string]string{"mail.eml": "From: me@example.com\nSubject: {{Point}}\n\n{{Unsubscribe}}\n"})
	s, err := spool.Open("data", spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, err := directory.OpenIndex(filepath.Join("data", "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.Learn(map[string]string{"Point": "number"}), x.Close()); err != nil {
		t.Fatal(err)
	}
	if code, p, stderr := previewed(t, "", "mail.eml"); code != 0 || p["subject"] != "‹Point›" {
		t.Errorf("exit code %d, %v, %s", code, p, stderr)
	}
	store, err := embedded.Open(filepath.Join("data", "directory.db"))
	if err != nil {
		t.Fatal(err)
	}
	user := directory.User{Email: "Min@example.net", Subscribed: true, Attributes: map[string]any{"point": json.Number("7")}}
	if err := errors.Join(store.Put(t.Context(), []directory.User{user}), store.Close()); err != nil {
		t.Fatal(err)
	}
	if code, p, stderr := previewed(t, "", "mail.eml", "--user", "Min@example.net"); code != 0 || p["subject"] != "7" || p["to"] != "Min@example.net" {
		t.Errorf("exit code %d, %v, %s", code, p, stderr)
	}
	if _, err := os.Stat(filepath.Join("data", "keyring.json")); err == nil {
		t.Error("a keyring was made")
	}
}

func TestPreviewAsksTheGatewayThatRuns(t *testing.T) {
	serveControl(t, fakeGateway(t, map[string]string{
		"GET /api/fields":                `{"Shop":"string"}`,
		"GET /api/users/min@example.net": `{"Email":"min@example.net","Name":"민","Shop":"  ","SubscriptionStatus":true}`,
	}))
	if err := os.WriteFile("config.toml", []byte(previewConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	const raw = "From: me@example.com\nSubject: {{Name}} at {{Shop|our shop}}\n\n{{Unsubscribe}}\n"
	code, p, stderr := previewed(t, raw, "-", "--user", "min@example.net")
	want := []any{
		map[string]any{"name": "Name", "value": "민", "fallback_used": false, "required": true},
		map[string]any{"name": "Shop", "value": "our shop", "fallback_used": true, "required": false},
	}
	if code != 0 || p["subject"] != "민 at our shop" || !reflect.DeepEqual(p["fields"], want) {
		t.Errorf("exit code %d, %v, %s", code, p, stderr)
	}
	code, p, stderr = previewed(t, strings.Replace(raw, "|our shop", "", 1), "-", "--user", "min@example.net")
	if missing := "min@example.net has no value for {{Shop}}, and it stands there without a fallback: the whole message would be held"; code != 1 || p["missing"] != missing || stderr != "postern: "+missing+"\n" {
		t.Errorf("blanks are no value: exit code %d, %v, %s", code, p, stderr)
	}
}
