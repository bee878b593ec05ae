package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"postern/directory"
	"postern/optout"
	"postern/spool"
)

func keyringPath(cfg *Config) string { return filepath.Join(cfg.DataDir, "keyring.json") }

// recentMessages are looked at for the newest key: notices among them bear none.
const recentMessages = 100

// openKeyring opens the key ring of people's links, and makes it for a data_dir that is
// new. One that is gone, or older than the mail that it has sealed, is an error: with
// another in its place every link that was sent would be dead, and nobody would know.
func openKeyring(cfg *Config, s *spool.Spool, index *directory.Index) (*optout.Keyring, error) {
	used, newest, err := usedKeys(s, index)
	if err != nil {
		return nil, err
	}
	path := keyringPath(cfg)
	if _, err := os.Stat(path); used && errors.Is(err, fs.ErrNotExist) {
		return nil, lostKeyring("is not there, and opens the unsubscribe links of all mail that was sent", path)
	}
	k, err := optout.OpenKeyring(path)
	if err == nil && k.Newest() < newest {
		return nil, lostKeyring(fmt.Sprintf("lacks key %d, which opens the unsubscribe links of the newest mail: it is an older one", newest), path)
	}
	return k, err
}

func lostKeyring(what, path string) error {
	return fmt.Errorf("%s %s: put it back from the last backup; if there is none, `postern optout rotate --lost` goes on without it, and those links stay dead", path, what)
}

// usedKeys says whether there may be links in people's mailboxes, and which key the
// newest of them need.
func usedKeys(s *spool.Spool, index *directory.Index) (used bool, newest uint32, err error) {
	entries, _, err := index.Head()
	if err != nil {
		return false, 0, err
	}
	recent, err := s.Messages("", recentMessages)
	for i := range recent {
		newest = max(newest, recent[i].TokenKey)
	}
	return entries > 0 || len(recent) > 0, newest, err
}

// replaceKeyring makes what is missing of a key ring that is lost for good. The gateway
// must not run.
func replaceKeyring(cfg *Config, log *slog.Logger) (newest uint32, err error) {
	o := &offline{cfg: cfg}
	if err := o.open(log); err != nil {
		return 0, dataProblem(cfg.DataDir, errors.Join(err, o.Close()))
	}
	defer func() { err = errors.Join(err, o.Close()) }()
	if k, err := openKeyring(cfg, o.spool, o.index); err == nil {
		return k.Newest(), errors.New("the key ring is not lost: `postern optout rotate` gives it a new key")
	}
	_, wanted, err := usedKeys(o.spool, o.index)
	if err != nil {
		return 0, err
	}
	k, err := optout.OpenKeyring(keyringPath(cfg))
	for err == nil && k.Newest() <= max(wanted, 1) { // no id that a lost key has had
		err = k.Rotate()
	}
	if err != nil {
		return 0, err
	}
	return k.Newest(), nil
}
