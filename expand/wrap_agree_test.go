package expand_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"postern/expand"
	"postern/internal/peer"
)

// oddTemplates put {{Body}} where shops put it. In all of them THE END stands as it
// should when no mail breaks out of its place.
func oddTemplates() map[string][2]string {
	const end = `<p id="end">THE END</p>`
	return map[string][2]string{
		"without tags":     {"{{Body}}" + end, ""},
		"twice":            {"<html><body><div>{{Body}}</div><hr>{{Body}}" + end + "</body></html>", "{{Body}}\n--\n{{Body}}\nTHE END"},
		"in a cell":        {"<html><head></head><body><center><table width=600><tr><td bgcolor=#eeeeee>{{Body}}</td></tr></table></center>" + end + "</body></html>", ""},
		"in a paragraph":   {"<body><p style='color:red'>{{Body}}</p>" + end + "</body>", "{{Body}}\nTHE END"},
		"split by tags":    {"<body>{{<span>Bo<b>dy</b></span>}}" + end + "</body>", ""},
		"with comments":    {"<html><head><!--[if mso]><xml><o:OfficeDocumentSettings></o:OfficeDocumentSettings></xml><![endif]--></head><body><!--[if mso]><table><tr><td><img src='{{image:logo.gif}}'><![endif]-->{{Body}}<!--[if mso]></td></tr></table><![endif]-->" + end + "</body></html>", ""},
		"text alone":       {"", "{{Subject}}\n\n{{Body}}\n\nTHE END\n"},
		"links and styles": {"<html><head><style>td{background:url({{image:logo.gif}})}</style></head><body background='{{image:logo.gif}}' style=\"background-image:url('{{image:logo.gif}}')\">{{Body}}" + end + "</body></html>", "{{Body}}\nTHE END"},
	}
}

// TestEveryMailInEveryTemplateIsReadByOthers: Python and mailparser see the same in
// each mail of the collection in each template and find no defect; nothing that its
// author wrote or attached is lost, and nothing of the template is swallowed.
func TestEveryMailInEveryTemplateIsReadByOthers(t *testing.T) {
	dir, from := t.TempDir(), originals(t)
	names := slices.Sorted(maps.Keys(oddTemplates()))
	var to []string
	for _, path := range from {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for n, name := range names {
			in := input(t, "")
			in.Raw, in.List.Language = raw, "ko"
			in.Template = &expand.Template{ID: "odd", HTML: oddTemplates()[name][0], Text: oddTemplates()[name][1], Images: newsletter().Images}
			c, err := expand.Compile(in)
			if err != nil {
				t.Fatalf("%s %s: %v", filepath.Base(path), name, err)
			}
			raw := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": `Kim, "Min" 민 <b>&`, "Point": "1,200"}), "TOKEN_7").Bytes()
			checkWire(t, raw)
			to = append(to, filepath.Join(dir, fmt.Sprintf("%d-%s", n, filepath.Base(path))))
			if err := os.WriteFile(to[len(to)-1], raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	python := somebodyReads(t, exec.Command(peer.Python, "testdata/agree.py"), slices.Concat(from, to))
	js := exec.Command(peer.Command(t, "node"), "testdata/agree.js")
	js.Env = append(os.Environ(), "MAILPARSER="+filepath.Join(peer.NodeModules(t), "mailparser"))
	node := somebodyReads(t, js, to)
	for i, path := range from {
		for n, name := range names {
			k := i*len(names) + n
			before, after := python[i], python[len(from)+k]
			t.Run(filepath.Base(path)+" "+name, func(t *testing.T) {
				report(t, slices.Concat(disagreement(node[k], after), lostInTemplate(before, after, name), swallowed(after)))
			})
		}
	}
}

// lostInTemplate is what the author wrote or attached and the copy has not.
func lostInTemplate(before, after bySomebody, name string) []string {
	problems := []string{}
	for _, left := range after.Left {
		problems = append(problems, "a placeholder is left in "+left)
	}
	said, got := before.Visible, strings.Join(after.Visible, "\n")
	if len(said) == 0 || name == "text alone" {
		said, got = before.Texts, strings.Join(after.Texts, "\n")
	}
	if name == "text alone" && len(said) == 0 {
		return problems // made from the HTML
	}
	said = slices.Clone(said)
	if len(before.Visible) > len(before.HTMLs) && name != "text alone" {
		said = said[1:] // AMP has no place in a template
	}
	for i := range said {
		if name == "text alone" || len(before.HTMLs) == 0 {
			continue
		}
		if title := pageTitle.FindStringSubmatch(before.HTMLs[i]); title != nil {
			said[i] = strings.Replace(said[i], html.UnescapeString(title[1]), "", 1)
		}
	}
	problems = append(problems, missing("words", []string{strings.Join(said, "\n")}, []string{got})...)
	for _, f := range before.Files {
		if !slices.Contains(after.Files, f) && !(name == "text alone" && f[3] != "") {
			problems = append(problems, fmt.Sprintf("the file %v is missing among %v", f, after.Files))
		}
	}
	return problems
}

var pageTitle = regexp.MustCompile(`(?is)<title>(.*?)</title>`)

// swallowed says where the template's end does not stand at its end any more.
func swallowed(after bySomebody) []string {
	for _, page := range after.HTMLs {
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			return []string{err.Error()}
		}
		found := ""
		for n := range doc.Descendants() {
			for _, a := range n.Attr {
				if a.Key == "id" && a.Val == "end" {
					found = n.Parent.Data
				}
			}
		}
		if found != "body" {
			return []string{fmt.Sprintf("the template's end stands within %q:\n%s", found, page)}
		}
	}
	for _, text := range after.Texts {
		if !strings.Contains(text, "THE END") {
			return []string{"the template's end is missing in\n" + text}
		}
	}
	return nil
}
