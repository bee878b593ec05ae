package expand

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/mail"
)

// builtIn are the footers as they come with the program. Like a file of the same
// name in the folder of the configuration, they are compiled with each mail.
//
//go:embed footer
var builtIn embed.FS

// FooterNames are the files of which each is the footer of one language or kind
// and one form: ko and en under a mail that nowhere shows the unsubscribe link,
// advertising under every mail of an advertising list.
func FooterNames() []string {
	return []string{"advertising.html", "advertising.txt", "en.html", "en.txt", "ko.html", "ko.txt"}
}

// BuiltInFooter is the text that stands in the place of a file with this name.
func BuiltInFooter(name string) ([]byte, error) { return builtIn.ReadFile("footer/" + name) }

// footerName is the file of a list's footer.
func footerName(l mail.ListPolicy, html bool) string {
	name, form := "en", ".txt"
	switch {
	case l.Advertising:
		name = "advertising"
	case l.Language == "ko":
		name = "ko"
	}
	if html {
		form = ".html"
	}
	return name + form
}

// Footers are the footers of all lists; nil are the built-in ones. They are never
// changed.
type Footers struct{ files map[string]string } // by name

func (f *Footers) text(name string) (string, error) {
	if f != nil && f.files[name] != "" {
		return f.files[name], nil
	}
	b, err := BuiltInFooter(name)
	return lines(string(b)), err
}

// LoadFooters reads the files of dir, "" for none, each in place of the built-in
// one of its name, and holds all footers against the vocabulary and the lists that
// use them. The error joins every problem, each with its key path, the file, what is
// wrong and what to do.
func LoadFooters(dir string, v Vocabulary, lists []mail.ListPolicy) (*Footers, error) {
	f := &Footers{files: map[string]string{}}
	if dir == "" {
		return f, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("templates.footers: cannot read the folder %s: %w; `postern footers %s` makes it", dir, plainCause(err), dir)
	}
	var problems []error
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue // what editors and desktops leave behind
		}
		path := filepath.Join(dir, e.Name())
		text, err := readFooter(path)
		if err == nil {
			err = checkFooter(e.Name(), text, v, lists)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("templates.footers: %s: %w", path, err))
			continue
		}
		f.files[e.Name()] = text
	}
	return f, errors.Join(problems...)
}

// maxFooter is the longest file, in octets: each copy bears it.
const maxFooter = 64 << 10

func readFooter(path string) (string, error) {
	if !slices.Contains(FooterNames(), filepath.Base(path)) {
		return "", fmt.Errorf("this is the name of no footer; they are called %s: rename the file, or move it away", strings.Join(FooterNames(), ", "))
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", plainCause(err)
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a file: a footer is a text file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", plainCause(err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFooter+1))
	switch b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")); {
	case err != nil:
		return "", plainCause(err)
	case len(b) > maxFooter:
		return "", fmt.Errorf("it has more than %d KB, and every copy would bear them: write less, and link to pictures", maxFooter>>10)
	case !utf8.Valid(b):
		return "", errors.New("it is not UTF-8: save it as UTF-8 in your editor")
	case bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }):
		return "", errors.New("it holds control characters: save it as plain text in UTF-8")
	}
	return lines(string(b)), nil
}

// plainCause is err without the path, which the sentence around it names.
func plainCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// wholePage finds the tags that a footer, which stands within a page, cannot have.
var wholePage = regexp.MustCompile(`(?i)<(!doctype|/?(?:html|head|body))[\s>]`)

// checkFooter compiles a footer by itself.
func checkFooter(name, footer string, v Vocabulary, lists []mail.ListPolicy) error {
	html := strings.HasSuffix(name, ".html")
	if html && wholePage.MatchString(footer) {
		return errors.New("it is a whole page: keep only what stands between <body> and </body>")
	}
	c := &compiler{in: Input{Vocabulary: v}, uses: map[string]int{}, foot: newFooting(mail.Identity{})}
	compile := c.textPieces
	if html {
		compile = c.htmlPieces
	}
	if _, err := compile(&text{src: footer, html: html}, "the footer"); err != nil {
		var refusal *mail.Error
		if errors.As(err, &refusal) {
			err = errors.New(refusal.Public)
		}
		if c.foot.misspelt {
			err = fmt.Errorf("%w; of a list there are %s", err, identityPlaceholders(identityKeys()))
		}
		return err
	}
	if !c.link {
		return errors.New("a reader does not see {{Unsubscribe}} in it, and every mail of a list must say how to stop it: write {{Unsubscribe}} where the link belongs")
	}
	if strings.HasPrefix(name, "advertising.") {
		return c.foot.complete()
	}
	return c.foot.fits(name, html, lists)
}

// complete holds that a footer of advertising shows the whole identity.
func (f *footing) complete() error {
	missing := slices.DeleteFunc(identityKeys(), func(key string) bool { return f.shown[key] })
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("a reader does not see %s in it, and advertising must show company, address, phone and e-mail of its sender: write what is missing where it belongs", identityPlaceholders(missing))
}

// fits holds that no list which uses the footer would leave a hole in it.
func (f *footing) fits(name string, html bool, lists []mail.ListPolicy) error {
	var holes []string
	for _, l := range lists {
		if footerName(l, html) != name {
			continue
		}
		for _, key := range l.Identity.Missing() {
			if f.bare[key] {
				holes = append(holes, fmt.Sprintf("%s of the list %s", identityPlaceholders([]string{key}), l.ID))
			}
		}
	}
	if len(holes) == 0 {
		return nil
	}
	return fmt.Errorf("there is nothing to show for %s: fill in the list's [list.identity], or write what stands instead, as in {{List.Company|our shop}}", strings.Join(holes, " and "))
}

// identityPlaceholders writes keys of [list.identity] as a footer calls them.
func identityPlaceholders(keys []string) string {
	var all []string
	for _, key := range keys {
		all = append(all, "{{List."+strings.ToUpper(key[:1])+key[1:]+"}}")
	}
	return strings.Join(all, ", ")
}
