package letters

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"
)

// builtIn are the texts as they come with the program.
//
//go:embed texts
var builtIn embed.FS

// Name is which letter it is.
type Name string

// The letters.
const (
	Left     Name = "left"     // the result of leaving lists
	Agreed   Name = "agreed"   // the result of agreeing to get their mail
	Changed  Name = "changed"  // of both at once
	Confirm  Name = "confirm"  // whether somebody who had complained wants mail again
	Reminder Name = "reminder" // that somebody agreed to get advertising
)

func names() []Name { return []Name{Agreed, Changed, Confirm, Left, Reminder} }

// Names are the files, one for each letter and language.
func Names() []string {
	var all []string
	for _, n := range names() {
		all = append(all, n.file("en"), n.file("ko"))
	}
	return all
}

// file is the name of a letter's text; what is not Korean is English.
func (n Name) file(language string) string {
	if language != "ko" {
		language = "en"
	}
	return string(n) + "." + language + ".txt"
}

// ofFile is the letter whose text a file is.
func ofFile(file string) (Name, bool) {
	name, _, _ := strings.Cut(file, ".")
	return Name(name), slices.Contains(Names(), file)
}

// BuiltIn is the text that stands in the place of a file with this name.
func BuiltIn(file string) ([]byte, error) { return builtIn.ReadFile("texts/" + file) }

// Texts are the texts of all letters. They are never changed.
type Texts struct {
	own     map[string]*text // of the folder, by file
	builtIn map[string]*text
}

// text is one file.
type text struct{ subject, body *template.Template }

// Load reads the files of dir, "" for none, each in the place of the built-in one of
// its name, and renders each with samples. The error joins every problem, each with
// the file, the line, what is wrong and what to do.
func Load(dir string) (*Texts, error) {
	t := &Texts{own: map[string]*text{}, builtIn: map[string]*text{}}
	for _, file := range Names() {
		b, err := BuiltIn(file)
		if err == nil {
			t.builtIn[file], err = parseFile(file, lines(b))
		}
		if err != nil {
			return nil, fmt.Errorf("the built-in letter %s: %w", file, err) // a test holds that there is none
		}
	}
	if dir == "" {
		return t, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder %s: %w; `postern optout letters %s` makes it", dir, plainCause(err), dir)
	}
	var problems []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), "~") {
			continue // what editors and desktops leave behind
		}
		path := filepath.Join(dir, e.Name())
		src, err := read(path)
		if err == nil {
			t.own[e.Name()], err = parseFile(e.Name(), src)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return t, nil
}

// Written is a file of [WriteDefaults].
type Written struct {
	Path string
	Kept bool // it was there before, and stays as it is
}

// WriteDefaults writes the built-in texts into dir, which is made when it is missing. A
// file that is there stays as it is.
func WriteDefaults(dir string) ([]Written, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the folder %s: %w", dir, plainCause(err))
	}
	var all []Written
	for _, file := range Names() {
		w := Written{Path: filepath.Join(dir, file)}
		switch err := write(w.Path, file); {
		case errors.Is(err, fs.ErrExist):
			w.Kept = true
		case err != nil:
			return all, fmt.Errorf("cannot write %s: %w", w.Path, plainCause(err))
		}
		all = append(all, w)
	}
	return all, nil
}

// write makes a file. It is for everybody to read: the gateway may run as somebody
// else, and all recipients see it.
func write(path, file string) error {
	b, err := BuiltIn(file)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// maxText is the longest file, in octets.
const maxText = 64 << 10

func read(path string) (string, error) {
	if !slices.Contains(Names(), filepath.Base(path)) {
		return "", fmt.Errorf("this is the name of no letter; they are called %s: rename the file, or move it away", strings.Join(Names(), ", "))
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", plainCause(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a file: a letter is a text file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", plainCause(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return "", plainCause(err)
	}
	if err := readable(b); err != nil {
		return "", err
	}
	return lines(b), nil
}

func readable(b []byte) error {
	switch {
	case len(b) > maxText:
		return fmt.Errorf("it has more than %d KB: nobody reads so long a letter; write less", maxText>>10)
	case !utf8.Valid(b):
		return errors.New("it is not UTF-8: save it as UTF-8 in your editor")
	case bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }):
		return errors.New("it holds control characters: save it as plain text in UTF-8")
	}
	return nil
}

// lines is a file as text, with "\n" at the line ends.
func lines(b []byte) string {
	s := string(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// plainCause is err without the path, which the sentence around it names.
func plainCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Render gives the subject and the text of a letter.
func (t *Texts) Render(name Name, language string, d Data) (subject, body string) {
	file := name.file(language)
	d = d.clean()
	if own := t.own[file]; own != nil {
		if subject, body, err := own.render(d); err == nil {
			return subject, body
		}
	}
	subject, body, err := t.builtIn[file].render(d)
	if err != nil { // a test holds that this is never so
		return string(name), "The text of this letter is damaged: " + err.Error() + "\n"
	}
	return subject, body
}

const (
	maxSubject = 200       // characters
	maxBody    = 512 << 10 // octets
)

func (t *text) render(d Data) (subject, body string, err error) {
	if subject, err = fill(t.subject, d); err != nil {
		return "", "", err
	}
	if body, err = fill(t.body, d); err != nil {
		return "", "", err
	}
	return line(subject, maxSubject), strings.Trim(cleanText(body), "\n") + "\n", nil
}

func fill(t *template.Template, d Data) (string, error) {
	out := limited{room: maxBody}
	err := t.Execute(&out, d)
	return out.String(), err
}

// limited is text that cannot grow beyond its room.
type limited struct {
	strings.Builder
	room int
}

func (l *limited) Write(b []byte) (int, error) {
	if l.room -= len(b); l.room < 0 {
		return 0, fmt.Errorf("the letter has more than %d KB", maxBody>>10)
	}
	return l.Builder.Write(b)
}
