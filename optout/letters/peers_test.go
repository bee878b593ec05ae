package letters_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/peer"
)

// bySomebody is a letter as a reader sees it that is not ours. Python fills all,
// mailparser what it has.
type bySomebody struct {
	Subject, Kind, Auto, To, From, ID, Text string
	Names, Defects                          []string
}

// readers lets Python's email package and mailparser read mails, by the programs
// that read notices.
func readers(t *testing.T, mails []fixture) (python, node []bySomebody) {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, m := range mails {
		p := filepath.Join(dir, fmt.Sprintf("%05d.eml", i))
		if err := os.WriteFile(p, m.mail, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	names := filepath.Join(dir, "names")
	if err := os.WriteFile(names, []byte(strings.Join(paths, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	const programs = "../../relay/notice/testdata/"
	js := exec.Command(peer.Command(t, "node"), programs+"read.js", names)
	js.Env = append(os.Environ(), "MAILPARSER="+filepath.Join(peer.NodeModules(t), "mailparser"))
	for cmd, all := range map[*exec.Cmd]*[]bySomebody{exec.Command(peer.Python, programs+"read.py", names): &python, js: &node} {
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		if err := json.Unmarshal(out, all); err != nil {
			t.Fatal(err)
		}
		if len(*all) != len(mails) {
			t.Fatalf("%s read %d of %d mails", cmd, len(*all), len(mails))
		}
	}
	return python, node
}

// TestOthersReadWhatWeWrote: every golden letter, and hundreds from hostile input,
// read the same to net/mail, Python and mailparser.
func TestOthersReadWhatWeWrote(t *testing.T) {
	mails := append(fixtures(t), hostile(t, 400)...)
	python, node := readers(t, mails)
	for i, m := range mails {
		ours, py, js := read(t, m.mail), python[i], node[i]
		fail := func(format string, a ...any) {
			t.Helper()
			t.Errorf("%s: %s\n%s", m.name, fmt.Sprintf(format, a...), m.mail[:min(len(m.mail), 1500)])
		}
		if py.Subject != ours.subject || js.Subject != ours.subject {
			fail("the subject is\n%q, to Python\n%q, to mailparser\n%q", ours.subject, py.Subject, js.Subject)
		}
		if py.Text != ours.text || trimmed(js.Text) != trimmed(ours.text) {
			fail("the text is\n%q, to Python\n%q, to mailparser\n%q", ours.text, py.Text, js.Text)
		}
		if py.Kind != "text/plain" || py.Auto != "auto-generated" || len(py.Defects) > 0 {
			fail("to Python it is %s, %s, with the defects %v", py.Kind, py.Auto, py.Defects)
		}
		for _, name := range append(py.Names, js.Names...) {
			if !slices.ContainsFunc(oursLower(), func(o string) bool { return o == strings.ToLower(name) }) {
				fail("somebody sees the field %s", name)
			}
		}
	}
}

func oursLower() []string {
	var all []string
	for _, o := range ours {
		all = append(all, strings.ToLower(o))
	}
	return all
}

// trimmed is what mailparser does to text: blanks at line ends and of its own.
func trimmed(s string) string {
	rows := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, "\r", "")), "\n")
	for i, r := range rows {
		rows[i] = strings.TrimRight(r, " ")
	}
	return strings.Join(rows, "\n")
}
