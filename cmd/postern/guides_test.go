package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file holds docs/clients to the truth: its configurations are taken, its
// commands exist, its links lead somewhere, and what it quotes the gateway says.

const guidesDir = "../../docs/clients"

// block is a fenced block of a guide. Its info string is a language and, where a
// test runs the block, a name: ```conf msmtp.
type block struct {
	file     string // such as php.md
	line     int    // of the fence
	language string
	name     string
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// guides are the texts by file name.
func guides(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(guidesDir, "*.md"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d guides in %s: %v", len(files), guidesDir, err)
	}
	all := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(f)] = string(text)
	}
	return all
}

// guideBlocks are the fenced blocks of one guide, in order. A block in a list
// item is indented, its text here is not.
func guideBlocks(t *testing.T, file string) (all []block) {
	t.Helper()
	open, indent := false, ""
	for i, line := range strings.Split(guides(t)[file], "\n") {
		bare := strings.TrimLeft(line, " ")
		switch {
		case !open && strings.HasPrefix(bare, "```"):
			open, indent = true, line[:len(line)-len(bare)]
			language, name, _ := strings.Cut(bare[3:], " ")
			all = append(all, block{file: file, line: i + 1, language: language, name: name})
		case open && bare == "```":
			open = false
		case open:
			all[len(all)-1].text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open {
		t.Fatalf("%s: the last block is not closed", file)
	}
	return all
}

// guideBlock is the block with a name, such as "php.md", "msmtp".
func guideBlock(t *testing.T, file, name string) string {
	t.Helper()
	for _, b := range guideBlocks(t, file) {
		if b.name == name {
			return b.text
		}
	}
	t.Fatalf("%s has no block with the name %s", file, name)
	return ""
}

// guideConfig is the complete configuration and what a guide adds to it.
func guideConfig(t *testing.T, file string) string {
	t.Helper()
	text := guideBlock(t, "README.md", "complete")
	for _, b := range guideBlocks(t, file) {
		if b.language == "toml" && b.name == "" {
			text += "\n" + b.text
		}
	}
	return text
}

// settle gives a configuration of the guides the files that it names, below
// g.dir. Every account has the password guidePassword.
func (g *gateway) settle(config string) string {
	g.t.Helper()
	if err := os.MkdirAll(filepath.Join(g.dir, "tls"), 0o700); err != nil {
		g.t.Fatal(err)
	}
	g.certify()
	for from, to := range map[string]string{"cert.pem": "tls/fullchain.pem", "key.pem": "tls/privkey.pem"} {
		text, err := os.ReadFile(filepath.Join(g.dir, from))
		if err != nil {
			g.t.Fatal(err)
		}
		g.write(to, string(text))
	}
	for _, hash := range regexp.MustCompile(`/etc/postern/(\w+\.hash)`).FindAllStringSubmatch(config, -1) {
		g.write(hash[1], hashed(g.t, guidePassword))
	}
	return strings.NewReplacer("/etc/postern/", g.dir+"/", "/var/lib/postern", g.dir+"/data").Replace(config)
}

func TestGuidesHoldConfigurationsThatAreTaken(t *testing.T) {
	g := newGateway(t, "")
	together := guideBlock(t, "README.md", "complete")
	check := func(what, config string) {
		g.write("config.toml", g.settle(config))
		if out, err := g.command("config").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
	check("the complete configuration", together)
	blocks := 0
	for file := range guides(t) {
		for _, b := range guideBlocks(t, file) {
			if b.language == "toml" && b.name == "" {
				check(b.String(), guideBlock(t, "README.md", "complete")+"\n"+b.text)
				together += "\n" + b.text
				blocks++
			}
		}
	}
	check("all guides together", together)
	if blocks < 8 {
		t.Errorf("only %d blocks of configuration were found", blocks)
	}
}

// TestGuidesNameCommandsThatExist asks every command of the guides for its help.
func TestGuidesNameCommandsThatExist(t *testing.T) {
	g := newGateway(t, "")
	named := map[string]string{}
	for file, text := range guides(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^ *|`)postern ((?:[a-z]+ ?)+)").FindAllStringSubmatch(text, -1) {
			named[strings.TrimSpace(m[1])] = file
		}
	}
	if len(named) < 6 {
		t.Errorf("only the commands %v were found", named)
	}
	for command, file := range named {
		if out, err := g.command(append(strings.Fields(command), "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%s names `postern %s`: %v\n%s", file, command, err, out)
		}
	}
}

func TestGuidesLinkToWhatIsThere(t *testing.T) {
	texts := guides(t)
	links := 0
	for file, text := range texts {
		for _, m := range regexp.MustCompile(`\]\(([\w.-]*)(?:#([^)]+))?\)`).FindAllStringSubmatch(text, -1) {
			links++
			target, ok := texts[m[1]]
			switch {
			case !ok:
				t.Errorf("%s links to %s, which is no guide", file, m[1])
			case m[2] != "" && !slices.Contains(anchors(target), m[2]):
				t.Errorf("%s links to %s#%s, and there are %q", file, m[1], m[2], anchors(target))
			}
		}
	}
	for file := range texts {
		if file != "README.md" && !strings.Contains(texts["README.md"], "("+file+")") {
			t.Errorf("README.md does not name %s", file)
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

// anchors are those that Git servers make of headings.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(slug, " ", "-"))
	}
	return all
}

// TestGuidesQuoteWhatTheGatewaySays finds the sentence of every "> 550 5.7.1 ..." in
// the code, with its codes, where they stand beside it there.
func TestGuidesQuoteWhatTheGatewaySays(t *testing.T) {
	said := sentences(t)
	quotes := 0
	for file, text := range guides(t) {
		for i, line := range strings.Split(text, "\n") {
			if !strings.HasPrefix(line, ">") {
				continue
			}
			quotes++
			m := regexp.MustCompile(`^> (\d{3}) (\d\.\d\.\d{1,2}) (.+)$`).FindStringSubmatch(line)
			if m == nil {
				t.Errorf("%s:%d: a quotation is a code, an enhanced code and a sentence: %s", file, i+1, line)
			} else if !said.has(m[1], m[2], m[3]) {
				t.Errorf("%s:%d: the code does not say: %s", file, i+1, line)
			}
		}
	}
	if quotes < 60 {
		t.Errorf("only %d quotations were found", quotes)
	}
	for _, lie := range [][3]string{
		{"550", "5.7.8", "you may not log in here at this hour of the day"},
		{"550", "5.7.0", "AUTH is taken only after STARTTLS; switch on TLS in the sending program"},
		{"535", "5.7.8", "user name or password is wrong today"},
		{"554", "5.6.0", "the mail is written by hand in blue ink, and a list mail is changed for each recipient: switch encryption off and send it again"},
		{"530", "5.7.0", "log in first: go to the administrator and ask for a password"},
	} {
		if said.has(lie[0], lie[1], lie[2]) {
			t.Errorf("%v is found in the code", lie)
		}
	}
}

// sentence is a format of the code as a pattern; its verbs are groups.
type sentence struct {
	code, enhanced string // "" where they do not stand beside it
	pattern        *regexp.Regexp
}

// spoken is what the code can say: replies, and all texts, of which replies may
// be put together.
type spoken struct{ replies, texts []sentence }

func (s spoken) has(code, enhanced, text string) bool {
	return slices.ContainsFunc(s.replies, func(r sentence) bool {
		m := r.pattern.FindStringSubmatch(text)
		if m == nil || r.code != "" && r.code != code || r.enhanced != "" && r.enhanced != enhanced {
			return false
		}
		// What fills a verb and is a sentence itself must be one of the code's too.
		return !slices.ContainsFunc(m[1:], func(filled string) bool {
			return strings.Count(filled, " ") > 3 && !slices.ContainsFunc(s.texts, func(t sentence) bool { return t.pattern.MatchString(filled) })
		})
	})
}

func sentences(t *testing.T) (all spoken) {
	t.Helper()
	library, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emersion/go-smtp").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{".", "../../smtpd", "../../expand", "../../mail", strings.TrimSpace(string(library))} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool { all.hear(n); return true })
		}
	}
	return all
}

// hear takes the sentences out of one node.
func (s *spoken) hear(n ast.Node) {
	switch n := n.(type) {
	case *ast.CallExpr:
		function := called(n)
		if name, ok := n.Fun.(*ast.Ident); ok {
			function = "." + name.Name
		}
		if regexp.MustCompile(`\.(Refuse|Later|Errorf|fail|refuse|writeResponse)$`).MatchString(function) {
			s.reply(n.Args)
		}
	case *ast.CompositeLit: // mail.Error{Code: 452, Enhanced: "4.3.1", Public: "..."}
		var values []ast.Expr
		for _, e := range n.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				values = append(values, kv.Value)
			}
		}
		switch kind := n.Type.(type) {
		case *ast.SelectorExpr:
			if kind.Sel.Name == "Error" {
				s.reply(values)
			}
		case *ast.Ident:
			if kind.Name == "Error" {
				s.reply(values)
			}
		}
	case *ast.BasicLit, *ast.BinaryExpr:
		if p := pattern(n.(ast.Expr)); p != nil {
			s.texts = append(s.texts, sentence{pattern: p})
		}
	}
}

func (s *spoken) reply(args []ast.Expr) {
	var r sentence
	for _, a := range args {
		switch a := a.(type) {
		case *ast.CompositeLit: // EnhancedCode{4, 5, 3}
			var digits []string
			for _, e := range a.Elts {
				if lit, ok := e.(*ast.BasicLit); ok {
					digits = append(digits, lit.Value)
				}
			}
			r.enhanced = strings.Join(digits, ".")
			continue
		case *ast.BasicLit:
			if a.Kind == token.INT {
				r.code = a.Value
				continue
			}
			if v, _ := strconv.Unquote(a.Value); regexp.MustCompile(`^\d\.\d\.\d+$`).MatchString(v) {
				r.enhanced = v
				continue
			}
		case *ast.CallExpr: // fmt.Sprintf("...", ...)
			if len(a.Args) > 0 && r.pattern == nil {
				r.pattern = pattern(a.Args[0])
			}
			continue
		}
		if r.pattern == nil {
			r.pattern = pattern(a)
		}
	}
	if r.pattern != nil {
		s.replies = append(s.replies, r)
	}
}

// pattern turns a format into a pattern; nil where it says too little by itself.
// What is no literal may be anything.
func pattern(e ast.Expr) *regexp.Regexp {
	var b strings.Builder
	letters := 0
	var write func(ast.Expr)
	write = func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.BinaryExpr:
			write(e.X)
			write(e.Y)
			return
		case *ast.BasicLit:
			text, err := strconv.Unquote(e.Value)
			if err != nil || e.Kind != token.STRING {
				break
			}
			verbs := regexp.MustCompile(`%[a-z%]`)
			at := 0
			for _, v := range verbs.FindAllStringIndex(text, -1) {
				b.WriteString(regexp.QuoteMeta(text[at:v[0]]))
				letters += v[0] - at
				if at = v[1]; text[v[1]-1] == '%' {
					b.WriteString("%")
				} else {
					b.WriteString("(.+)")
				}
			}
			b.WriteString(regexp.QuoteMeta(text[at:]))
			letters += len(text) - at
			return
		}
		b.WriteString("(.+)")
	}
	write(e)
	if letters < 12 {
		return nil
	}
	return regexp.MustCompile("^(?:in [^:]+: )?" + b.String() + "$")
}
