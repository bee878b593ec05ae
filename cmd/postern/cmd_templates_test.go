package main_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/peer"
)

// opened is a mail as a program that shows HTML opens it: its page, and its pictures
// by Content-ID.
type opened struct {
	page     string
	pictures map[string]string // as data: addresses
}

func (o *opened) read(t *testing.T, head textproto.MIMEHeader, body io.Reader) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(head.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(kind, "multipart/") {
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			o.read(t, p.Header, p)
		}
	}
	switch head.Get("Content-Transfer-Encoding") {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if kind == "text/html" {
		o.page = string(data)
	}
	if id := strings.Trim(head.Get("Content-ID"), "<>"); id != "" {
		o.pictures[id] = "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)
	}
}

// save writes the page with its pictures in it.
func (o *opened) save(t *testing.T, name string) {
	t.Helper()
	for id, data := range o.pictures {
		o.page = strings.ReplaceAll(o.page, "cid:"+id, data)
	}
	if err := os.WriteFile(name, []byte(o.page), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The template that comes with the program, as `make run` finds it: with its own
// sample text and with a mail of Outlook's, whose pictures are wider than a phone.
func TestTheSampleTemplateFitsEveryScreen(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	sampleInto(t, root, "templates", "winter")
	size := 0
	for _, name := range []string{"logo.png", "banner.png", "coat.png"} {
		data, err := os.ReadFile("templates/winter/images/" + name)
		if err != nil {
			t.Fatal(err)
		}
		size += len(data)
	}
	if size > 60<<10 {
		t.Errorf("its pictures have %d octets; every copy carries them", size)
	}
	campaign := filepath.Join(root, "cmd/postern/sample/campaign.eml")
	for name, args := range map[string][]string{"sample": nil, "outlook": {"--mail", campaign}} {
		out, _ := carry(t, 0, append([]string{"preview", "winter", "--config", filepath.Join(root, "config.toml")}, args...)...)
		m, err := mail.ReadMessage(bytes.NewReader([]byte(out)))
		if err != nil {
			t.Fatal(err)
		}
		o := &opened{pictures: map[string]string{}}
		o.read(t, textproto.MIMEHeader(m.Header), m.Body)
		o.save(t, name+".html")
	}
	for _, width := range []int{390, 800} {
		b := peer.NewBrowser(t, width)
		for _, name := range []string{"sample", "outlook"} {
			page, err := filepath.Abs(name + ".html")
			if err != nil {
				t.Fatal(err)
			}
			b.Open(t, "file://"+page)
			var wide, broken, oval int
			b.Eval(t, "document.documentElement.scrollWidth", &wide)
			b.Eval(t, "[...document.images].filter(i => !i.naturalWidth).length", &broken)
			b.Eval(t, "[...document.images].filter(i => Math.abs(i.width / i.height - i.naturalWidth / i.naturalHeight) > 0.1).length", &oval)
			if wide > width || broken > 0 || oval > 0 {
				t.Errorf("%s at %d pixels: %d wide, %d pictures missing, %d out of shape", name, width, wide, broken, oval)
			}
		}
	}
}
