package expand_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"postern/expand"
	"postern/internal/peer"
)

var update = flag.Bool("update", false, "write the golden copies anew")

// sample is the campaign of `postern demo`.
const sample = "../cmd/postern/sample/campaign.eml"

// originals are the mails whose copies are golden. A copy of x.eml is x.copy.eml.
func originals(t testing.TB) []string {
	t.Helper()
	var in []string
	for _, pattern := range []string{"testdata/*.eml", "testdata/mails/*.eml"} {
		all, err := filepath.Glob(pattern)
		if err != nil || len(all) == 0 {
			t.Fatalf("no mails in %s (%v)", pattern, err)
		}
		for _, p := range all {
			if !strings.HasSuffix(p, ".copy.eml") {
				in = append(in, p)
			}
		}
	}
	return in
}

func copyOf(t testing.TB, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := input(t, "")
	in.Raw, in.List.Language = raw, "ko"
	if name, advertising := strings.CutPrefix(filepath.Base(path), "advertising-"); advertising {
		in.List.Language, in.List.Advertising, in.List.Identity = strings.TrimSuffix(name, ".eml"), true, shop()
	}
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c.Render(copyTo(c, "min@example.net", map[string]string{"Name": `Kim, "Min" 민 <b>&`, "Point": "1,200"}), "TOKEN_7").Bytes()
}

func TestGoldenCopies(t *testing.T) {
	for _, path := range originals(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, golden := copyOf(t, path), strings.TrimSuffix(path, ".eml")+".copy.eml"
			checkWire(t, got)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			wanted, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "copy (after a look at the change: go test ./expand -run Golden -update)", string(got), string(wanted))
		})
	}
}

// seen is what testdata/read.py says of a mail.
type seen struct {
	To         [][2]string
	Subject    string
	Text, HTML string
	Files      [][3]string
	Defects    []string
}

func python(t *testing.T, args ...string) []seen {
	t.Helper()
	cmd := exec.Command(peer.Python, append([]string{"testdata/read.py"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v (this test needs Debian's python3)", peer.Python, err)
	}
	var all []seen
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPythonReadsTheCopies holds rules 34, 42, 43, 47 and 48 with a reader that is
// not ours.
func TestPythonReadsTheCopies(t *testing.T) {
	for _, path := range append(originals(t), sample) {
		if filepath.Base(filepath.Dir(path)) == "mails" {
			continue // TestPythonAndMailparserReadTheSame has them
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			rendered := filepath.Join(t.TempDir(), "copy.eml")
			if err := os.WriteFile(rendered, copyOf(t, path), 0o600); err != nil {
				t.Fatal(err)
			}
			before, after := python(t, path)[0], python(t, "--texts", rendered)[0]
			if len(after.Defects) > 0 {
				t.Errorf("defects: %v", after.Defects)
			}
			if !reflect.DeepEqual(after.To, [][2]string{{`Kim, "Min" 민 <b>&`, "min@example.net"}}) {
				t.Errorf("To is %q", after.To)
			}
			if !reflect.DeepEqual(after.Files, before.Files) {
				t.Errorf("pictures and attachments differ:\n%v\n%v", before.Files, after.Files)
			}
			wantIn(t, "Subject", after.Subject, `Kim, "Min" 민 <b>&`)
			wantIn(t, "text", after.Text, `Kim, "Min" 민 <b>&`, "/u/TOKEN_7")
			if after.HTML != "" {
				wantIn(t, "html", after.HTML, "Kim, &#34;Min&#34; 민 &lt;b&gt;&amp;", `href="https://mail.example.com/u/TOKEN_7"`)
			}
			wantNone(t, "copy", after.Subject+after.Text, "{{", "�")
		})
	}
}

// A copy costs what differs in it: nothing of the size of the mail, in either
// encoding.
func TestRenderAllocatesNothingOfTheBodysSize(t *testing.T) {
	sentence := strings.Repeat("Our winter collection is here, and it is warm. ", 2000)
	for _, raw := range []string{htmlMail("<p>{{Name}}</p><p>" + sentence + "</p>{{Name}}"), textMail("{{Name}}님, " + strings.Repeat("새 소식입니다. ", 5000) + "{{Name}}")} {
		c := compile(t, raw)
		cp := copyTo(c, "min@example.net", map[string]string{"Name": "민"})
		size := c.Render(cp, "TOKEN_7").Size()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			c.Render(cp, "TOKEN_7")
		}
		runtime.ReadMemStats(&after)
		if made := int64(after.TotalAlloc-before.TotalAlloc) / 100; made > size/10 || size < 90_000 {
			t.Errorf("a copy of %d octets allocates %d", size, made)
		}
	}
}

func BenchmarkRender100KB(b *testing.B) {
	raw, err := os.ReadFile(sample)
	if err != nil {
		b.Fatal(err)
	}
	in := input(b, "")
	in.Raw = raw
	c, err := expand.Compile(in)
	if err != nil {
		b.Fatal(err)
	}
	cp := copyTo(c, "min@example.net", map[string]string{"Name": "민"})
	b.ReportAllocs()
	b.SetBytes(c.Render(cp, "T").Size())
	for b.Loop() {
		c.Render(cp, "TOKEN_7")
	}
}

func BenchmarkCompile100KB(b *testing.B) {
	raw, err := os.ReadFile(sample)
	if err != nil {
		b.Fatal(err)
	}
	in := input(b, "")
	in.Raw = raw
	b.ReportAllocs()
	for b.Loop() {
		if _, err := expand.Compile(in); err != nil {
			b.Fatal(err)
		}
	}
}
