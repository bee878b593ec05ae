package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"postern/directory"
	"postern/mail"
	"postern/relay/sign"
	"postern/spool"
)

// The sample that the demonstration sends, and the users it goes to.
var (
	//go:embed sample/campaign.eml
	sampleCampaign []byte
	//go:embed sample/users.csv
	sampleUsers string
)

const (
	demoSender = "marketer@example.com"
	demoList   = "promo@lists.example.com"
	demoWithin = 2 * time.Minute // a copy that is not out by then counts as lost
)

type demoOptions struct {
	Keep bool // leave the data directory
}

// runDemo shows the main job: it starts a gateway on loopback with the sample
// users, submits the sample campaign over SMTP as a mail client would, waits
// until every copy is out, and verifies each. The last line it prints is the
// summary. Its error says what is wrong with which copy.
func runDemo(ctx context.Context, stdout, stderr io.Writer, opts demoOptions) (err error) {
	dir, err := os.MkdirTemp("", "postern-demo-")
	if err != nil {
		return err
	}
	d := &demo{dir: dir, out: stdout, progress: newProgress(stderr)}
	defer func() {
		if opts.Keep {
			fmt.Fprintf(stderr, "kept %s\n", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		err = errors.Join(err, d.app.Stop(stop))
	}()
	if err := d.app.Start(ctx); err != nil {
		return err
	}
	return d.run(ctx)
}

type demo struct {
	dir      string
	out      io.Writer
	progress *progress
	app      *App
	record   string // the DKIM TXT record's value
	users    int    // subscribed
}

// prepare makes the data directory: a signing key, the users, the parts.
func (d *demo) prepare(ctx context.Context) error {
	key, txt, err := sign.GenerateKey("example.com", "demo", 2048)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "dkim.pem"), key, 0o600); err != nil {
		return err
	}
	d.record = txtValue(txt)
	cfg, err := ParseConfig(strings.ReplaceAll(demoConfig, "DIR", d.dir))
	if err != nil {
		return err
	}
	if d.app, err = newApp(cfg, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	result, err := directory.Import(ctx, strings.NewReader(sampleUsers), d.app.store, nil)
	if err != nil {
		return errors.Join(err, d.app.close())
	}
	if err := d.count(ctx); err != nil {
		return errors.Join(err, d.app.close())
	}
	fmt.Fprintf(d.out, "demo: %d sample users, %d of them subscribed\n", result.Stored, d.users)
	return nil
}

// count finds how many are subscribed.
func (d *demo) count(ctx context.Context) error {
	for at := directory.Checkpoint(nil); ; {
		page, err := d.app.store.Scan(ctx, at)
		if err != nil {
			return err
		}
		for i := range page.Users {
			if page.Users[i].Subscribed {
				d.users++
			}
		}
		if at = page.Next; at == nil {
			return nil
		}
	}
}

// demoConfig is a gateway on loopback, with ports chosen freely. DIR is its data
// directory.
const demoConfig = `
data_dir = "DIR"
[[smtp.listener]]
address = "127.0.0.1:0"
[[smtp.network]]
cidr = "127.0.0.0/8"
send_as = ["*@example.com"]
lists = ["promo"]
[[list]]
id = "promo"
address = "promo@lists.example.com"
name = "Promotions"
[[lane]]
name = "default"
driver = "maildir"
  [lane.maildir]
  path = "DIR/outbox"
[[dkim]]
domain = "example.com"
selector = "demo"
key_file = "DIR/dkim.pem"
[optout]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
`

// txtValue joins the quoted strings of a TXT record in zone file form.
func txtValue(record string) string {
	var b strings.Builder
	for i, part := range strings.Split(record, `"`) {
		if i%2 == 1 {
			b.WriteString(part)
		}
	}
	return b.String()
}

func (d *demo) run(ctx context.Context) error {
	accepted, err := d.submit()
	if err != nil {
		return fmt.Errorf("the sample campaign was not taken: %w", err)
	}
	m, err := d.wait(ctx)
	if err != nil {
		return err
	}
	first, last, err := d.times(m, accepted)
	if err != nil {
		return err
	}
	v := &verifier{record: d.record, picture: sha256.Sum256(pictureOf(sampleCampaign)), to: map[string]bool{}}
	sample, err := v.all(filepath.Join(d.dir, "outbox", "new"))
	if err != nil {
		return err
	}
	kept, err := keepSample(sample)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "demo: read one of the copies in %s\n", kept)
	ms := func(t time.Time) int64 { return t.Sub(accepted).Milliseconds() }
	fmt.Fprintf(d.out, "demo: %d of %d copies, DKIM valid %d, first after %d ms, last after %d ms\n",
		v.good, d.users, v.signed, ms(first), ms(last))
	switch {
	case v.problem != nil:
		return v.problem
	case v.good != d.users:
		return fmt.Errorf("%d of %d copies came out: %v", v.good, d.users, m.Counts)
	}
	return nil
}

// submit sends the campaign as a mail client would and returns when the 250 came.
func (d *demo) submit() (time.Time, error) {
	addr := d.app.smtp.Addrs()[0].String()
	fmt.Fprintf(d.out, "demo: submitting one mail of %d KB to %s by SMTP at %s\n", len(sampleCampaign)/1000, demoList, addr)
	c, err := smtp.Dial(addr)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	if err := c.SendMail(demoSender, []string{demoList}, strings.NewReader(string(sampleCampaign))); err != nil {
		return time.Time{}, err
	}
	return time.Now(), c.Quit()
}

// wait shows progress until the message is done.
func (d *demo) wait(ctx context.Context) (spool.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, demoWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := d.app.spool.Messages("", 1)
		if err != nil {
			return spool.Summary{}, err
		}
		m := list[0]
		d.progress.show("%s", bar(m.Counts[mail.Sent], d.users))
		switch m.State {
		case mail.Done:
			d.progress.end()
			return m, nil
		case mail.Failed, mail.Held, mail.Paused, mail.Cancelled:
			d.progress.end()
			return m, fmt.Errorf("the message is %s: %s", m.State, m.Reason)
		}
		select {
		case <-ctx.Done():
			d.progress.end()
			return m, fmt.Errorf("only %d of %d copies were out in time; the message is %s %s", m.Counts[mail.Sent], d.users, m.State, m.Reason)
		case <-tick.C:
		}
	}
}

// times is when the first and the last copy were handed upstream.
func (d *demo) times(m spool.Summary, accepted time.Time) (first, last time.Time, err error) {
	copies, err := d.app.spool.Copies(m.ID, 0, m.Counts.Total())
	first, last = time.Now(), accepted
	for _, c := range copies {
		if c.State != mail.Sent {
			continue
		}
		if c.At.Before(first) {
			first = c.At
		}
		if c.At.After(last) {
			last = c.At
		}
	}
	if first.Before(accepted) { // out before the client had read the 250
		first = accepted
	}
	return first, last, err
}

func keepSample(copy []byte) (string, error) {
	f, err := os.CreateTemp("", "postern-demo-copy-*.eml")
	if err != nil {
		return "", err
	}
	_, err = f.Write(copy)
	return f.Name(), errors.Join(err, f.Close())
}

// bar draws how many of a number are done.
func bar(done, of int) string {
	const width = 40
	filled := width * done / max(of, 1)
	return fmt.Sprintf("sending [%s%s] %d/%d", strings.Repeat("#", filled), strings.Repeat(".", width-filled), done, of)
}
