package letters

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"
)

// parseFile reads a file: a line "Subject: …", then the text. Both are templates with
// fields, conditions and lists, and nothing else of text/template: what is not there
// cannot go wrong in a letter.
func parseFile(file, src string) (*text, error) {
	name, _ := ofFile(file)
	first, rest, _ := strings.Cut(src, "\n")
	subject, ok := strings.CutPrefix(first, "Subject:")
	if !ok {
		return nil, errors.New("line 1: a letter begins with its subject: write a first line such as “Subject: Your choice”")
	}
	t := &text{}
	var err error
	if t.subject, err = parsePart(name, file, subject); err != nil {
		return nil, err
	}
	// The empty line keeps the numbers of the lines.
	if t.body, err = parsePart(name, file, "\n"+rest); err != nil {
		return nil, err
	}
	for _, d := range samples(name, strings.Contains(file, ".ko.")) {
		if err := t.try(name, d); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func parsePart(name Name, file, src string) (*template.Template, error) {
	t, err := template.New(file).Parse(src)
	if err != nil {
		return nil, plainParse(err)
	}
	if len(t.Templates()) > 1 {
		return nil, errors.New("a letter has no {{define}} and no {{block}}: write the text where it belongs")
	}
	if t.Tree == nil {
		return t, nil
	}
	k := &vocabulary{src: src, letter: name}
	return t, k.list(t.Root)
}

// plainParse is an error of text/template without what names the program's parts.
func plainParse(err error) error {
	m := regexp.MustCompile(`(?s)^template: .*?:(\d+)(?::\d+)?: (.*)$`).FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	return fmt.Errorf("line %s: %s; a placeholder is written as {{.Company}}", m[1], m[2])
}

// vocabulary holds a text against what its letter can show.
type vocabulary struct {
	src    string
	letter Name
	listed bool // within {{range}}
}

func (v *vocabulary) list(l *parse.ListNode) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := v.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (v *vocabulary) node(n parse.Node) error {
	switch n := n.(type) {
	case *parse.TextNode, *parse.CommentNode:
		return nil
	case *parse.ActionNode:
		return v.field(n, n.Pipe, false)
	case *parse.IfNode:
		return v.branch(&n.BranchNode, true)
	case *parse.RangeNode:
		if v.listed {
			return v.wrong(n, "there is a {{range}} within another")
		}
		return v.branch(&n.BranchNode, false)
	}
	return v.wrong(n, "a letter cannot do "+clip(n.String(), 60))
}

func (v *vocabulary) branch(n *parse.BranchNode, condition bool) error {
	if condition {
		if err := v.field(n, n.Pipe, true); err != nil {
			return err
		}
		if err := v.list(n.List); err != nil {
			return err
		}
		return v.list(n.ElseList)
	}
	name, _ := v.name(n.Pipe, false)
	if !slices.Contains(v.letter.ranges(), name) {
		return v.wrong(n, "nothing of that name can be listed"+v.known(v.letter.ranges(), "{{range .%s}}"))
	}
	v.listed = true
	err := v.list(n.List)
	v.listed = false
	if err != nil {
		return err
	}
	return v.list(n.ElseList)
}

// field holds that a placeholder or a condition is a field that there is.
func (v *vocabulary) field(n parse.Node, p *parse.PipeNode, condition bool) error {
	name, ofChoice := v.name(p, condition)
	switch {
	case name == "":
		return v.wrong(n, "a letter cannot do "+clip(n.String(), 60))
	case ofChoice && slices.Contains(rangeFields(), name):
		return nil
	case ofChoice:
		return v.wrong(n, "there is no {{."+clip(name, 60)+"}} here"+v.known(rangeFields(), "{{.%s}}")+"; all others are written as {{$.Company}} here")
	case slices.Contains(v.letter.fields(), name), condition && slices.Contains(v.letter.ranges(), name):
		return nil
	case slices.Contains(v.letter.ranges(), name):
		return v.wrong(n, "{{."+name+"}} is a list: write {{range ."+name+"}} … {{end}} around what is said of each of it")
	}
	return v.wrong(n, "there is no {{."+clip(name, 60)+"}} in this letter"+v.known(v.letter.fields(), "{{.%s}}"))
}

// name is the field that p is; "" when it is something else. In a {{range}} it is one
// of what is listed, unless it begins with a dollar.
func (v *vocabulary) name(p *parse.PipeNode, condition bool) (name string, ofChoice bool) {
	if p == nil || len(p.Decl) > 0 || len(p.Cmds) != 1 {
		return "", false
	}
	args := p.Cmds[0].Args
	if f, ok := args[0].(*parse.IdentifierNode); ok && condition && f.Ident == "not" {
		args = args[1:]
	}
	if len(args) != 1 {
		return "", false
	}
	switch n := args[0].(type) {
	case *parse.FieldNode:
		if len(n.Ident) == 1 {
			return n.Ident[0], v.listed
		}
	case *parse.VariableNode:
		if len(n.Ident) == 2 && n.Ident[0] == "$" {
			return n.Ident[1], false
		}
	}
	return "", false
}

func (v *vocabulary) wrong(n parse.Node, what string) error {
	at := min(int(n.Position()), len(v.src))
	what = strings.TrimSuffix(what, ".")
	if strings.HasPrefix(what, "a letter cannot do") {
		what += "; it knows {{.Name}}, {{if .Name}} … {{else}} … {{end}}, {{if not .Name}} … {{end}} and {{range .Name}} … {{end}}"
	}
	return errors.New("line " + strconv.Itoa(1+strings.Count(v.src[:at], "\n")) + ": " + what)
}

// known names what there is, as it is written.
func (v *vocabulary) known(all []string, form string) string {
	if len(all) == 0 {
		return "; this letter lists nothing"
	}
	var b strings.Builder
	for i, name := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, form, name)
	}
	return "; there are " + b.String()
}

// try renders a sample, and holds that a reader sees what must not be missing.
func (t *text) try(name Name, d Data) error {
	subject, body, err := t.render(d)
	switch {
	case err != nil:
		return fmt.Errorf("it cannot be filled in: %w", err)
	case subject == "":
		return errors.New("line 1: the subject is empty: write one behind “Subject:”")
	case utf8.RuneCountInString(subject) > maxSampleSubject:
		return fmt.Errorf("line 1: the subject has more than %d characters: write less", maxSampleSubject)
	}
	for _, w := range name.wants(d) {
		if !strings.Contains(body, w.value) {
			return fmt.Errorf("a reader does not see %s in it, and %s: write it where it belongs", w.placeholder, w.because)
		}
	}
	return nil
}

// maxSampleSubject leaves room for names that are longer than those of the samples.
const maxSampleSubject = 120

type want struct{ placeholder, value, because string }

// wants is what a letter must say.
func (n Name) wants(d Data) []want {
	all := []want{{"{{.Company}}", d.Company, "the law wants that it names its sender"}}
	for field, choices := range map[string][]Choice{"Left": d.Left, "Agreed": d.Agreed} {
		for _, c := range choices {
			all = append(all,
				want{"{{.Name}} within {{range ." + field + "}}", c.Name, "its reader must know which mail it is about"},
				want{"{{.Date}} within {{range ." + field + "}}", c.Date, "the law wants the date of what its reader chose"})
		}
	}
	switch n {
	case Confirm:
		return append(all, want{"{{.Link}}", d.Link, "without the link nobody can confirm anything"})
	case Reminder:
		return append(all, want{"{{.Preferences}}", d.Preferences, "the law wants that it says how to withdraw"})
	}
	return all
}

// samples are what a letter is tried with: one of all, and one of as little as can be.
func samples(n Name, korean bool) []Data {
	full := Data{Company: "Example Fashion Co., Ltd.", Address: "110 Sejong-daero, Jung-gu, Seoul", Phone: "02-120", Contact: "help@example.com",
		Email: "minji.kim@example.net", Masked: "m•••@example.net", Date: "28 November 2026", List: "Promotions",
		Preferences: "https://mail.example.com/p/Sample-Token", Link: "https://mail.example.com/c/Sample-Token", Days: "7", Until: "5 December 2026"}
	two := []Choice{{"Promotions", "26 November 2026", "14:02"}, {"New arrivals", "27 November 2026", ""}}
	if korean {
		full.Company, full.Address, full.List = "예시패션 주식회사", "서울특별시 중구 세종대로 110", "특가 소식"
		full.Date, full.Until = "2026년 11월 28일", "2026년 12월 5일"
		two = []Choice{{"특가 소식", "2026년 11월 26일", "14:02"}, {"신상품 안내", "2026년 11월 27일", ""}}
	}
	if slices.Contains(n.ranges(), "Left") {
		full.Left = two
	}
	if slices.Contains(n.ranges(), "Agreed") {
		full.Agreed = two
	}
	sparse := full
	sparse.Address, sparse.Phone, sparse.Contact = "", "", ""
	sparse.Left, sparse.Agreed = sparse.Left[:min(1, len(full.Left))], sparse.Agreed[:min(1, len(full.Agreed))]
	return []Data{full, sparse}
}
