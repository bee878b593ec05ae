package optout

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// markLen is how many characters a mark has: 80 bits, five in each.
const markLen = 16

// Mark is a short proof that a text comes from this gateway, in characters that survive
// the local part of an address: [a-z2-7]{16}. keyID is as in Seal. It is for return
// paths, whose code has no room for a token: whoever makes up a mark has to guess 80
// bits.
func (k *Keyring) Mark(keyID uint32, text string) string {
	ks := k.keys.Load()
	key := ks.byID[keyID]
	if key == nil {
		key = ks.byID[ks.newest]
	}
	mac := hmac.New(sha256.New, key.mark)
	mac.Write([]byte(text))
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil))[:markLen])
}

// Marked says whether mark is that of a text, in constant time and in either case of
// its letters, as some servers change it.
func (k *Keyring) Marked(keyID uint32, text, mark string) bool {
	return hmac.Equal([]byte(k.Mark(keyID, text)), []byte(strings.ToLower(mark)))
}
