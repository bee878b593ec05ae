package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"postern/optout"
	"postern/optout/letters"
)

type optoutCmd struct {
	Rotate  optoutRotateCmd  `cmd:"" help:"Give unsubscribe links a new key; older links go on working."`
	Pages   optoutPagesCmd   `cmd:"" help:"Write the built-in public pages into a folder, for editing."`
	Letters optoutLettersCmd `cmd:"" help:"Write the built-in letters to recipients into a folder, for editing."`
}

func (optoutCmd) Help() string {
	return `Examples:

  postern optout rotate
  postern optout pages /etc/postern/pages
  postern optout letters /etc/postern/letters`
}

type optoutRotateCmd struct {
	Lost bool `help:"Go on without a key ring that is lost for good, while the gateway does not run: links that were sent with its keys stay dead."`
}

func (optoutRotateCmd) Help() string {
	return `A new random key is added to keyring.json in data_dir. It seals the links of what is accepted from now on; every older key goes on opening the links that it has sealed, for ever. Works while the gateway runs, which takes the new key at once, and while it does not.

Back the file up again afterwards: who loses it breaks every link that was ever sent. So the gateway does not start without it, once it has sent mail: put it back from a backup. With --lost a new one is made instead.

Example:

  postern optout rotate`
}

func (c optoutRotateCmd) Run(s *session) error {
	if c.Lost {
		return c.replace(s)
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var made struct {
		Key uint32 `json:"key"`
	}
	if err := conn.Call(s.ctx, http.MethodPost, "/api/optout/rotate", nil, &made); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "Key %d seals new links from now on; links of the older keys go on working. Back up %s again.\n", made.Key, keyringPath(cfg))
	return err
}

func (optoutRotateCmd) replace(s *session) error {
	cfg, err := LoadOffline(s.config)
	if err != nil {
		return err
	}
	key, err := replaceKeyring(cfg, newLog(s.stderr, LogConfig{Level: "warn", Format: cfg.Log.Format}))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "Key %d seals new links from now on. Links that were sealed by a lost key do not work any more: who wants to leave by one reads that it does not work, and may write to you. Back up %s.\n", key, keyringPath(cfg))
	return err
}

type optoutPagesCmd struct {
	Dir   string `arg:"" help:"The folder; it is made when it is missing." placeholder:"DIR"`
	Force bool   `help:"Overwrite the files of these names that are there."`
}

func (optoutPagesCmd) Help() string {
	return `Writes the pages that recipients see into DIR: HTML files, the style sheet, and the texts in Korean and English (ko.toml, en.toml). A file that is there already stays as it is, unless --force.

Edit what you want to be otherwise, delete the others (a file that is missing is the built-in one), write the folder's name into pages of [optout] and restart. A mistake in a page stops the start with its file and line; ` + "`postern config`" + ` finds it beforehand.

Example:

  postern optout pages /etc/postern/pages`
}

func (c optoutPagesCmd) Run(s *session) error {
	if err := forget(c.Force, c.Dir, optout.FileNames()); err != nil {
		return err
	}
	written, kept, err := optout.WriteDefaults(c.Dir)
	return errors.Join(sayWritten(s, written, kept), err)
}

type optoutLettersCmd struct {
	Dir   string `arg:"" help:"The folder; it is made when it is missing." placeholder:"DIR"`
	Force bool   `help:"Overwrite the files of these names that are there."`
}

func (optoutLettersCmd) Help() string {
	return `Writes the letters that recipients get into DIR, each in Korean and English: the result of leaving (left) and of agreeing (agreed), of both (changed), the question whether somebody wants mail again (confirm), and the reminder of a consent (reminder). A file that is there already stays as it is, unless --force.

Edit what you want to be otherwise, delete the others (a file that is missing is the built-in one), write the folder's name into letters of [optout] and restart. A mistake in a letter stops the start with its file and line; ` + "`postern config`" + ` finds it beforehand.

Example:

  postern optout letters /etc/postern/letters`
}

func (c optoutLettersCmd) Run(s *session) error {
	if err := forget(c.Force, c.Dir, letters.Names()); err != nil {
		return err
	}
	all, err := letters.WriteDefaults(c.Dir)
	var written, kept []string
	for _, w := range all {
		if w.Kept {
			kept = append(kept, w.Path)
		} else {
			written = append(written, w.Path)
		}
	}
	return errors.Join(sayWritten(s, written, kept), err)
}

// forget removes the files that are to be written anew.
func forget(force bool, dir string, names []string) error {
	if !force {
		return nil
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot overwrite %s: %w", path, plainPathError(err))
		}
	}
	return nil
}

func sayWritten(s *session, written, kept []string) error {
	for _, path := range written {
		if _, err := fmt.Fprintf(s.stdout, "%s written\n", path); err != nil {
			return err
		}
	}
	for _, path := range kept {
		if _, err := fmt.Fprintf(s.stdout, "%s is there already and stays as it is\n", path); err != nil {
			return err
		}
	}
	return nil
}
