package optout

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// keyringVersion is the version of the file's shape.
const keyringVersion = 1

// keyringLimit keeps a wrong path from being read into memory, in bytes.
const keyringLimit = 1 << 20

// Keyring holds the keys of all tokens ever made. Its methods may be called
// from many goroutines.
type Keyring struct {
	path   string
	rotate sync.Mutex           // one Rotate at a time
	keys   atomic.Pointer[keys] // replaced whole, never changed
}

// keys is one state of the ring: what is on disk and what is derived from it.
type keys struct {
	file   keyringFile
	byID   map[uint32]*key
	newest uint32
}

type keyringFile struct {
	Version int          `json:"version"`
	Keys    []keyringKey `json:"keys"`
}

type keyringKey struct {
	ID      uint32    `json:"id"`
	Created time.Time `json:"created"`
	Secret  []byte    `json:"key"` // 32 bytes; base64 in the file
}

// key is what one secret gives. Each purpose has keys of its own, so that a token
// of one never opens as another.
type key struct {
	token, confirm sealer
	mark           []byte // of Keyring.Mark
}

// sealer is one half that seals and another that derives nonces.
type sealer struct {
	aead  cipher.AEAD
	nonce []byte
}

func (k *key) of(version byte) *sealer {
	if version == confirmVersion {
		return &k.confirm
	}
	return &k.token
}

// OpenKeyring reads the key ring at path, and makes one with a single random
// key when there is none. The file is 0600; one that others may read is
// refused, and so is one that a newer Postern wrote.
func OpenKeyring(path string) (*Keyring, error) {
	k := &Keyring{path: path}
	loaded, err := readKeyring(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeyring(path); err != nil {
			return nil, fmt.Errorf("make the key ring: %w", err)
		}
		loaded, err = readKeyring(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the key ring: %w", err)
	}
	k.keys.Store(loaded)
	return k, nil
}

// Newest is the id of the key that seals now. It is pinned in a message so that
// its tokens stay the same when the ring is rotated during a send.
func (k *Keyring) Newest() uint32 { return k.keys.Load().newest }

// Rotate adds a random key, durably, and seals with it from now on. Tokens of
// the older keys keep working.
func (k *Keyring) Rotate() error {
	k.rotate.Lock()
	defer k.rotate.Unlock()
	// Another process may have rotated: the file counts, not what we remember.
	now, err := readKeyring(k.path)
	if err != nil {
		return fmt.Errorf("rotate the key ring: %w", err)
	}
	if now.newest == math.MaxUint32 {
		return errors.New("rotate the key ring: it has no key id left")
	}
	file := keyringFile{Version: keyringVersion, Keys: append(now.file.Keys[:len(now.file.Keys):len(now.file.Keys)], newKey(now.newest+1))}
	next, err := derive(file)
	if err != nil {
		return fmt.Errorf("rotate the key ring: %w", err)
	}
	if err := writeKeyring(k.path, file, os.Rename); err != nil {
		return fmt.Errorf("rotate the key ring: %w", err)
	}
	k.keys.Store(next)
	return nil
}

func newKey(id uint32) keyringKey {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails (crypto/rand)
	return keyringKey{ID: id, Created: time.Now().UTC().Truncate(time.Second), Secret: secret}
}

func readKeyring(path string) (*keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o): run `chmod 600` on it", path, info.Mode().Perm())
	}
	if info.Size() > keyringLimit {
		return nil, fmt.Errorf("%s is no key ring: it is larger than %d bytes", path, keyringLimit)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		return nil, err
	}
	file, err := parseKeyring(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return derive(file)
}

// parseKeyring reads the file strictly: a key ring that is half understood
// would make tokens that nobody can open later.
func parseKeyring(b []byte) (keyringFile, error) {
	var version struct{ Version int }
	if err := json.Unmarshal(b, &version); err != nil {
		return keyringFile{}, fmt.Errorf("not a key ring: restore it from a backup (%w)", err)
	}
	if version.Version != keyringVersion {
		return keyringFile{}, fmt.Errorf("a key ring of version %d, and this Postern reads version %d: use the Postern that wrote it", version.Version, keyringVersion)
	}
	var file keyringFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return keyringFile{}, fmt.Errorf("not a key ring: restore it from a backup (%w)", err)
	}
	seen := make(map[uint32]bool)
	for _, k := range file.Keys {
		if k.ID == 0 || seen[k.ID] || len(k.Secret) != 32 {
			return keyringFile{}, fmt.Errorf("key %d of the key ring is damaged: restore the file from a backup", k.ID)
		}
		seen[k.ID] = true
	}
	if len(file.Keys) == 0 {
		return keyringFile{}, errors.New("a key ring without keys: restore it from a backup")
	}
	return file, nil
}

func derive(file keyringFile) (*keys, error) {
	ks := &keys{file: file, byID: make(map[uint32]*key, len(file.Keys))}
	for _, f := range file.Keys {
		var k key
		var err error
		if k.token, err = deriveSealer(f.Secret, "unsubscribe"); err != nil {
			return nil, err
		}
		if k.confirm, err = deriveSealer(f.Secret, "confirmation"); err != nil {
			return nil, err
		}
		if k.mark, err = hkdf.Key(sha256.New, f.Secret, nil, "postern return path mark 1", sha256.Size); err != nil {
			return nil, err
		}
		ks.byID[f.ID] = &k
		ks.newest = max(ks.newest, f.ID)
	}
	return ks, nil
}

func deriveSealer(secret []byte, purpose string) (s sealer, err error) {
	seal, err := hkdf.Key(sha256.New, secret, nil, "postern "+purpose+" token seal 1", chacha20poly1305.KeySize)
	if err != nil {
		return s, err
	}
	if s.nonce, err = hkdf.Key(sha256.New, secret, nil, "postern "+purpose+" token nonce 1", sha256.Size); err != nil {
		return s, err
	}
	s.aead, err = chacha20poly1305.NewX(seal)
	return s, err
}

// createKeyring makes the first file. Of two processes that do so at once one
// wins, and both read the winner's.
func createKeyring(path string) error {
	err := writeKeyring(path, keyringFile{Version: keyringVersion, Keys: []keyringKey{newKey(1)}}, os.Link)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// writeKeyring writes a temporary file, syncs it, puts it in place (a link
// never replaces, a rename does), and syncs the folder.
func writeKeyring(path string, file keyringFile, place func(from, to string) error) error {
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".keyring-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(b, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := place(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
