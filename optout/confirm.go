package optout

import (
	"encoding/binary"
	"errors"
	"time"

	"postern/mail"
)

// ConfirmWithin is how long the link in a confirmation mail works.
const ConfirmWithin = 7 * 24 * time.Hour

// ErrExpired is a confirmation that was made by us and is older than
// [ConfirmWithin].
var ErrExpired = errors.New("this confirmation has expired")

// Confirmation is what the link in a confirmation mail says: this user wants
// these lists. It was asked for at At, which counts in whole seconds.
type Confirmation struct {
	Lists []string     // list ids, at least one
	User  mail.Address // the user's key, as the directory writes it
	At    time.Time
}

const (
	confirmVersion = 2
	// maxConfirm bounds a confirmation's token, in characters; maxConfirmLists
	// its list ids, in octets, so that it never grows longer.
	maxConfirm      = 6000
	maxConfirmLists = 4000
)

// SealConfirm makes the token of base_url + "/c/" + token. Lists beyond 4000
// octets of ids are left out: a link must stay one that can be followed. The token
// is sealed with keys of its own purpose: [Keyring.Open] refuses it, and
// OpenConfirm refuses every other token.
func (k *Keyring) SealConfirm(c Confirmation) string {
	b := binary.AppendUvarint(nil, uint64(c.At.Unix()))
	lists, room := 0, maxConfirmLists
	for _, id := range c.Lists {
		if room -= len(id) + 2; room < 0 {
			break
		}
		lists++
	}
	b = binary.AppendUvarint(b, uint64(lists))
	for _, id := range c.Lists[:lists] {
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
	}
	return k.seal(0, confirmVersion, append(b, c.User...))
}

// OpenConfirm reads a token of SealConfirm. It is [ErrToken] for whatever is none,
// and ErrExpired, with the confirmation, for one that is too old at now.
func (k *Keyring) OpenConfirm(token string, now time.Time) (Confirmation, error) {
	text, err := k.open(token, confirmVersion, maxConfirm)
	if err != nil {
		return Confirmation{}, err
	}
	c, err := unmarshalConfirm(text)
	if err != nil {
		return Confirmation{}, err
	}
	if now.Sub(c.At) > ConfirmWithin {
		return c, ErrExpired
	}
	return c, nil
}

func unmarshalConfirm(b []byte) (c Confirmation, err error) {
	next := func() (n uint64) {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			err, b = ErrToken, nil
			return 0
		}
		b = b[size:]
		return n
	}
	c.At = time.Unix(int64(next()), 0)
	for range min(next(), maxConfirmLists) {
		size := next()
		if size == 0 || size > uint64(len(b)) {
			return Confirmation{}, ErrToken
		}
		c.Lists = append(c.Lists, string(b[:size]))
		b = b[size:]
	}
	c.User = mail.Address(b)
	if err != nil || c.Lists == nil || c.User == "" {
		return Confirmation{}, ErrToken
	}
	return c, nil
}
