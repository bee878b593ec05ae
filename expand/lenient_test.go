package expand_test

import (
	"runtime"
	"strings"
	"testing"

	"postern/expand"
)

const plainHead = "From: Boss <boss@example.com>\nSubject: s\nMIME-Version: 1.0\n"

func TestOddHeadersAreReadAsMeant(t *testing.T) {
	for _, c := range []struct{ name, raw, want string }{
		{"comments in a type", plainHead + "Content-Type: text/plain (c); charset=utf-8 (Unicode)\nContent-Transfer-Encoding: (x) 8bit\n\n한글 {{Name}}\n", "한글 민"},
		{"a boundary with brackets", plainHead + "Content-Type: multipart/mixed; boundary=a(1)\n\n--a(1)\n\nHi {{Name}}\n--a(1)--\n", "Hi 민"},
		{"utf-8 as Windows numbers it", plainHead + "Content-Type: text/plain; charset=cp65001\n\n한글 {{Name}}\n", "한글 민"},
		{"utf-8 that calls itself euc-kr", plainHead + "Content-Type: text/plain; charset=euc-kr\n\n안녕하세요 {{Name}}\n", "안녕하세요 민"},
		{"a comment before From's name", "From: (c) Boss (d) <boss@example.com> (e)\nSubject: s\n\nHi {{Name}}\n", "Hi 민"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := expandTo(t, c.raw, "민")
			if !strings.Contains(got, c.want) {
				t.Errorf("want %q in\n%s", c.want, got)
			}
		})
	}
}

func TestWhatNobodyCouldAnswerOrOpenIsRefused(t *testing.T) {
	if got := refused(t, "Reply-To: not an address\n"+plainHead+"\nx\n"); !strings.Contains(got, "Reply-To") || !strings.Contains(got, "not an address") {
		t.Errorf("Reply-To: %s", got)
	}
	winmail := plainHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHi\n--b\nContent-Type: application/octet-stream\n" +
		"Content-Disposition: attachment; filename=\"Winmail.dat\"\nContent-Transfer-Encoding: base64\n\nAAEC\n--b--\n"
	if got := refused(t, winmail); !strings.Contains(got, "winmail.dat") {
		t.Errorf("winmail.dat: %s", got)
	}
}

func TestOutlooksOwnHTMLAndPicturesArePersonal(t *testing.T) {
	raw := plainHead + "Content-Type: text/html; charset=utf-8\n\n" +
		"<!--[if gte mso 9]><xml><o:x>{1}</o:x></xml><style>a{b:{{c}}}</style><![endif]-->" +
		"<!--[if mso]><v:rect href=\"{{Unsubscribe}}\">for {{Na<b>me</b>}}</v:rect><![endif]-->" +
		"<!-- {{left alone}} --><p>{{Na<!--[if !x]-->me}}</p><img src=\"https://x.example/{{Email}}.png\" alt=a>\n"
	got := expandTo(t, raw, "민")
	for _, want := range []string{`for 민<b></b></v:rect>`, `<v:rect href="https://`, "{{left alone}}", "<p>민<!--[if !x]--></p>", "https://x.example/min%40example.net.png", "<style>a{b:{{c}}}</style>"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if got := refused(t, strings.Replace(raw, "for {{", "for {{x", 1)); !strings.Contains(got, "{{xName}}") {
		t.Errorf("an unknown field in a conditional comment: %s", got)
	}
}

// A placeholder counts once, although a text with the footer is compiled again.
func TestALineForEachOf4900PlaceholdersFits(t *testing.T) {
	got := expandTo(t, plainHead+"\n"+strings.Repeat("{{Name}} line\n", 4900), "민")
	if n := strings.Count(got, "민 line"); n != 4900 {
		t.Errorf("%d lines are filled", n)
	}
}

// What one attribute costs is bounded by its size.
func TestAHugeAttributeCostsNoMoreThanItsSize(t *testing.T) {
	const size = 2 << 20
	raw := plainHead + "Content-Type: text/html\n\n<a href=\"" + strings.Repeat("%41%42%43&amp;\n", size/15) + "\">{{Name}}</a>\n"
	in := input(t, raw)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := expand.Compile(in); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 30*size {
		t.Errorf("compiling %d MB took %d MB", size>>20, used>>20)
	}
	if got := refused(t, strings.Replace(raw, "%41", "{{Name}}", 1)); !strings.Contains(got, "link") {
		t.Errorf("a placeholder in it: %s", got)
	}
}

// expandTo is what a reader of the copy for name sees.
func expandTo(t *testing.T, raw, name string) string {
	t.Helper()
	r := render(t, raw, name)
	checkWire(t, r.raw)
	return r.text + r.html
}
