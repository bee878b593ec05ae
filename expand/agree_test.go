package expand_test

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/internal/peer"
)

// bySomebody is a mail as a reader sees it that is not ours. testdata/agree.py fills
// all but Text and HTML, testdata/agree.js fills those and the first and Files.
type bySomebody struct {
	Subject      string
	From, To     [][2]string // name, address
	Text, HTML   string      // all parts in one
	Texts, HTMLs []string    // each part, format=flowed joined
	Visible      []string    // of each HTML
	Attributes   [][][3]string
	Files        [][4]string // type, name, SHA-256, Content-ID
	Defects      []string
}

// someCopies are the mails of testdata and testdata/mails with their copies, as
// Python reads both and mailparser the copies.
type someCopies struct {
	names             []string
	originals, copies []bySomebody // Python
	node              []bySomebody // mailparser, of the copies
}

func readCopies(t *testing.T) someCopies {
	t.Helper()
	more, err := filepath.Glob("testdata/mails/*.eml")
	if err != nil || len(more) == 0 {
		t.Fatalf("no mails in testdata/mails (%v)", err)
	}
	var all someCopies
	var from, to []string
	dir := t.TempDir()
	for _, path := range append(originals(t), more...) {
		name := filepath.Base(path)
		t.Run("compile "+name, func(t *testing.T) { // a mail that is refused fails alone
			rendered := filepath.Join(dir, name)
			if err := os.WriteFile(rendered, copyOf(t, path), 0o600); err != nil {
				t.Fatal(err)
			}
			all.names, from, to = append(all.names, name), append(from, path), append(to, rendered)
		})
	}
	both := somebodyReads(t, exec.Command(peer.Python, "testdata/agree.py"), slices.Concat(from, to))
	all.originals, all.copies = both[:len(from)], both[len(from):]
	js := exec.Command(peer.Command(t, "node"), "testdata/agree.js")
	js.Env = append(os.Environ(), "MAILPARSER="+filepath.Join(peer.NodeModules(t), "mailparser"))
	all.node = somebodyReads(t, js, to)
	return all
}

// somebodyReads lets one process read all the mails.
func somebodyReads(t *testing.T, cmd *exec.Cmd, paths []string) []bySomebody {
	t.Helper()
	names := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(names, []byte(strings.Join(paths, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Args, cmd.Stderr = append(cmd.Args, names), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v (this test needs Debian's python3, and `make peers`)", cmd, err)
	}
	var all []bySomebody
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != len(paths) {
		t.Fatalf("%s read %d of %d mails", cmd, len(all), len(paths))
	}
	return all
}

// TestPythonAndMailparserReadTheSame: two readers that are not ours see the same in
// every copy, find nothing wrong with it, and nothing that the original shows is
// missing there.
func TestPythonAndMailparserReadTheSame(t *testing.T) {
	all := readCopies(t)
	for i, name := range all.names {
		t.Run(name, func(t *testing.T) {
			before, py, js := all.originals[i], all.copies[i], all.node[i]
			want(t, "Subject, to mailparser and to Python", js.Subject, py.Subject)
			wantSame(t, "From", js.From, py.From)
			wantSame(t, "From, of the copy and of the original", py.From, before.From)
			wantSame(t, "To", js.To, py.To)
			wantSame(t, "To", py.To, [][2]string{{`Kim, "Min" 민 <b>&`, "min@example.net"}})
			wantSame(t, "text", rows(js.Text), rows(strings.Join(py.Texts, "\n")))
			wantSame(t, "HTML", rows(js.HTML), rows(strings.Join(py.HTMLs, "\n")))
			wantSame(t, "attachments and pictures", js.Files, py.Files)
			wantSame(t, "attachments and pictures, of the copy and of the original", py.Files, before.Files)
			if len(py.Defects) > 0 {
				t.Errorf("Python finds defects: %v", py.Defects)
			}
			wantShown(t, "text", before.Texts, py.Texts)
			wantShown(t, "HTML", before.Visible, py.Visible)
		})
	}
}

func wantSame[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// rows are the lines that hold something. mailparser joins the parts of one kind
// with an empty line or <br/>, also for a part of the other kind, and neither reader
// need keep the blanks at the end of a line.
func rows(s string) []string {
	var all []string
	for row := range strings.SplitSeq(s, "\n") {
		if row = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(row, " \t\r"), "<br/>"), " \t"); row != "" {
			all = append(all, row)
		}
	}
	return all
}

// wantShown holds that every stretch of the original's texts that stands between
// placeholders is in the copy's. A copy may have a text that the original lacks
// where that has none of the kind.
func wantShown(t *testing.T, what string, before, after []string) {
	t.Helper()
	if len(before) > 0 && len(after) != len(before) {
		t.Errorf("the original has %d parts of %s, the copy %d", len(before), what, len(after))
		return
	}
	for i, text := range before {
		got := shown(after[i])
		for _, stretch := range standIn.Split(shown(text), -1) {
			if stretch = strings.TrimSpace(stretch); !strings.Contains(got, stretch) {
				t.Errorf("%s: %q is missing in\n%s", what, stretch, got)
			}
		}
	}
}

// TestTextOfACopyIsTheOriginalsWithValues does again what the compiler does, in the
// plain way that is open to a test: it takes the text that Python finds in the
// original and puts the values in with a regular expression.
func TestTextOfACopyIsTheOriginalsWithValues(t *testing.T) {
	all := readCopies(t)
	for i, name := range all.names {
		t.Run(name, func(t *testing.T) {
			before, after := all.originals[i], all.copies[i]
			want(t, "Subject", shown(after.Subject), shown(filled(before.Subject, asItIs)))
			if len(before.Texts) > 0 {
				wantFilled(t, "text", before.Texts, after.Texts)
			}
			wantFilled(t, "HTML", before.Visible, after.Visible)
			wantSame(t, "links and the texts of pictures", attributesOf(after, !shows(before)), attributesFilled(before))
		})
	}
}

// wantFilled compares part by part. A footer may follow.
func wantFilled(t *testing.T, what string, before, after []string) {
	t.Helper()
	if len(after) != len(before) {
		t.Fatalf("the original has %d parts of %s, the copy %d", len(before), what, len(after))
	}
	for i := range before {
		wanted, got := shown(filled(before[i], asItIs)), shown(after[i])
		if rest, ok := strings.CutPrefix(got, wanted); !ok || rest != "" && !strings.Contains(rest, "min@example.net") {
			t.Errorf("%s:\n got %s\nwant %s", what, got, wanted)
		}
	}
}

// shows says whether a mail shows the unsubscribe link; one that does gets no footer.
func shows(m bySomebody) bool {
	hay := strings.Join(slices.Concat(m.Texts, m.Visible), "\n")
	for _, a := range slices.Concat(m.Attributes...) {
		hay += "\n" + a[2]
	}
	return strings.Contains(filled(unseen.ReplaceAllString(hay, ""), asItIs), theLink)
}

// attributesOf are those of the copy, without the footer's link.
func attributesOf(m bySomebody, footer bool) [][3]string {
	return slices.DeleteFunc(slices.Concat(m.Attributes...), func(a [3]string) bool { return footer && a[2] == theLink })
}

func attributesFilled(m bySomebody) [][3]string {
	all := slices.Concat(m.Attributes...)
	for i, a := range all {
		switch {
		case a[1] == "alt" || a[1] == "title":
			a[2] = filled(a[2], asItIs)
		case strings.HasPrefix(a[2], "mailto:"):
			a[2] = filled(a[2], func(s string) string { return strings.ReplaceAll(percent(s), "%40", "@") })
		default:
			a[2] = filled(a[2], percent)
		}
		all[i] = a
	}
	return all
}

var (
	// unseen characters take no part in a placeholder, and whether a copy keeps them
	// around one is not asked here.
	unseen = regexp.MustCompile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
	// standIn is a placeholder, or one in a link that a client encoded; Outlook and
	// Gmail put http:// before what shall be a link.
	standIn = regexp.MustCompile(`(?i)(https?://)?(?:[{｛]{2}([^{}｛｝]*)[}｝]{2}|%7b%7b(.*?)%7d%7d)`)
)

// shown is s as the eye sees it.
func shown(s string) string {
	return strings.Join(strings.Fields(unseen.ReplaceAllString(s, "")), " ")
}

func asItIs(s string) string { return s }

func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// filled puts the values of copyOf in the place of placeholders.
func filled(s string, write func(string) string) string {
	return standIn.ReplaceAllStringFunc(unseen.ReplaceAllString(s, ""), func(found string) string {
		m := standIn.FindStringSubmatch(found)
		inner, write := m[2], write
		if plain, err := url.PathUnescape(m[3]); m[3] != "" && err == nil {
			inner, write = plain, percent
		}
		name, fallback, _ := strings.Cut(strings.ReplaceAll(inner, "｜", "|"), "|")
		value, known := map[string]string{
			"name": `Kim, "Min" 민 <b>&`, "point": "1,200", "gender": "", "shop": "",
			"email": "min@example.net", "list": "Promotions", "date": "2026년 11월 22일", "unsubscribe": theLink,
		}[canonical(name)]
		switch {
		case !known:
			return found
		case value == theLink:
			return value
		case value == "":
			value = strings.Join(strings.Fields(fallback), " ")
		}
		return m[1] + write(value)
	})
}

// canonical is the field that input knows by a name or alias.
func canonical(name string) string {
	name = strings.ToLower(strings.Join(strings.Fields(name), ""))
	switch name {
	case "이름", "성함":
		return "name"
	case "점수":
		return "point"
	}
	return name
}
