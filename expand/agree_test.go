package expand_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postern/expand"
	"postern/internal/peer"
)

// report fails t for each problem.
func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

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
	Left         []string    // placeholders
	Defects      []string
}

// aCopy is a mail of testdata or testdata/mails and its copy, as Python reads both
// and mailparser the copy.
type aCopy struct {
	name               string
	raw                []byte // the copy
	original, copy, js bySomebody
	refused            error
}

// readCopies lets one process of each reader read all mails.
func readCopies(t *testing.T) []aCopy {
	t.Helper()
	var all []aCopy
	from, to := originals(t), []string{}
	dir := t.TempDir()
	for _, path := range from {
		c := aCopy{name: filepath.Base(path)}
		rendered := filepath.Join(dir, c.name)
		b, err := tryCopy(t, path)
		if c.raw, c.refused = b, err; err != nil {
			b = []byte("Subject: none\r\n\r\n")
		}
		if err := os.WriteFile(rendered, b, 0o600); err != nil {
			t.Fatal(err)
		}
		all, to = append(all, c), append(to, rendered)
	}
	python := somebodyReads(t, exec.Command(peer.Python, "testdata/agree.py"), slices.Concat(from, to))
	js := exec.Command(peer.Command(t, "node"), "testdata/agree.js")
	js.Env = append(os.Environ(), "MAILPARSER="+filepath.Join(peer.NodeModules(t), "mailparser"))
	node := somebodyReads(t, js, to)
	for i := range all {
		all[i].original, all[i].copy, all[i].js = python[i], python[len(all)+i], node[i]
	}
	return all
}

// tryCopy is copyOf for a mail that may be refused.
func tryCopy(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := input(t, "")
	in.Raw, in.List.Language = raw, "ko"
	if _, err := expand.Compile(in); err != nil {
		return nil, err
	}
	return copyOf(t, path), nil
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
// every copy and find nothing wrong with it, no placeholder is left there, and nothing
// that the original shows is missing.
func TestPythonAndMailparserReadTheSame(t *testing.T) {
	for _, c := range readCopies(t) {
		t.Run(c.name, func(t *testing.T) {
			if c.refused != nil {
				report(t, []string{"refused: " + c.refused.Error()})
				return
			}
			checkWire(t, c.raw)
			report(t, slices.Concat(disagreement(c.js, c.copy), lost(c.original, c.copy)))
		})
	}
}

// disagreement is what the two readers see differently.
func disagreement(js, py bySomebody) []string {
	return slices.Concat(
		differ("Subject", js.Subject, py.Subject),
		differ("From", js.From, py.From),
		differ("To", js.To, py.To),
		differ("the readers' text", rows(js.Text), rows(strings.Join(py.Texts, "\n"))),
		differ("the readers' HTML", rows(js.HTML), rows(strings.Join(py.HTMLs, "\n"))),
		differ("the readers' files", js.Files, py.Files),
		differ("defects", py.Defects, []string{}),
	)
}

// lost is what the copy should have of the original, and has not, or should not have.
func lost(before, after bySomebody) []string {
	problems := slices.Concat(
		differ("From", after.From, before.From),
		differ("To", after.To, [][2]string{{`Kim, "Min" 민 <b>&`, "min@example.net"}}),
		differ("attachments and pictures", after.Files, before.Files),
		missing("text", before.Texts, after.Texts),
		missing("HTML", before.Visible, after.Visible),
	)
	for _, left := range after.Left {
		problems = append(problems, "a placeholder is left in "+left)
	}
	return problems
}

func differ[T any](what string, got, want T) []string {
	if g, w := reflect.ValueOf(got), reflect.ValueOf(want); reflect.DeepEqual(got, want) || g.Kind() == reflect.Slice && g.Len()+w.Len() == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s:\n got %v\nwant %v", what, got, want)}
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

// missing is every stretch of the original's texts that stands in one block between
// placeholders and is not in the copy's. A copy may have a text where the original
// has none of the kind.
func missing(what string, before, after []string) []string {
	if len(before) > 0 && len(after) != len(before) {
		return []string{fmt.Sprintf("%s: the original has %d parts of it, the copy %d", what, len(before), len(after))}
	}
	var problems []string
	for i, text := range before {
		got := shown(after[i])
		for _, stretch := range standIn.Split(unseen.ReplaceAllString(text, ""), -1) {
			for block := range strings.SplitSeq(stretch, "\n") {
				// The slash that clients put behind a link goes with the placeholder.
				if block = strings.TrimPrefix(shown(block), "/"); !strings.Contains(got, block) {
					problems = append(problems, fmt.Sprintf("%s: %q is missing in\n%s", what, block, got))
				}
			}
		}
	}
	return problems
}

// TestTextOfACopyIsTheOriginalsWithValues does again what the compiler does, in the
// plain way that is open to a test: it takes the text that Python finds in the
// original and puts the values in with a regular expression.
func TestTextOfACopyIsTheOriginalsWithValues(t *testing.T) {
	for _, c := range readCopies(t) {
		t.Run(c.name, func(t *testing.T) {
			if c.refused != nil {
				report(t, []string{"refused: " + c.refused.Error()})
				return
			}
			before, after := c.original, c.copy
			if len(before.Texts) == 0 {
				after.Texts = nil
			}
			if strings.HasPrefix(after.Subject, "(광고)") { // the label of advertising has its own tests
				before.Subject, after.Subject = "", ""
			}
			report(t, slices.Concat(
				differ("Subject", shown(after.Subject), shown(filled(before.Subject, inText))),
				unlike("text", before.Texts, after.Texts, inText),
				unlike("HTML", before.Visible, after.Visible, inHTML),
				unlikeAttributes(before, after),
			))
		})
	}
}

// unlike compares part by part. A footer may be added.
func unlike(what string, before, after []string, where place) []string {
	if len(after) != len(before) {
		return []string{fmt.Sprintf("%s: the original has %d parts of it, the copy %d", what, len(before), len(after))}
	}
	var problems []string
	for i := range before {
		wanted, got := shown(filled(before[i], where)), shown(after[i])
		if footer, ok := added(wanted, got); !ok || footer != "" && !strings.Contains(footer, "min@example.net") {
			problems = append(problems, fmt.Sprintf("%s:\n got %s\nwant %s", what, got, wanted))
		}
	}
	return problems
}

// added is the one stretch by which got is longer.
func added(short, long string) (string, bool) {
	n := len(long) - len(short)
	if n < 0 {
		return "", false
	}
	for i := 0; i <= len(short); i++ {
		if long[:i] == short[:i] && long[i+n:] == short[i:] {
			return long[i : i+n], true
		}
	}
	return "", false
}

// unlikeAttributes compares links and the texts of pictures. Links to unsubscribe and
// to write to somebody may come between: the footer's, and around one that stands in
// text.
func unlikeAttributes(before, after bySomebody) []string {
	wanted, got := attributesFilled(before), slices.Concat(after.Attributes...)
	n := 0
	odd := slices.ContainsFunc(got, func(a [3]string) bool {
		if n < len(wanted) && a == wanted[n] {
			n++
			return false
		}
		return a[1] != "href" || a[2] != theLink && !strings.HasPrefix(a[2], "mailto:")
	})
	if !odd && n == len(wanted) {
		return nil
	}
	return []string{fmt.Sprintf("links and the texts of pictures:\n got %v\nwant %v", got, wanted)}
}

func attributesFilled(m bySomebody) [][3]string {
	all := slices.Concat(m.Attributes...)
	for i, a := range all {
		switch {
		case a[1] == "alt" || a[1] == "title":
			a[2] = filled(a[2], inHTML)
		case strings.HasPrefix(a[2], "mailto:"):
			a[2] = filled(a[2], inMailto)
		default:
			a[2] = filled(a[2], inLink)
		}
		all[i] = a
	}
	return all
}

// place is where a value stands.
type place int

const (
	inText place = iota
	inHTML       // what it shows
	inLink
	inMailto
)

func (p place) write(s string) string {
	switch p {
	case inLink:
		return percent(s)
	case inMailto:
		return strings.ReplaceAll(percent(s), "%40", "@")
	}
	return s
}

var (
	// unseen characters take no part in a placeholder, and whether a copy keeps them
	// around one is not asked here.
	unseen = regexp.MustCompile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
	// standIn is a placeholder, or one in a link that a client encoded. Outlook and
	// Gmail put http:// before what shall be a link, Apple Mail an address of its own.
	standIn = regexp.MustCompile(`(?i)(https?://|(?:applewebdata|x-webdoc)://[-0-9a-f]+/)?(?:[{｛]{2}([^{}｛｝]*)[}｝]{2}|%7b%7b(.*?)%7d%7d)`)
)

// quoteMarks within a placeholder are of a quotation whose lines were broken.
var quoteMarks = regexp.MustCompile(`\s>[>\s]*`)

// shown is s as the eye sees it.
func shown(s string) string {
	return strings.Join(strings.Fields(unseen.ReplaceAllString(s, "")), " ")
}

func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// filled puts the values of copyOf in the place of placeholders. What stands in an
// address is percent-encoded in text too.
func filled(s string, where place) string {
	s = unseen.ReplaceAllString(s, "")
	var out strings.Builder
	at := 0
	for _, m := range standIn.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[at:m[0]])
		at = m[1]
		as, inner := where.write, ""
		if m[4] >= 0 {
			inner = s[m[4]:m[5]]
		} else if plain, err := url.PathUnescape(s[m[6]:m[7]]); err == nil {
			inner = plain
		}
		if where == inText && (m[4] < 0 || address.MatchString(out.String())) {
			as = percent
		}
		value, known := valueOf(inner)
		switch {
		case !known:
			out.WriteString(s[m[0]:m[1]])
		case value == theLink:
			out.WriteString(value)
			if m[2] >= 0 && lastSlash.MatchString(s[at:]) { // clients make an address complete
				at++
			}
		default:
			if m[2] >= 0 {
				out.WriteString(s[m[2]:m[3]])
			}
			out.WriteString(as(value))
		}
	}
	return out.String() + s[at:]
}

var (
	// address is what ends with one that goes on.
	address   = regexp.MustCompile(`(?i)://[-a-z0-9._~:/?#\[\]@!$&'()*+,;=%]*$`)
	lastSlash = regexp.MustCompile(`^/(?:[\s<>"']|$)`)
)

// valueOf is what stands in the place of a placeholder.
func valueOf(inner string) (value string, known bool) {
	inner = strings.Map(func(r rune) rune {
		if '！' <= r && r <= '～' { // the full-width forms
			return r - '！' + '!'
		}
		return r
	}, quoteMarks.ReplaceAllString(inner, " "))
	name, fallback, _ := strings.Cut(inner, "|")
	value, known = map[string]string{
		"name": `Kim, "Min" 민 <b>&`, "point": "1,200", "gender": "", "shop": "",
		"email": "min@example.net", "list": "Promotions", "date": "2026년 11월 22일", "unsubscribe": theLink,
	}[canonical(name)]
	if value == "" {
		value = strings.Join(strings.Fields(fallback), " ")
	}
	return value, known
}

// canonical is the field that input knows by a name or alias.
func canonical(name string) string {
	name = strings.ToLower(strings.Trim(strings.Join(strings.Fields(name), ""), "*_/")) // marks of bold text
	switch name {
	case "이름", "성함":
		return "name"
	case "점수":
		return "point"
	}
	return name
}
