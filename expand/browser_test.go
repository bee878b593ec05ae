package expand_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/expand"
	"postern/internal/peer"
)

// TestBrowserShowsNothingOfCopiesButTheValues holds that whoever gets a copy sees
// the mail as it was written: in Chromium a copy is the original with the values
// typed in by hand, pixel for pixel, and nothing joins it but the footer at its
// end. Pictures of original and copy are kept with `go test -artifacts`.
func TestBrowserShowsNothingOfCopiesButTheValues(t *testing.T) {
	readers := []*recipient{
		newRecipient(t, "ko", map[string]string{"Name": `남궁 "하늘" <b>& 아들`, "Point": "1,234,567", "Gender": "여성", "Shop": "강남점"}),
		newRecipient(t, "en", map[string]string{"Name": "Jo"}),
	}
	mails, dir := append(originals(t), sample), t.TempDir()
	var files []string
	refused := map[string]error{}
	for i, m := range mails {
		files = append(files, m)
		for _, r := range readers {
			files = append(files, filepath.Join(dir, fmt.Sprintf("%s%d.eml", r.in.List.Language, i)))
			if err := r.writeCopy(t, m, files[len(files)-1]); err != nil {
				refused[m] = err
			}
		}
	}
	pages := htmlOf(t, files)
	b := &viewer{Browser: peer.NewBrowser(t, pageWidth), dir: dir}
	if flag.Lookup("test.artifacts").Value.String() == "true" {
		b.pictures = t.ArtifactDir()
	}
	for i, m := range mails {
		name, of := strings.TrimSuffix(filepath.Base(m), ".eml"), pages[i*(1+len(readers)):]
		t.Run(name, func(t *testing.T) {
			var problems []string
			if err := refused[m]; err != nil {
				problems = append(problems, fmt.Sprintf("the mail is refused: %v", err))
			} else {
				originals := b.openAll(t, name, of[0])
				for n, r := range readers {
					problems = append(problems, b.compare(t, r, name, originals, of[1+n])...)
				}
			}
			report(t, problems)
		})
	}
}

// pageWidth is in CSS pixels.
const pageWidth = 800

// recipient is somebody who gets a copy.
type recipient struct {
	in     expand.Input
	values map[string]string // by field, and what is built in
	first  bool              // the one of two whose copies are compared pixel by pixel
}

func newRecipient(t *testing.T, language string, values map[string]string) *recipient {
	in := input(t, "")
	in.List.Language = language
	values[expand.FieldEmail], values[expand.FieldUnsubscribe], values[expand.FieldList] = "min@example.net", theLink, in.List.Name
	values["Preferences"] = in.BaseURL + "/p/TOKEN_7"
	values[expand.FieldDate] = in.Date.Format("2 January 2006")
	if language == "ko" {
		values[expand.FieldDate] = in.Date.Format("2006년 1월 2일")
	}
	return &recipient{in, values, language == "ko"}
}

// writeCopy writes r's copy of original; the error is the mail's refusal.
func (r *recipient) writeCopy(t *testing.T, original, path string) error {
	t.Helper()
	raw, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	in := r.in
	in.Raw = raw
	c, err := expand.Compile(in)
	if err != nil {
		return errors.Join(err, os.WriteFile(path, nil, 0o600))
	}
	if err := os.WriteFile(path, c.Render(copyTo(c, "min@example.net", r.values), "TOKEN_7").Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return nil
}

// htmlOf reads the HTML parts of mails with a reader that is not ours.
func htmlOf(t *testing.T, files []string) [][]string {
	t.Helper()
	cmd := exec.Command(peer.Python, append([]string{"testdata/pages.py"}, files...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v (this test needs Debian's python3)", peer.Python, err)
	}
	var all [][]string
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// viewer looks at mails.
type viewer struct {
	*peer.Browser
	dir      string // for the pages
	pictures string // for the pictures that are kept; "" keeps none
}

// openAll looks at the HTML parts of an original.
func (b *viewer) openAll(t *testing.T, mail string, originals []string) (all []document) {
	t.Helper()
	for i, html := range originals {
		all = append(all, b.open(t, html))
		b.keep(t, fmt.Sprintf("%s-%d-original", mail, i))
	}
	return all
}

// compare looks at the HTML parts of an original beside those of the copy of r and
// gives its problems.
func (b *viewer) compare(t *testing.T, r *recipient, mail string, originals []document, copies []string) (problems []string) {
	t.Helper()
	problem := func(format string, a ...any) {
		problems = append(problems, r.in.List.Language+": "+fmt.Sprintf(format, a...))
	}
	if len(originals) != len(copies) {
		problem("%d HTML parts became %d", len(originals), len(copies))
		return problems
	}
	linked := len(originals) == 0
	for i := range originals {
		name := fmt.Sprintf("%s-%d-", mail, i)
		c := &comparison{r: r, original: originals[i], copied: b.open(t, copies[i]), fills: []fill{}}
		c.compare()
		b.keep(t, name+"copy-"+r.in.List.Language)
		for _, p := range c.problems {
			problem("HTML part %d: %s", i, p)
		}
		linked = linked || c.linked
		if r.first && len(c.problems) == 0 && !b.looksTyped(t, c) {
			b.keep(t, name+"typed")
			problem("HTML part %d: the copy does not look like the original with the values typed in by hand (go test -artifacts keeps the pictures)", i)
		}
	}
	if !linked && problems == nil {
		problem("the HTML has no unsubscribe link")
	}
	return problems
}

// looksTyped says whether the copy that is shown looks like its original with the
// values typed in by hand: down to the footer, or whole.
func (b *viewer) looksTyped(t *testing.T, c *comparison) bool {
	t.Helper()
	height := b.height(t)
	if c.footer > 0 {
		b.Eval(t, fmt.Sprintf("nodes[%d].getBoundingClientRect().top", c.footer), &height)
	}
	if height <= 0 {
		return false
	}
	copied := b.Picture(t, pageWidth, height)
	b.open(t, c.original.source)
	b.fill(t, c.fills)
	return (c.footer > 0 || b.height(t) == height) && bytes.Equal(b.Picture(t, pageWidth, height), copied)
}

// open shows HTML and says what the browser makes of it. A file that starts with a
// byte order mark is UTF-8 whatever charset the HTML names.
func (b *viewer) open(t *testing.T, html string) document {
	t.Helper()
	path := filepath.Join(b.dir, "page.html")
	if err := os.WriteFile(path, []byte("\ufeff"+html), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Open(t, "file://"+path)
	var tokens []token
	b.Eval(t, tokensScript, &tokens)
	return newDocument(html, tokens)
}

func (b *viewer) height(t *testing.T) (height float64) {
	t.Helper()
	b.Eval(t, "document.documentElement.scrollHeight", &height)
	return height
}

// keep takes a picture of the whole page for people, when somebody wants it.
func (b *viewer) keep(t *testing.T, name string) {
	t.Helper()
	if b.pictures == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(b.pictures, name+".png"), b.Picture(t, pageWidth, b.height(t)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fill types values into the page that is shown.
func (b *viewer) fill(t *testing.T, fills []fill) {
	t.Helper()
	script, err := json.Marshal(fills)
	if err != nil {
		t.Fatal(err)
	}
	b.Eval(t, fmt.Sprintf(`(async () => {
		const linked = (text, href) => text.split(href).flatMap((s, i) => {
			const a = Object.assign(document.createElement("a"), {href, textContent: href})
			return i ? [a, s] : [s]
		})
		for (const f of %s) {
			if (f.Attr) nodes[f.Node].setAttribute(f.Attr, f.Text)
			else if (f.Link) nodes[f.Node].replaceWith(...linked(f.Text, f.Link))
			else nodes[f.Node].data = f.Text
		}
		await Promise.allSettled([...document.images].map(i => i.decode()))
	})()`, script), nil)
}

// tokensScript lists what the parser made of the page. The inside of a conditional
// comment is parsed as well, as Outlook does.
const tokensScript = `(() => {
	const all = []
	globalThis.nodes = []
	const see = n => {
		const node = nodes.push(n) - 1
		switch (n.nodeType) {
		case Node.ELEMENT_NODE:
			all.push({Kind: "<", Name: n.nodeName, Attrs: [...n.attributes].map(a => [a.name, a.value]), Node: node})
			n.childNodes.forEach(see)
			all.push({Kind: ">", Name: n.nodeName})
			break
		case Node.TEXT_NODE:
			all.push({Kind: /^(STYLE|SCRIPT)$/.test(n.parentNode.nodeName) ? "style" : "text", Name: n.data, Node: node})
			break
		case Node.COMMENT_NODE:
			const inside = n.data.match(/^\[if [^\]]*\]>([^]*)<!\[endif\]$/i)
			all.push({Kind: inside ? "if" : "comment", Name: n.data})
			if (!inside) break
			new DOMParser().parseFromString(inside[1], "text/html").childNodes.forEach(see)
			all.push({Kind: "endif"})
			break
		case Node.DOCUMENT_TYPE_NODE:
			all.push({Kind: "doctype", Name: [n.name, n.publicId, n.systemId].join(" ")})
		}
	}
	document.childNodes.forEach(see)
	return all
})()`
