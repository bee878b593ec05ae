package optout

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template/parse"
	"unicode/utf8"
)

// builtIn are the pages as they come with the program.
//
//go:embed pages
var builtIn embed.FS

// The files of a folder of pages. Each page stands within the layout; parts are
// there for several pages.
const (
	layoutFile = "layout.html"
	styleFile  = "style.css"
	undoFile   = "undo.html"
)

// Page files, and the sections of texts that they show.
const (
	askPage         = "ask"
	donePage        = "done"
	preferencesPage = "preferences"
	savedPage       = "saved"
	confirmPage     = "confirm"
	confirmedPage   = "confirmed"
	noticePage      = "notice" // its sections are notices()
)

func pageNames() []string {
	return []string{askPage, donePage, preferencesPage, savedPage, confirmPage, confirmedPage, noticePage}
}

// FileNames are the files of a folder of pages, sorted.
func FileNames() []string {
	names := []string{layoutFile, styleFile, undoFile, "en.toml", "ko.toml"}
	for _, p := range pageNames() {
		names = append(names, p+".html")
	}
	slices.Sort(names)
	return names
}

// Templates are the pages, ready to be shown. They are never changed.
type Templates struct {
	pages map[string]*template.Template // by page name
	texts map[string]texts              // by language
	style template.CSS
	hash  string // of the style, as a policy names it
}

// languages are those of the pages.
func languages() []string { return []string{"en", "ko"} }

// Load reads the files of dir, "" for none, each in place of the built-in one of
// its name, and shows every page in every language and state to see that it can be
// shown. The error joins every problem, with the file and, where there is one, the
// line, and says what to do.
func Load(dir string) (*Templates, error) {
	files := map[string]string{}
	for _, name := range FileNames() {
		b, err := builtIn.ReadFile("pages/" + name)
		if err != nil {
			return nil, err
		}
		files[name] = string(b)
	}
	if dir == "" {
		return build(files)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("optout.pages: cannot read the folder %s: %w; `postern optout pages %s` makes it", dir, plainCause(err), dir)
	}
	var problems []error
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue // what editors and desktops leave behind
		}
		text, err := readPage(filepath.Join(dir, name))
		if err != nil {
			problems = append(problems, fmt.Errorf("optout.pages: %s: %w", filepath.Join(dir, name), err))
			continue
		}
		files[name] = text
	}
	t, err := build(files)
	if err != nil {
		problems = append(problems, named(dir, err))
	}
	return t, errors.Join(problems...)
}

// named puts the folder before each problem of build, which begins with the file.
func named(dir string, err error) error {
	var out []error
	for _, p := range split(err) {
		out = append(out, fmt.Errorf("optout.pages: %s%c%w", dir, filepath.Separator, p))
	}
	return errors.Join(out...)
}

func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, split(e)...)
		}
		return all
	}
	return []error{err}
}

// maxPageFile is the longest file, in octets.
const maxPageFile = 64 << 10

func readPage(path string) (string, error) {
	if !slices.Contains(FileNames(), filepath.Base(path)) {
		return "", fmt.Errorf("this is the name of no page; the files are called %s: rename the file, or move it away", strings.Join(FileNames(), ", "))
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", plainCause(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a file: a page is a text file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", plainCause(err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxPageFile+1))
	switch b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")); {
	case err != nil:
		return "", plainCause(err)
	case len(b) > maxPageFile:
		return "", fmt.Errorf("it has more than %d KB: write less", maxPageFile>>10)
	case !utf8.Valid(b):
		return "", errors.New("it is not UTF-8: save it as UTF-8 in your editor")
	case bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }):
		return "", errors.New("it holds control characters: save it as plain text in UTF-8")
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n"), nil
}

// plainCause is err without the path, which the sentence around it names.
func plainCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// WriteDefaults writes the built-in pages into dir, each into a file of its own,
// and makes dir when it is missing. A file that is there already stays as it is. It
// gives the paths of those that it wrote and those that it kept.
func WriteDefaults(dir string) (written, kept []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("cannot make the folder %s: %w", dir, plainCause(err))
	}
	for _, name := range FileNames() {
		path := filepath.Join(dir, name)
		switch err := writeDefault(path, name); {
		case errors.Is(err, fs.ErrExist):
			kept = append(kept, path)
		case err != nil:
			return written, kept, fmt.Errorf("cannot write %s: %w", path, plainCause(err))
		default:
			written = append(written, path)
		}
	}
	return written, kept, nil
}

// writeDefault writes a file that did not exist, for everybody to read: the gateway
// may run as somebody else, and all recipients see it.
func writeDefault(path, name string) error {
	text, err := builtIn.ReadFile("pages/" + name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// build makes the pages of a whole set of files and tries them.
func build(files map[string]string) (*Templates, error) {
	sum := sha256.Sum256([]byte(files[styleFile]))
	t := &Templates{
		pages: map[string]*template.Template{},
		texts: map[string]texts{},
		style: template.CSS(files[styleFile]),
		hash:  "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
	problems := []error{checkStyle(files[styleFile])}
	for _, lang := range languages() {
		texts, err := readTexts(lang+".toml", files[lang+".toml"])
		t.texts[lang] = texts
		problems = append(problems, err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".html") {
			problems = append(problems, checkMarkup(name, files[name]))
		}
	}
	for _, name := range pageNames() {
		page, err := parsePage(name+".html", files)
		if err != nil && !slices.ContainsFunc(problems, func(p error) bool { return p != nil && p.Error() == err.Error() }) {
			problems = append(problems, err) // once, although every page has the layout
		}
		t.pages[name] = page
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return t, t.try()
}

// parsePage is the layout with the page of a file as its content.
func parsePage(file string, files map[string]string) (*template.Template, error) {
	all := template.New("")
	content := &parse.Tree{}
	for _, name := range []string{layoutFile, undoFile, file} {
		t, err := all.New(name).Parse(files[name])
		if err != nil {
			return nil, plainTemplate(err)
		}
		content = t.Tree
	}
	if _, err := all.AddParseTree("content", content); err != nil {
		return nil, plainTemplate(err)
	}
	return all.Lookup(layoutFile), nil
}

// plainTemplate takes away what a template's error begins with: "ask.html:3: …"
// stays.
func plainTemplate(err error) error {
	s := strings.TrimPrefix(err.Error(), "html/")
	return errors.New(strings.TrimLeft(strings.TrimPrefix(s, "template:"), " "))
}
