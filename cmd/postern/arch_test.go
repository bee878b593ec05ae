package main_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The limits of a file and of a function, in lines. Aim at less.
const (
	maxFileLines     = 600
	maxFunctionLines = 80
)

// mayImport is the direction of imports: what a package and those below it may
// import of this module, beside what lies below themselves. The command may
// import everything.
func mayImport() map[string][]string {
	return map[string][]string{
		"mail":      {},
		"smtpd":     {"mail"},
		"directory": {"mail"},
		"expand":    {"directory", "mail"},
		"spool":     {"mail"},
		"relay":     {"spool", "mail"},
		"optout":    {"directory", "spool", "mail"},
		"admin":     {"relay", "spool", "expand", "directory", "mail", "smtpd/dialogue"}, // of SMTP only what is shown of it
	}
}

// source is one Go file of the module.
type source struct {
	path string // from the module's root, with slashes
	test bool
	text []byte
	file *ast.File
	fset *token.FileSet
}

func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(pos).Line)
}

func TestArchitecture(t *testing.T) {
	sources := everySource(t)

	t.Run("imports run one way", func(t *testing.T) {
		for _, s := range sources {
			for _, spec := range s.file.Imports {
				target, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if target, ours := strings.CutPrefix(target, "postern/"); ours && !s.allowed(target) {
					t.Errorf("%s: %s must not import %s", s.at(spec.Pos()), s.dir(), target)
				}
			}
		}
	})

	t.Run("every package has a comment", func(t *testing.T) {
		said := map[string]bool{}
		for _, s := range sources {
			if !s.test {
				said[s.dir()] = said[s.dir()] || len(strings.TrimSpace(s.file.Doc.Text())) > 0
			}
		}
		for dir, ok := range said {
			if !ok {
				t.Errorf("%s has no package comment: say in doc.go what it promises and what it never does", dir)
			}
		}
	})

	t.Run("files and functions are short", func(t *testing.T) {
		for _, s := range sources {
			if n := bytes.Count(s.text, []byte("\n")); n >= maxFileLines {
				t.Errorf("%s has %d lines: stay under %d", s.path, n, maxFileLines)
			}
			for _, d := range s.file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || s.test {
					continue // a test's table may be long
				}
				if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFunctionLines {
					t.Errorf("%s: %s has %d lines: stay under %d", s.at(f.Pos()), f.Name.Name, n, maxFunctionLines)
				}
			}
		}
	})

	t.Run("nothing happens by import", func(t *testing.T) {
		for _, s := range sources {
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s: an init function: do it where main can see it", s.at(f.Pos()))
				}
			}
		}
	})

	t.Run("no package variable is there to be changed", func(t *testing.T) {
		for _, s := range sources {
			for _, d := range s.file.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR && !s.test {
					for _, spec := range g.Specs {
						if v := spec.(*ast.ValueSpec); changeable(g, v) {
							t.Errorf("%s: the package variable %s holds state: put it into a struct that main builds", s.at(v.Pos()), v.Names[0].Name)
						}
					}
				}
			}
		}
	})

	t.Run("tests neither sleep nor skip", func(t *testing.T) {
		for _, s := range sources {
			if !s.test && !strings.HasPrefix(s.path, "internal/peer/") {
				continue
			}
			ast.Inspect(s.file, func(n ast.Node) bool {
				switch name := called(n); {
				case name == "time.Sleep":
					t.Errorf("%s: a sleeping test: wait for what should happen", s.at(n.Pos()))
				case slices.Contains([]string{"t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "b.Skipf", "b.SkipNow", "f.Skip", "f.Skipf", "f.SkipNow"}, name):
					t.Errorf("%s: a skipped test: it fails when what it needs is missing", s.at(n.Pos()))
				}
				return true
			})
		}
	})

	t.Run("tests are external", func(t *testing.T) {
		for _, s := range sources {
			if s.test && !strings.HasSuffix(s.file.Name.Name, "_test") && path.Base(s.path) != "export_test.go" {
				t.Errorf("%s is in package %s: test from outside; what must be reached goes through export_test.go", s.path, s.file.Name.Name)
			}
		}
	})
}

// changeable finds variables without a value and those whose value is a place to
// put something: a map, a pointer, what make and new give. Errors, patterns,
// templates and embedded files are constants in all but name.
func changeable(g *ast.GenDecl, v *ast.ValueSpec) bool {
	if len(v.Values) == 0 {
		comments := []*ast.CommentGroup{g.Doc, v.Doc}
		return !slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool {
			return c != nil && slices.ContainsFunc(c.List, func(l *ast.Comment) bool { return strings.HasPrefix(l.Text, "//go:embed ") })
		})
	}
	return slices.ContainsFunc(v.Values, func(value ast.Expr) bool {
		switch value := value.(type) {
		case *ast.UnaryExpr:
			return value.Op == token.AND
		case *ast.CompositeLit:
			_, isMap := value.Type.(*ast.MapType)
			return isMap
		case *ast.CallExpr:
			f, ok := value.Fun.(*ast.Ident)
			return ok && (f.Name == "make" || f.Name == "new")
		}
		return false
	})
}

// allowed says whether this file may import a package of this module. Tests may
// use the real parts that stand beside theirs, but never the command.
func (s *source) allowed(target string) bool {
	top, _, _ := strings.Cut(s.path, "/")
	targetTop, _, _ := strings.Cut(target, "/")
	switch {
	case top == "cmd" || top == targetTop:
		return true
	case targetTop == "cmd":
		return false
	case top == "internal":
		return true
	case s.test:
		return targetTop == "internal" || slices.Contains(mayImport()["admin"], targetTop) || slices.Contains(mayImport()["admin"], target)
	}
	return slices.Contains(mayImport()[top], targetTop) || slices.Contains(mayImport()[top], target)
}

// called is "package.Function" or "value.Method" of a call.
func called(n ast.Node) string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := selector.X.(*ast.Ident); ok {
		return x.Name + "." + selector.Sel.Name
	}
	return "." + selector.Sel.Name
}

func everySource(t *testing.T) []*source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all []*source
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "data" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		s := &source{path: name, test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
		if s.text, err = os.ReadFile(filepath.Join(root, name)); err != nil {
			return err
		}
		s.file, err = parser.ParseFile(s.fset, name, s.text, parser.ParseComments|parser.SkipObjectResolution)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d Go files were found below %s", len(all), root)
	}
	return all
}
