package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/emersion/go-message"
	gomail "github.com/emersion/go-message/mail"
	"github.com/emersion/go-msgauth/dkim"
)

// verifier looks at copies as a receiver would.
type verifier struct {
	record  string // of the DKIM key
	picture [sha256.Size]byte
	to      map[string]bool // recipients seen

	good    int   // copies in which everything is right
	signed  int   // copies with a valid signature over the unsubscribe headers
	problem error // the first
}

// all verifies every file of a folder and returns one of them.
func (v *verifier) all(dir string) (sample []byte, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		if err := v.one(raw); err != nil && v.problem == nil {
			v.problem = fmt.Errorf("copy %s: %w", f.Name(), err)
		} else if err == nil {
			v.good++
		}
		sample = raw
	}
	return sample, nil
}

func (v *verifier) one(raw []byte) error {
	if err := v.signature(raw); err != nil {
		return err
	}
	v.signed++
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return err
	}
	h := gomail.Header{Header: e.Header}
	to, err := h.AddressList("To")
	switch {
	case err != nil:
		return fmt.Errorf("its To cannot be read: %w", err)
	case len(to) != 1 || len(h.Values("To")) != 1:
		return fmt.Errorf("its To has %d addresses, not one", len(to))
	case v.to[to[0].Address]:
		return fmt.Errorf("%s has two copies", to[0].Address)
	case h.Get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click":
		return errors.New("it has no List-Unsubscribe-Post")
	case !strings.Contains(h.Get("List-Unsubscribe"), "/u/"):
		return errors.New("its List-Unsubscribe has no one-click link")
	case h.Has("Cc"), h.Has("Bcc"):
		return errors.New("it reveals Cc or Bcc")
	}
	v.to[to[0].Address] = true
	subject, err := h.Text("Subject")
	if err != nil || strings.Contains(subject, "{{") {
		return fmt.Errorf("its Subject %q is not personal: %v", subject, err)
	}
	if sha256.Sum256(pictureOf(raw)) != v.picture {
		return errors.New("the picture is not the one that was sent")
	}
	return nil
}

func (v *verifier) signature(raw []byte) error {
	checks, err := dkim.VerifyWithOptions(bytes.NewReader(raw), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) { return []string{v.record}, nil },
	})
	if err != nil {
		return fmt.Errorf("its DKIM signature: %w", err)
	}
	if len(checks) != 1 {
		return fmt.Errorf("it has %d DKIM signatures, not one", len(checks))
	}
	if checks[0].Err != nil {
		return fmt.Errorf("its DKIM signature: %w", checks[0].Err)
	}
	covered := strings.ToLower(strings.Join(checks[0].HeaderKeys, ":") + ":")
	for _, name := range []string{"from:", "to:", "subject:", "list-unsubscribe:", "list-unsubscribe-post:"} {
		if !strings.Contains(covered, name) {
			return fmt.Errorf("its DKIM signature does not cover %s", strings.TrimSuffix(name, ":"))
		}
	}
	return nil
}

// pictureOf is the decoded first inline picture of a mail; nil when there is none.
func pictureOf(raw []byte) []byte {
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return nil
	}
	var picture []byte
	_ = e.Walk(func(_ []int, part *message.Entity, err error) error { // a part that cannot be read has no picture
		if err != nil && !message.IsUnknownCharset(err) || part == nil || picture != nil {
			return nil
		}
		if t, _, _ := part.Header.ContentType(); strings.HasPrefix(t, "image/") {
			picture, _ = io.ReadAll(part.Body)
		}
		return nil
	})
	return picture
}
