package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"postern/expand"
)

type footersCmd struct {
	Dir string `arg:"" help:"The folder; it is made when it is missing." placeholder:"DIR"`
}

func (footersCmd) Help() string {
	return `Writes the footers that come with this version into DIR, each into a file of its own: ko and en for the two languages, advertising for lists with advertising = true; .txt and .html for the two forms of a mail. A file that is there already stays as it is.

Edit what you want to be otherwise, delete the others (a file that is missing is the built-in one), write the folder's name into footers of [templates] and restart.

Example:

  postern footers /etc/postern/footers`
}

func (c footersCmd) Run(s *session) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the folder %s: %w", c.Dir, plainPathError(err))
	}
	for _, name := range expand.FooterNames() {
		path := filepath.Join(c.Dir, name)
		said := "%s written\n"
		switch err := writeFooter(path, name); {
		case errors.Is(err, fs.ErrExist):
			said = "%s is there already and stays as it is\n"
		case err != nil:
			return fmt.Errorf("cannot write %s: %w", path, plainPathError(err))
		}
		if _, err := fmt.Fprintf(s.stdout, said, path); err != nil {
			return err
		}
	}
	return nil
}

// writeFooter writes a file that did not exist. It is for everybody to read: the
// gateway may run as somebody else, and all recipients see it.
func writeFooter(path, name string) error {
	text, err := expand.BuiltInFooter(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}
