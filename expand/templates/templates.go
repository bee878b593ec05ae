package templates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"postern/expand"
	"postern/mail"
)

// The limits of one template. SES has the first; the others keep a copy within
// what mailboxes take.
const (
	MaxSize   = 500 << 10 // octets of subject, HTML and text together
	MaxImage  = 5 << 20   // octets of one picture
	MaxImages = 10 << 20  // octets of all pictures together
	MaxCount  = 100       // pictures
	maxID     = 64
	maxLine   = 1000 // octets of subject, purpose and picture names
)

// ErrUnknown is in the chain of the error for a template that is not there.
var ErrUnknown = errors.New("no such template")

// Source is where templates are: [Files] or [SES]. It is used from many
// goroutines at once. Its errors are *mail.Error: Permanent when the template
// itself is at fault (with [ErrUnknown] when there is none), any other class
// when the source could not be asked.
type Source interface {
	// Template fetches one template with its pictures.
	Template(ctx context.Context, id string) (*expand.Template, error)
	// List names the templates in the order of their IDs. With an error it gives
	// those that it could read.
	List(ctx context.Context) ([]Info, error)
}

// Info is what people are shown of a template.
type Info struct {
	ID      string
	Purpose string // "" for none
}

// CheckID says what is wrong with the name of a template: it has 1 to 64 letters,
// digits and . _ -, and does not begin with a dot.
func CheckID(id string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if id == "" || len(id) > maxID || strings.HasPrefix(id, ".") || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("%.80q is not the name of a template: use 1 to 64 of the letters a-z and A-Z, digits and . _ -, with no dot in front", id)
	}
	return nil
}

// unknown is the error for a template that is not there. The [Cache] adds the
// names of others.
func unknown(id string) *mail.Error {
	return &mail.Error{Class: mail.Permanent, Code: 550, Enhanced: "5.1.1", Public: fmt.Sprintf("there is no template %.80q", id), Err: ErrUnknown}
}

// broken is the error for a template that is there and cannot be used.
func broken(id, format string, a ...any) error {
	return mail.Refuse(550, "5.3.5", "the template %s cannot be used: %s", id, fmt.Sprintf(format, a...))
}

// parts names the places of a template as people of a source know them.
type parts struct{ html, text, subject, purpose string }

// tidy checks all but the pictures, and takes off what editors put around a text:
// the byte order mark, and blanks around what is one line.
func tidy(t *expand.Template, p parts) error {
	for _, f := range []struct {
		text *string
		name string
		line bool
	}{{&t.HTML, p.html, false}, {&t.Text, p.text, false}, {&t.Subject, p.subject, true}, {&t.Purpose, p.purpose, true}} {
		*f.text = strings.TrimPrefix(*f.text, "\ufeff")
		switch {
		case !utf8.ValidString(*f.text):
			return broken(t.ID, "%s is not UTF-8 text; save it as UTF-8", f.name)
		case strings.ContainsRune(*f.text, 0):
			return broken(t.ID, "%s holds NUL octets; save it as UTF-8 text", f.name)
		}
		if !f.line {
			continue
		}
		*f.text = strings.TrimSpace(*f.text)
		if strings.ContainsFunc(*f.text, unicode.IsControl) {
			return broken(t.ID, "%s holds more than one line or control characters; write one line", f.name)
		}
		if len(*f.text) > maxLine {
			return broken(t.ID, "%s has %d octets; at most %d are taken", f.name, len(*f.text), maxLine)
		}
	}
	if strings.TrimSpace(t.HTML) == "" && strings.TrimSpace(t.Text) == "" {
		return broken(t.ID, "it has no content; write %s or %s", p.html, p.text)
	}
	if len(t.HTML)+len(t.Text)+len(t.Subject) > MaxSize {
		return broken(t.ID, "subject, %s and %s have more than %d KB together; make them shorter (pictures belong beside the HTML, not into it)", p.html, p.text, MaxSize>>10)
	}
	return nil
}

// pictures collects the pictures of one template and holds them to the limits.
// from names each one's place for people.
type pictures struct {
	id     string
	total  int
	images []expand.Image
}

func (p *pictures) add(img expand.Image, from string) error {
	img.Name = nameOf(img.Name)
	if err := checkName(img.Name); err != nil {
		return broken(p.id, "%s: %v", from, err)
	}
	if slices.ContainsFunc(p.images, func(other expand.Image) bool { return other.Name == img.Name }) {
		return broken(p.id, "%s: another picture has the name %s too; rename one", from, shown(img.Name))
	}
	if len(p.images) == MaxCount {
		return broken(p.id, "it has more than %d pictures; take some out", MaxCount)
	}
	img.Type = ""
	if img.Data != nil {
		var err error
		if img.Type, err = sniff(img.Data); err != nil {
			return broken(p.id, "%s %v", from, err)
		}
		if p.total += len(img.Data); p.total > MaxImages {
			return broken(p.id, "its pictures have more than %d MB together, with %s; make them smaller", MaxImages>>20, from)
		}
	}
	p.images = append(p.images, img)
	return nil
}

// nameOf writes a name in composed characters: macOS and some archivers take
// them apart, and then a Korean name is not what people type.
func nameOf(name string) string { return norm.NFC.String(name) }

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the picture has no file name")
	case len(name) > 255:
		return errors.New("the picture's file name is longer than 255 octets; rename it")
	case strings.HasPrefix(name, "."):
		return fmt.Errorf("the picture's name %.80q begins with a dot; rename it", name)
	case !utf8.ValidString(name), strings.ContainsAny(name, `/\{}|`), strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("no placeholder can call a picture named %.80q; rename it to letters, digits, dots and dashes", name)
	}
	return nil
}

// sniff finds the type of a picture from its octets: its name may say anything.
func sniff(data []byte) (string, error) {
	kind := http.DetectContentType(data)
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		if len(data) > MaxImage {
			return "", tooLarge()
		}
		return kind, nil
	}
	switch {
	case len(data) == 0:
		return "", errors.New("is empty; put the picture there again")
	case bytes.Contains(data[:min(len(data), 4096)], []byte("<svg")):
		return "", errors.New("is an SVG, which most mail programs do not show; export it as PNG")
	case strings.HasPrefix(kind, "image/"):
		return "", fmt.Errorf("is of the type %s, which not all mail programs show; save it as PNG or JPEG", kind)
	}
	return "", errors.New("is no picture that mail programs show; put a PNG, JPEG, GIF or WebP there")
}

// shown is a name from outside as a sentence may bear it.
func shown(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return name
	}
	return fmt.Sprintf("%q", name)
}

func tooLarge() error {
	return fmt.Errorf("is larger than %d MB; make it smaller, people read mail on telephones", MaxImage>>20)
}

// checked is a template that is to be written, as it will be read: tidied, and
// held against all that reading asks for.
func checked(given *expand.Template) (*expand.Template, error) {
	if err := CheckID(given.ID); err != nil {
		return nil, mail.Refuse(550, "5.1.1", "%v", err)
	}
	t := *given
	if err := tidy(&t, parts{"the HTML", "the text", "the subject", "the purpose"}); err != nil {
		return nil, err
	}
	p := pictures{id: t.ID}
	for _, img := range given.Images {
		if img.Data == nil && img.URL == "" {
			return nil, broken(t.ID, "the picture %s has neither content nor address", shown(img.Name))
		}
		if err := p.add(img, "the picture "+shown(img.Name)); err != nil {
			return nil, err
		}
	}
	t.Images = p.images
	return &t, nil
}

// step is one thing that a Put changes.
type step struct {
	says string // a sentence without its full stop
	do   func(ctx context.Context) error
}

func sentences(steps []step) []string {
	var all []string
	for _, s := range steps {
		all = append(all, s.says)
	}
	return all
}

// take does the steps in their order, and says which it did.
func take(ctx context.Context, steps []step) ([]string, error) {
	for i, s := range steps {
		if err := s.do(ctx); err != nil {
			return sentences(steps[:i]), err
		}
	}
	return sentences(steps), nil
}
