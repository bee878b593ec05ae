package notice_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden notices anew")

// TestGoldenNotices keeps the exact octets of every kind of notice, and beside
// them, in one file a language, the texts as people read them.
func TestGoldenNotices(t *testing.T) {
	texts := map[string]*strings.Builder{"en": {}, "ko": {}}
	for _, f := range fixtures() {
		t.Run(f.name, func(t *testing.T) {
			if problem := wire(f.mail); problem != "" {
				t.Error(problem)
			}
			golden(t, f.name+".eml", f.mail)
		})
		if _, language, ok := strings.Cut(f.name, "."); ok {
			m := read(t, f.mail)
			texts[language].WriteString("======== " + f.name + "\nSubject: " + m.subject + "\n\n" + m.text + "\n")
		}
	}
	for language, b := range texts {
		golden(t, "texts."+language+".txt", []byte(b.String()))
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is another (after a look at the change: go test ./relay/notice -run Golden -update):\n%s", name, got)
	}
}
