package optout

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"

	"postern/mail"
)

// ErrToken is every reason for which a token is not one of ours. It never says
// which: that would help whoever makes tokens up.
var ErrToken = errors.New("not a valid unsubscribe token")

// Claim is what a token says: this user leaves this list.
type Claim struct {
	List    string       // list id
	User    mail.Address // the user's key, as the directory writes it
	Message mail.ID      // the message whose copy bore the token
}

const (
	tokenVersion = 1
	// maxToken bounds the work on what a stranger sends, in characters. A token
	// for the longest address (254) and a list id of 64 has some 520.
	maxToken = 1024
)

// encoding is strict, so that the unused bits of the last character cannot be
// changed: two spellings of one token would be one too many.
var encoding = base64.RawURLEncoding.Strict()

// Seal makes the token of c under the key with that id; 0, or a key that the
// ring does not have, is the newest. The same claim under the same key gives
// the same token. A token has about 90 characters plus 4/3 of the address and
// the list id, all of them [A-Za-z0-9_-].
//
// The layout before base64url: version (1 byte), key id (uvarint), nonce (24),
// sealed text with its tag (16). The nonce is HMAC-SHA256 over the text, cut to
// 24 bytes: equal texts share a nonce, different ones practically never do.
func (k *Keyring) Seal(keyID uint32, c Claim) string {
	ks := k.keys.Load()
	key := ks.byID[keyID]
	if key == nil {
		keyID, key = ks.newest, ks.byID[ks.newest]
	}
	text := c.marshal()
	head := binary.AppendUvarint([]byte{tokenVersion}, uint64(keyID))
	mac := hmac.New(sha256.New, key.nonce)
	mac.Write(head)
	mac.Write(text)
	nonce := mac.Sum(nil)[:chacha20poly1305.NonceSizeX]

	out := make([]byte, 0, len(head)+len(nonce)+len(text)+key.aead.Overhead())
	out = append(append(out, head...), nonce...)
	return encoding.EncodeToString(key.aead.Seal(out, nonce, text, head))
}

// Open reads a token. Every failure is [ErrToken].
func (k *Keyring) Open(token string) (Claim, error) {
	if len(token) > maxToken || !plainToken(token) {
		return Claim{}, ErrToken
	}
	raw, err := encoding.DecodeString(token)
	if err != nil || len(raw) == 0 || raw[0] != tokenVersion {
		return Claim{}, ErrToken
	}
	id, n := binary.Uvarint(raw[1:])
	if n <= 0 || id > 1<<32-1 {
		return Claim{}, ErrToken
	}
	head, rest := raw[:1+n], raw[1+n:]
	key := k.keys.Load().byID[uint32(id)]
	if key == nil || len(rest) < chacha20poly1305.NonceSizeX {
		return Claim{}, ErrToken
	}
	text, err := key.aead.Open(nil, rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:], head)
	if err != nil {
		return Claim{}, ErrToken
	}
	return unmarshal(text)
}

// plainToken holds the alphabet; the decoder alone would skip line ends.
func plainToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

// marshal is message id (16), length of the list id (uvarint), list id, user.
func (c Claim) marshal() []byte {
	id := c.Message.Bytes()
	b := make([]byte, 0, len(id)+2+len(c.List)+len(c.User))
	b = append(b, id[:]...)
	b = binary.AppendUvarint(b, uint64(len(c.List)))
	b = append(b, c.List...)
	return append(b, c.User...)
}

func unmarshal(b []byte) (Claim, error) {
	if len(b) < 16 {
		return Claim{}, ErrToken
	}
	id := mail.IDFromBytes([16]byte(b))
	size, n := binary.Uvarint(b[16:])
	if n <= 0 {
		return Claim{}, ErrToken
	}
	b = b[16+n:]
	if size == 0 || size >= uint64(len(b)) {
		return Claim{}, ErrToken
	}
	return Claim{List: string(b[:size]), User: mail.Address(b[size:]), Message: id}, nil
}
