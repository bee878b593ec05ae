package expand_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"postern/expand"
)

// inspected are the findings on a template, one line each.
func inspected(t *testing.T, tpl *expand.Template) []string {
	t.Helper()
	var all []string
	for _, f := range expand.Inspect(tpl, input(t, "").Vocabulary).Findings {
		kind := f.Code
		if f.Problem {
			kind = "PROBLEM"
		}
		all = append(all, fmt.Sprintf("%s %s:%d %s", kind, f.Part, f.Line, f.Text))
	}
	return all
}

// decent is a template in which nothing is odd.
func decent(more string) *expand.Template {
	return &expand.Template{ID: "winter", HTML: "<html>\n<body>\n<img src=\"{{image:logo.gif}}\" alt=\"{{List}}\">\n<div>{{Body}}</div>\n" + more + "\n<a href=\"{{Unsubscribe}}\">x</a></body></html>\n",
		Text: "{{Body}}\n\n{{Unsubscribe}}\n", Images: []expand.Image{{Name: "logo.gif", Type: "image/gif", Data: dot}}}
}

func TestInspectFindsNothingOddInADecentTemplate(t *testing.T) {
	tpl := decent("<p>{{Name|friend}}, {{Subject}}</p><p>{{Point|0}}")
	tpl.Subject = "[Shop] {{Subject}}"
	if all := inspected(t, tpl); all != nil {
		t.Errorf("%q", all)
	}
	got := expand.Inspect(tpl, input(t, "").Vocabulary).Placeholders
	if want := []string{"{{Subject}}", "{{List}}", "{{Body}}", "{{Name}}", "{{Point}}", "{{Unsubscribe}}"}; !slices.Equal(got, want) {
		t.Errorf("placeholders %q", got)
	}
}

func TestInspectNamesEveryProblemWithItsLine(t *testing.T) {
	tpl := decent("<p>{{Nmae}}</p>\n<p>{{#if Name}}x{{/if}}</p>\n<img alt=x src=\"{{image:lego.gif}}\">\n<a href='{{Body}}'>x</a>\n<p>{{Name\n</p><p>{{image:logo.gif}}</p>")
	tpl.Text, tpl.Subject = "\r\nHi {{Name}}\r\n{{Body}}{{Pont}} {{Unsubscribe}}", "{{Body}} {{Sbject}}"
	got := inspected(t, tpl)
	want := []string{
		"PROBLEM subject:0 {{Body}} is a page and no part of a subject",
		"PROBLEM subject:0 {{Sbject}} is not a field",
		"PROBLEM html:5 {{Nmae}} is not a field; did you mean {{Name}}?",
		"PROBLEM html:6 {{#if Name}} is another program's placeholder",
		"PROBLEM html:6 {{/if}} is another program's placeholder",
		`PROBLEM html:7 in a link: there is no picture "lego.gif"; the template has logo.gif`,
		"PROBLEM html:8 in a link: {{Body}} stands in an address",
		"PROBLEM html:9 a placeholder is not closed near",
		"PROBLEM text:3 {{Pont}} is not a field; did you mean {{Point}}?",
	}
	if len(got) < len(want) {
		t.Fatalf("%d findings:\n%s", len(got), strings.Join(got, "\n"))
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i], w) {
			t.Errorf("got  %s\nwant %s", got[i], w)
		}
	}
}

func TestInspectFindsWhateverCheckTemplateFinds(t *testing.T) {
	for _, source := range []string{"{{Nmae}}", "{{{Body}}}", "{{Name", "*|FNAME|*", "<a href='{{Body}}'>", "{{image:x}}", "<img src='{{image:x}}'>", "{{> x}}", "<a title='{{Body}}'>"} {
		for _, tpl := range []*expand.Template{{ID: "x", HTML: source}, {ID: "x", Text: source}, {ID: "x", Subject: source, Text: "x"}, {ID: "x"}} {
			v := input(t, "").Vocabulary
			if a, b := len(expand.CheckTemplate(tpl, v)) > 0, expand.Inspect(tpl, v).Problems() > 0; a && !b {
				t.Errorf("%+v: CheckTemplate finds %v", tpl, expand.CheckTemplate(tpl, v))
			}
		}
	}
}

func TestInspectWarns(t *testing.T) {
	for want, tpl := range map[string]*expand.Template{
		"no-alt html:5 A picture has no text for those who do not see it (alt text): {{image:logo.gif}}":            decent("<img src='{{image:logo.gif}}'>"),
		"http-picture html:5 A picture is fetched without encryption":                                               decent("<img alt=x src='http://x.example/a.png'>"),
		"no-placeholder html:5 The picture is called images/logo.gif, and no reader has a file of that name: write": decent("<img alt=x src='images/logo.gif'>"),
		"missing-picture html:5 cid:x@y is no picture of the template":                                              decent("<img alt=x src='cid:x@y'>"),
		"data-picture html:5 ": decent("<img alt=x src='data:image/gif;base64,R0lG'>"),
		"not-filled html:5 {{image:logo.gif}} is sent as it is written": decent("<td style=\"background:url({{image:logo.gif}})\">x</td>"),
		"not-filled html:6 {{Name}} is sent as it is written":           decent("<style>\n/* {{Name}} */</style>"),
		"single-marks html:0 {Name} is sent as it is written":           decent("<p>{Name}</p>"),
		"empty-link html:5 A link leads nowhere":                        decent("<a href=''>x</a>"),
		"body-inside html:5 {{Body}} stands within <p>":                 decent("<p><b>{{Body}}</b></p>"),
		"body-inside html:5 {{Body}} stands within <a>":                 decent("<a href='https://x.example'><div>{{Body}}</div></a>"),
	} {
		if all := inspected(t, tpl); len(all) != 1 || !strings.HasPrefix(all[0], want) {
			t.Errorf("got  %q\nwant %s", all, want)
		}
	}
	for want, change := range map[string]func(*expand.Template){
		"no-body :0 There is no {{Body}}": func(t *expand.Template) {
			t.HTML, t.Text = strings.ReplaceAll(t.HTML, "{{Body}}", ""), "{{Unsubscribe}}"
		},
		"no-body text:0 There is no {{Body}} in the text, and there is one in the HTML: who is shown the text": func(t *expand.Template) { t.Text = "{{Unsubscribe}}" },
		"no-unsubscribe :0 There is no {{Unsubscribe}}, so every copy gets a footer": func(t *expand.Template) {
			t.HTML, t.Text = strings.ReplaceAll(t.HTML, "{{Unsubscribe}}", "https://x.example"), ""
		},
		"no-unsubscribe text:0 There is no {{Unsubscribe}} in the text": func(t *expand.Template) { t.Text = "{{Body}}" },
		"unused-picture b.gif:0 No {{image:b.gif}} shows this picture.": func(t *expand.Template) {
			t.Images = append(t.Images, expand.Image{Name: "b.gif", Type: "image/gif", Data: dot})
		},
		"large-picture logo.gif:0 The picture has 1.0 MB": func(t *expand.Template) { t.Images[0].Data = make([]byte, 1<<20+1) },
		"clipped-by-gmail html:0 The HTML has 1":          func(t *expand.Template) { t.HTML += strings.Repeat("x ", 60<<10) },
	} {
		tpl := decent("")
		change(tpl)
		if all := inspected(t, tpl); len(all) != 1 || !strings.HasPrefix(all[0], want) {
			t.Errorf("got  %q\nwant %s", all, want)
		}
	}
}

// Most readers are shown the HTML alone, so a mail is refused that would only stand in
// the text.
func TestHTMLWithoutABodyIsAProblem(t *testing.T) {
	tpl := decent("")
	tpl.HTML = strings.ReplaceAll(tpl.HTML, "{{Body}}", "")
	all := inspected(t, tpl)
	if len(all) != 2 || !strings.HasPrefix(all[0], "no-body html:0 There is no {{Body}} in the HTML") || !strings.HasPrefix(all[1], "PROBLEM :0 the template winter has no {{Body}}") {
		t.Errorf("got %q", all)
	}
}

// What the template shows, the mail need not.
func TestReviewLooksAtTheMailInItsTemplate(t *testing.T) {
	in := input(t, titled("Hello", textMail("Dear {{Name|friend}}, the coats are here.")))
	in.Raw = []byte(strings.ReplaceAll(string(in.Raw), "{{Unsubscribe}}", "")) // textMail shows it
	if codes, _ := reviewOf(t, in); !slices.Equal(codes, []string{"footer-added"}) {
		t.Fatalf("without a template: %v", codes)
	}
	in.Template = decent("")
	if codes, by := reviewOf(t, in); len(codes) > 0 {
		t.Errorf("in a template with a link: %v", by)
	}
	in.Template = decent(strings.Repeat("x ", 60<<10))
	if codes, _ := reviewOf(t, in); !slices.Equal(codes, []string{"clipped-by-gmail"}) {
		t.Errorf("in a long template: %v", codes)
	}
	in.Template = decent("")
	in.Template.Text = "{{Body}}"
	if codes, _ := reviewOf(t, in); !slices.Equal(codes, []string{"footer-added"}) {
		t.Errorf("in a template whose text has no link: %v", codes)
	}
}

func TestDocumentationListsTheWarningsOfTemplates(t *testing.T) {
	manual, err := os.ReadFile("../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"no-body", "body-inside", "no-unsubscribe", "unused-picture", "no-placeholder", "missing-picture", "large-picture", "not-filled", "clipped-by-gmail"} {
		if !strings.Contains(string(manual), "\n| `"+code+"` | ") {
			t.Errorf("docs/templates.md has no row for %s", code)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(newsletter().HTML, newsletter().Text)
	f.Add("<p>{{Body}}<a href='{{image:x}}'>{{Na<b>me</b>}}<!--[if mso]>{{Body}}<![endif]-->{{", "{{Name|x}} {x}")
	f.Fuzz(func(t *testing.T, html, text string) {
		tpl := newsletter()
		tpl.HTML, tpl.Text = html, text
		got := expand.Inspect(tpl, input(t, "").Vocabulary)
		if problems := expand.CheckTemplate(tpl, input(t, "").Vocabulary); len(problems) > 0 && got.Problems() == 0 {
			t.Errorf("CheckTemplate finds %v", problems)
		}
		for _, f := range got.Findings {
			if f.Line < 0 || f.Line > 1+strings.Count(html+text, "\n")+strings.Count(html+text, "\r") || f.Text == "" {
				t.Errorf("%+v", f)
			}
		}
	})
}
