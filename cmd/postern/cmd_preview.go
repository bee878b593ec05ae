package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/admin"
	"postern/directory"
	"postern/mail"
)

type previewCmd struct {
	File string `arg:"" help:"The mail, as mail programs save it (.eml); - is stdin."`
	List string `help:"The list that it is for, by id or address." required:"" placeholder:"ID"`
	User string `help:"Show this user's copy, with the values of the directory; without it, with sample values." placeholder:"EMAIL"`
	Out  string `help:"Write the copy to this file instead of stdout; an existing file is never overwritten." placeholder:"FILE"`
	JSON bool   `name:"json" help:"Print one JSON object instead of the copy."`

	Template string `help:"Put it into this template, as a mail to list+ID@ is; else into the list's own." placeholder:"ID"`
}

func (previewCmd) Help() string {
	return `Sends nothing and stores nothing. The copy goes to stdout as it would go upstream, before its signature, with an unsubscribe link that changes nobody. What it is made of, and what is odd in it, goes to stderr; the warnings are explained in docs/writing.md. Works while the gateway runs and while it does not; without --user it needs neither network nor spool, unless the template is in SES. Large pictures stay in the copy, also where host_images_over would put them elsewhere.

The exit code is 0 when there is a copy, warnings or not. It is 1 when the gateway would refuse the mail (its answer to DATA is printed), or when the user has no value for a placeholder without fallback: then there is no copy.

Examples:

  postern preview winter.eml --list promo > copy.eml
  postern preview winter.eml --list promo --user min@example.net --out copy.eml
  postern preview winter.eml --list promo --template winter --out copy.eml
  postern preview - --list promo@lists.example.com --json < winter.eml`
}

func (c previewCmd) Run(s *session) error {
	cfg, err := LoadOffline(s.config)
	if err != nil {
		return err
	}
	list, named, err := cfg.destinationCalled(c.List)
	if err != nil {
		return err
	}
	if err := c.checkOut(); err != nil {
		return err
	}
	raw, name, err := c.read(s, cfg)
	if err != nil {
		return err
	}
	return c.show(s, &previewer{cfg: cfg, list: list, template: cmp.Or(c.Template, named), file: name}, raw)
}

// show makes the copy of raw and prints it.
func (c previewCmd) show(s *session, p *previewer, raw []byte) error {
	known, err := ask(s, p.cfg, c.User)
	if err != nil {
		return err
	}
	p.user, p.now = known.user, time.Now()
	if p.fields, err = p.cfg.vocabulary(known.fields); err != nil {
		return err
	}
	content, failed := p.make(s.ctx, raw)
	if err := c.print(s, p, content); err != nil {
		return err
	}
	return failed
}

// checkOut refuses a file that exists before anything is done.
func (c previewCmd) checkOut() error {
	if c.Out != "" && c.Out != "-" {
		if _, err := os.Lstat(c.Out); err == nil {
			return fmt.Errorf("%s exists and is not overwritten: choose another file, or move it away", c.Out)
		}
	}
	return nil
}

// destinationCalled finds a list by its id or address, and the template that an
// address such as promo+winter@ names, else the list's own.
func (c *Config) destinationCalled(name string) (*ListConfig, string, error) {
	l, err := c.listCalled(name)
	if err == nil {
		return l, l.Template, nil
	}
	d, ok, wrong := newIntake(c, nil, nil, nil, nil, nil, nil).destination(mail.Address(name))
	if wrong != nil {
		return nil, "", wrong
	}
	if ok {
		return d.ListConfig, d.template, nil
	}
	return nil, "", err
}

// listCalled finds a list by its id or address.
func (c *Config) listCalled(name string) (*ListConfig, error) {
	var ids []string
	for i := range c.Lists {
		l := &c.Lists[i]
		if l.ID == name || l.Address.Key() == mail.Address(name).Key() {
			return l, nil
		}
		ids = append(ids, l.ID)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("there is no list %q: the configuration has no [[list]]", name)
	}
	return nil, fmt.Errorf("there is no list %q; there are %s", name, strings.Join(ids, ", "))
}

// read takes the file as a listener takes DATA, with its lines ended by CRLF.
func (c previewCmd) read(s *session, cfg *Config) (raw []byte, name string, err error) {
	file, name := s.stdin, "the mail"
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, "", fmt.Errorf("cannot read %s: %w", c.File, plainPathError(err))
		}
		defer f.Close()
		file, name = f, c.File
	}
	b, err := io.ReadAll(io.LimitReader(file, cfg.SMTP.MaxMessageBytes+1))
	if err != nil {
		return nil, "", fmt.Errorf("cannot read %s: %w", name, plainPathError(err))
	}
	return endLines(b), name, nil
}

// endLines gives b CRLF line ends as listeners do: LF and CR alone become CRLF, and
// so does CR CR LF, which programs make of CRLF by translating it twice.
func endLines(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/40+2)
	crs := 0
	for _, c := range b {
		switch c {
		case '\r':
			crs++
			continue
		case '\n':
			out = append(out, "\r\n"...)
		default:
			out = append(append(out, bytes.Repeat([]byte("\r\n"), crs)...), c)
		}
		crs = 0
	}
	out = append(out, bytes.Repeat([]byte("\r\n"), crs)...)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return out
}

// knowledge is what the data directory knows for a preview.
type knowledge struct {
	fields map[string]string // learnt: name and type
	user   *directory.User   // nil: a sample serves
}

// ask gets it from the gateway, or from the files where none runs.
// user is whose values are wanted, "" for nobody's.
func ask(s *session, cfg *Config, user string) (knowledge, error) {
	if user != "" {
		if _, err := mail.ParseAddress(user); err != nil {
			return knowledge{}, err
		}
	}
	log := newLog(s.stderr, LogConfig{Level: "warn", Format: cfg.Log.Format})
	control := Control{DataDir: cfg.DataDir, Socket: cfg.ControlSocket(), Patience: patience,
		Offline: func() (http.Handler, io.Closer, error) { return openToLook(cfg, user != "", log) }}
	conn, err := control.Connect(s.ctx)
	if err != nil {
		return knowledge{}, err
	}
	defer conn.Close()
	return askOn(s.ctx, conn, user)
}

func askOn(ctx context.Context, conn *Connection, user string) (k knowledge, err error) {
	if err := conn.Call(ctx, http.MethodGet, "/api/fields", nil, &k.fields); err != nil {
		return k, err
	}
	if user == "" {
		return k, nil
	}
	var line json.RawMessage
	if err := conn.Call(ctx, http.MethodGet, userPath(user), nil, &line); err != nil {
		return k, fmt.Errorf("%s: %w", user, err)
	}
	k.user = new(directory.User)
	if err := json.Unmarshal(line, k.user); err != nil {
		return k, fmt.Errorf("what is stored of %s cannot be read: %w", user, err)
	}
	return k, nil
}

// openToLook is openOffline for who only looks at fields, and at users when that is
// asked for: the spool stays closed, and no file is made.
func openToLook(cfg *Config, users bool, log *slog.Logger) (http.Handler, io.Closer, error) {
	o := &offline{cfg: cfg}
	if err := o.openExisting(users, log); err != nil {
		return nil, nil, dataProblem(cfg.DataDir, errors.Join(err, o.Close()))
	}
	api := &admin.API{Users: o.store, Fields: func() map[string]string { return nil }, Log: log}
	if o.index != nil {
		api.Fields = o.index.Fields
	}
	return api.Handler(), o, nil
}

func (o *offline) openExisting(users bool, log *slog.Logger) error {
	there, err := exists(filepath.Join(o.cfg.DataDir, "index.db"))
	if err != nil {
		return err
	}
	if there {
		if o.index, err = openIndex(o.cfg); err != nil {
			return err
		}
	}
	if !users {
		return nil
	}
	if o.cfg.Directory.Driver == "embedded" {
		there, err := exists(filepath.Join(o.cfg.DataDir, "directory.db"))
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("there are no users in %s yet: `postern users import FILE.csv` stores some", o.cfg.DataDir)
		}
	}
	o.store, err = openStore(o.cfg, log)
	return err
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// print writes the copy, or the object, to where it was asked for, and what people
// should know to stderr. Without a copy content is nil.
func (c previewCmd) print(s *session, p *previewer, content []byte) error {
	if c.Out != "" && c.Out != "-" && content != nil {
		if _, err := saveWhole(c.Out, bytes.NewReader(content)); err != nil {
			return err
		}
	}
	if c.JSON {
		text, err := json.Marshal(p.shown)
		if err != nil {
			return fmt.Errorf("the preview cannot be written: %w", err)
		}
		return printJSON(s.stdout, text)
	}
	if c.Out == "" || c.Out == "-" {
		if _, err := s.stdout.Write(content); err != nil {
			return fmt.Errorf("the copy could not be printed wholly: %w", err)
		}
	}
	if p.shown.Refused != "" {
		return nil // the error says it
	}
	return p.summary(s.stderr)
}
