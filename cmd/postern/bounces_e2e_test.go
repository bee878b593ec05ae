//go:build e2e

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/peer"
)

// bounce is a notice as a reader sees it that is not ours. Names of fields are in
// lower case.
type bounce struct {
	Kind, Report, Subject, To, Auto, Answers, Text, Original string
	Parts, Defects                                           []string
	Message                                                  map[string]string
	Recipients                                               []map[string]string
}

// readBounces lets Python's email package and mailparser read notices; both must see
// the same.
func readBounces(t *testing.T, mails [][]byte) []bounce {
	t.Helper()
	dir := t.TempDir()
	for i, m := range mails {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.eml", i)), m, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(name, script string) (all []bounce) {
		t.Helper()
		cmd := exec.Command(name, testdata(t, script), dir)
		cmd.Env = append(os.Environ(), "MAILPARSER="+filepath.Join(peer.NodeModules(t), "mailparser"))
		said := &strings.Builder{}
		cmd.Stderr = said
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &all)
		}
		if err != nil || len(all) != len(mails) {
			t.Fatalf("%s read %d of %d notices: %v\n%s", script, len(all), len(mails), err, said)
		}
		return all
	}
	python, node := ask(peer.Python, "bounce.py"), ask(peer.Command(t, "node"), "bounce.js")
	for i, py := range python {
		js := node[i]
		if len(py.Defects) > 0 {
			t.Errorf("Python finds defects: %v", py.Defects)
		}
		seen := func(b bounce) string {
			return fmt.Sprintf("%s %s\n%s\n%s\n%s\n%s\n%v\n%v", b.Kind, b.Report, b.Subject, b.To, b.Auto, b.Answers, b.Message, b.Recipients)
		}
		if seen(py) != seen(js) {
			t.Errorf("Python sees\n%s\nand mailparser\n%s", seen(py), seen(js))
		}
		for line := range strings.Lines(py.Text) { // mailparser joins the text parts
			if line = strings.TrimSpace(line); !strings.Contains(js.Text, line) {
				t.Errorf("mailparser does not see %q", line)
			}
		}
	}
	return python
}
