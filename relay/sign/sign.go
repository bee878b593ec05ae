package sign

import (
	"bytes"
	"crypto"
	"fmt"

	"github.com/emersion/go-msgauth/dkim"

	"postern/mail"
)

// signedFields is the h= tag. A field that is named once more than it occurs
// cannot be added later. What the upstream rewrites is not in it. RFC 8058 §4
// asks for both List-Unsubscribe fields; a mail without any field of a list may
// still come to one, at the receiver's, which adds them and must not break the
// signature by it. The list stays short because h= is written on one line, which
// may have 998 octets (RFC 5322 §2.1.1).
func signedFields(header []byte) []string {
	fields := []string{
		"From", "From",
		"To", "To",
		"Subject", "Subject",
		"Reply-To", "Reply-To",
		"MIME-Version", "MIME-Version",
		"Content-Type", "Content-Type",
		"Content-Transfer-Encoding",
		"Cc",
	}
	if !ofList(header) {
		return fields
	}
	return append(fields,
		"List-Id", "List-Id",
		"List-Unsubscribe", "List-Unsubscribe",
		"List-Unsubscribe-Post", "List-Unsubscribe-Post",
	)
}

// ofList says whether a header has a field whose name begins with List-.
func ofList(header []byte) bool {
	for line := range bytes.Lines(header) {
		if len(line) > 5 && bytes.EqualFold(line[:5], []byte("List-")) {
			return true
		}
	}
	return false
}

// Sign returns c with a DKIM-Signature on top, made with the key for the From
// header's address. Where the upstream signs for the domain, c comes back as it
// is. A domain without a key is a [mail.MessageWide] error: no copy with this
// From can be signed.
func (ks *Keys) Sign(c mail.Content, from mail.Address) (mail.Content, error) {
	k, found, sign := ks.For(from)
	if !found {
		return mail.Content{}, &mail.Error{Class: mail.MessageWide, Code: 550, Enhanced: "5.7.20",
			Public: fmt.Sprintf("mail from %s cannot be signed: there is no DKIM key for %s; add a [[dkim]] for it, or send from a domain that has one", from, from.Domain())}
	}
	if !sign {
		return c, nil
	}
	field, err := k.signature(c)
	if err != nil {
		return mail.Content{}, fmt.Errorf("DKIM signature for %s: %w", k.Domain, err)
	}
	return c.Prepend(field), nil
}

func (k *Key) signature(c mail.Content) ([]byte, error) {
	s, err := dkim.NewSigner(&dkim.SignOptions{
		Domain:                 k.Domain,
		Selector:               k.Selector,
		Signer:                 k.signer,
		Hash:                   crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed,
		BodyCanonicalization:   dkim.CanonicalizationRelaxed,
		HeaderKeys:             signedFields(c.Header),
	})
	if err != nil {
		return nil, err
	}
	_, writeErr := c.WriteTo(s)
	// Close comes first in any case: it ends the signer's goroutine, and when a
	// write failed it says why.
	if err := s.Close(); err != nil {
		return nil, err
	}
	if writeErr != nil {
		return nil, writeErr
	}
	return []byte(s.Signature()), nil
}
