package main_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// rules names the dialogues that hold each rule of what is taken over SMTP. A
// dialogue in another folder is one that needs its own server or virtual time.
func rules() map[string][]string {
	return map[string][]string{
		"the null sender is not expanded":             {"null-sender"},
		"what a machine sent is not expanded":         {"auto-submitted", "automatic-replies"},
		"what says it is bulk is not expanded":        {"precedence-and-suppress"},
		"our own copy is not expanded":                {"own-copy", "loop"},
		"reports are not expanded":                    {"reports"},
		"what cannot be changed is refused in words":  {"sealed", "inline-pgp", "winmail", "meetings", "recall"},
		"who is not allowed is refused":               {"sender-not-allowed", "from-not-allowed"},
		"a client's List fields do not reach a copy":  {"list-fields"},
		"only CRLF dot CRLF ends a mail":              {"smuggling", "smuggling-strict"},
		"bare line ends, as the listener says":        {"bare-newline", "bare-newline-strict"},
		"a mail that was answered 250 outlives kill":  {"kill-9"},
		"100 recipients are taken, one more put off":  {"hundred-recipients"},
		"AUTH PLAIN and LOGIN":                        {"auth-plain", "auth-login"},
		"no AUTH without TLS":                         {"auth-needs-tls", "auth-on-a-trusted-wire"},
		"what came before STARTTLS is forgotten":      {"starttls-injection"},
		"wrong passwords slow down, then 421":         {"wrong-passwords", "../../../../smtpd/testdata/auth-limit"},
		"ordinary mail is completed and not changed":  {"relay", "relay-bdat", "relay-what-no-list-takes"},
		"a bare HELO is enough":                       {"bare-helo"},
		"letters beyond ASCII":                        {"non-ascii"},
		"no open relay":                               {"open-relay"},
		"strangers reach the gateway's own addresses": {"services"},
		"a bounce is of a mail that was sent here":    {"bounces"},
		"each recipient by its own rule":              {"mixed-recipients", "refused-for-all", "list-from-afar"},
		"a repeated submission is expanded once":      {"lost-250", "lost-250-changed"},
		"behind the plus stands a template":           {"templates", "templates-refused", "templates-again"},
		"what clients write beside the letter of RFC": {"quirks", "quirks-parameters", "quirks-order", "wrong-commands"},
	}
}

// TestEveryRuleHasItsDialogue, and every dialogue its rule.
func TestEveryRuleHasItsDialogue(t *testing.T) {
	held := map[string]bool{}
	for rule, names := range rules() {
		if len(names) == 0 {
			t.Errorf("nothing holds the rule that %s", rule)
		}
		for _, name := range names {
			held[name] = true
			if files, _ := filepath.Glob(filepath.Join("testdata/rules", name+".txt")); len(files) != 1 {
				t.Errorf("testdata/rules/%s.txt, which holds the rule that %s, is missing", name, rule)
			}
		}
	}
	files, err := filepath.Glob("testdata/rules/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !held[strings.TrimSuffix(filepath.Base(f), ".txt")] {
			t.Errorf("%s holds no rule of the table", f)
		}
	}
}

// TestRules plays every dialogue of testdata/rules against the real program.
func TestRules(t *testing.T) {
	t.Parallel()
	slow := make(chan error, 1)
	guessed := openStage(t) // where the answers are slow, so beside the others
	go func() { slow <- guessed.play("testdata/rules/wrong-passwords.txt") }()
	s := openStage(t)
	files, err := filepath.Glob("testdata/rules/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			if filepath.Base(f) == "wrong-passwords.txt" {
				if err := <-slow; err != nil {
					t.Fatalf("%v\n%s", err, guessed.log)
				}
				return
			}
			if err := s.play(f); err != nil {
				t.Fatalf("%v\n%s", err, s.log)
			}
		})
	}
}
