package admin

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"strings"

	gomessage "github.com/emersion/go-message"
	"github.com/emersion/go-message/charset"

	"postern/mail"
)

// Bounds of what is taken apart to be shown; a mail beyond them is cut.
const (
	maxParts   = 200
	maxNesting = 10
	maxText    = 1 << 20  // of a text or HTML part, in octets
	maxPicture = 4 << 20  // of an inline picture
	maxShown   = 16 << 20 // of the pictures together
)

// mailView is a mail as a page shows it.
type mailView struct {
	Subject, From, To string // decoded
	Header            string // as it would go upstream
	Text              string // the first text part
	HTML              string // the first HTML part, its own pictures in it
	Parts             []partView
	Problem           string // why it could not be read to its end
}

// partView is a part that is neither the text nor the HTML.
type partView struct {
	Name, Type string
	Size       int64
}

type picture struct {
	id, kind string
	data     []byte
}

type reader struct {
	view     mailView
	pictures []picture
	parts    int
	shown    int
}

// readMail takes a mail apart. It never fails: what cannot be read is said in
// the view.
func readMail(c mail.Content) (v mailView) {
	rd := &reader{view: mailView{Header: string(c.Header)}}
	defer func() {
		if p := recover(); p != nil { // the parser reads what strangers wrote
			v = mailView{Header: string(c.Header), Problem: "The mail's parts cannot be read."}
		}
	}()
	e, err := gomessage.Read(c.Reader())
	if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
		rd.view.Problem = "The mail's header cannot be read: " + err.Error()
		return rd.view
	}
	rd.view.Subject, rd.view.From, rd.view.To = decoded(e, "Subject"), decoded(e, "From"), decoded(e, "To")
	if err := rd.part(e, 0); err != nil {
		rd.view.Problem = "The mail cannot be shown to its end: " + err.Error()
	}
	rd.view.HTML = withPictures(rd.view.HTML, rd.pictures)
	return rd.view
}

func decoded(e *gomessage.Entity, name string) string {
	d := mime.WordDecoder{CharsetReader: charset.Reader}
	raw := e.Header.Get(name)
	if s, err := d.DecodeHeader(raw); err == nil {
		return s
	}
	return raw
}

func (rd *reader) part(e *gomessage.Entity, depth int) error {
	if rd.parts++; rd.parts > maxParts || depth > maxNesting {
		return errors.New("it has too many parts")
	}
	if mr := e.MultipartReader(); mr != nil {
		for {
			sub, err := mr.NextPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
				return err
			}
			if err := rd.part(sub, depth+1); err != nil {
				return err
			}
		}
	}
	return rd.leaf(e)
}

func (rd *reader) leaf(e *gomessage.Entity) error {
	kind, params, err := e.Header.ContentType()
	if err != nil {
		kind = "text/plain"
	}
	disposition, dparams, _ := e.Header.ContentDisposition() // unreadable: none
	switch id := strings.Trim(e.Header.Get("Content-Id"), "<> "); {
	case kind == "text/plain" && disposition != "attachment" && rd.view.Text == "":
		rd.view.Text, err = limited(e.Body, maxText)
		return err
	case kind == "text/html" && disposition != "attachment" && rd.view.HTML == "":
		rd.view.HTML, err = limited(e.Body, maxText)
		return err
	case id != "" && picturesShown.MatchString(kind) && rd.shown < maxShown:
		data, err := limited(e.Body, maxPicture)
		rd.shown += len(data)
		rd.pictures = append(rd.pictures, picture{id, kind, []byte(data)})
		rd.view.Parts = append(rd.view.Parts, partView{name(dparams, params), kind, int64(len(data))})
		return err
	}
	n, err := io.Copy(io.Discard, e.Body)
	rd.view.Parts = append(rd.view.Parts, partView{name(dparams, params), kind, n})
	return err
}

func name(disposition, kind map[string]string) string {
	if s := disposition["filename"]; s != "" {
		return s
	}
	return kind["name"]
}

// limited reads up to n octets and passes over the rest.
func limited(r io.Reader, n int64) (string, error) {
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(r, n)); err != nil {
		return b.String(), err
	}
	_, err := io.Copy(io.Discard, r)
	return b.String(), err
}

// picturesShown are the kinds that browsers draw and that hold no script.
var picturesShown = regexp.MustCompile(`^image/(png|jpeg|gif|webp|bmp)$`)

// withPictures puts a mail's own pictures where its HTML asks for them by cid:.
func withPictures(html string, pictures []picture) string {
	for _, p := range pictures {
		html = strings.ReplaceAll(html, "cid:"+p.id, "data:"+p.kind+";base64,"+base64.StdEncoding.EncodeToString(p.data))
	}
	return html
}

// Bytes says a size as people say it.
func (p partView) Bytes() string {
	switch {
	case p.Size >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(p.Size)/(1<<20))
	case p.Size >= 1<<10:
		return fmt.Sprintf("%.1f KB", float64(p.Size)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", p.Size)
}
