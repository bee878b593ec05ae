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
	Message mail.ID      // the message whose copy bore the token; "" when there is none
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
// the list id, all of them [A-Za-z0-9_-]. Message may be "".
//
// The layout before base64url: version (1 byte), key id (uvarint), nonce (24),
// sealed text with its tag (16). The nonce is HMAC-SHA256 over the text, cut to
// 24 bytes: equal texts share a nonce, different ones practically never do.
func (k *Keyring) Seal(keyID uint32, c Claim) string {
	return k.seal(keyID, tokenVersion, c.marshal())
}

func (k *Keyring) seal(keyID uint32, version byte, text []byte) string {
	ks := k.keys.Load()
	key := ks.byID[keyID]
	if key == nil {
		keyID, key = ks.newest, ks.byID[ks.newest]
	}
	s := key.of(version)
	head := binary.AppendUvarint([]byte{version}, uint64(keyID))
	mac := hmac.New(sha256.New, s.nonce)
	mac.Write(head)
	mac.Write(text)
	nonce := mac.Sum(nil)[:chacha20poly1305.NonceSizeX]

	out := make([]byte, 0, len(head)+len(nonce)+len(text)+s.aead.Overhead())
	out = append(append(out, head...), nonce...)
	return encoding.EncodeToString(s.aead.Seal(out, nonce, text, head))
}

// Open reads a token. Every failure is [ErrToken].
func (k *Keyring) Open(token string) (Claim, error) {
	text, err := k.open(token, tokenVersion, maxToken)
	if err != nil {
		return Claim{}, err
	}
	return unmarshal(text)
}

// open gives what is sealed in a token of that version. Until the seal is opened
// its work is bounded by the limit, and it asks nothing but the key ring.
func (k *Keyring) open(token string, version byte, limit int) ([]byte, error) {
	if len(token) > limit || !plainToken(token) {
		return nil, ErrToken
	}
	raw, err := encoding.DecodeString(token)
	if err != nil || len(raw) == 0 || raw[0] != version {
		return nil, ErrToken
	}
	id, n := binary.Uvarint(raw[1:])
	if n <= 0 || id > 1<<32-1 {
		return nil, ErrToken
	}
	head, rest := raw[:1+n], raw[1+n:]
	key := k.keys.Load().byID[uint32(id)]
	if key == nil || len(rest) < chacha20poly1305.NonceSizeX {
		return nil, ErrToken
	}
	text, err := key.of(version).aead.Open(nil, rest[:chacha20poly1305.NonceSizeX], rest[chacha20poly1305.NonceSizeX:], head)
	if err != nil {
		return nil, ErrToken
	}
	return text, nil
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
	var id mail.ID
	if [16]byte(b) != [16]byte{} {
		id = mail.IDFromBytes([16]byte(b))
	}
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
