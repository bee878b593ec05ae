package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"

	"postern/relay/sign"
)

type dkimCmd struct {
	Keygen keygenCmd `cmd:"" help:"Make a DKIM key, and print the DNS record that publishes it."`
}

func (dkimCmd) Help() string {
	return `Example:

  postern dkim keygen --domain example.com --selector postern --out data/dkim.pem`
}

type keygenCmd struct {
	Domain   string `help:"The domain of the From addresses to sign." required:"" placeholder:"DOMAIN"`
	Selector string `help:"The key's name in DNS." default:"postern" placeholder:"NAME"`
	Out      string `help:"Where the private key goes; an existing file is never overwritten." required:"" placeholder:"FILE"`
	Bits     int    `help:"Length of the RSA key." default:"2048" placeholder:"N"`
}

func (keygenCmd) Help() string {
	return `Writes the private key (PKCS#8 PEM, readable to you alone) to FILE and the TXT record for the domain's zone file to stdout.

Example:

  postern dkim keygen --domain example.com --selector postern --out data/dkim.pem`
}

func (c keygenCmd) Run(s *session) error {
	pem, record, err := sign.GenerateKey(c.Domain, c.Selector, c.Bits)
	if err != nil {
		return err
	}
	if err := writeNew(c.Out, pem); err != nil {
		return err
	}
	if split := sign.SplitRecord(record); split != record {
		fmt.Fprintf(s.stderr, "Publish the record below. Where a DNS server or provider wants strings of at most 255 characters (BIND, Route 53), it is:\n%s\n", split)
	}
	_, err = fmt.Fprintln(s.stdout, record)
	return err
}

// writeNew writes a private file that did not exist, durably, and the folder
// that holds it when that is missing.
func writeNew(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot make the folder of %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists and is not overwritten: choose another file, or move it away", path)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, plainPathError(err))
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

type passwdCmd struct{}

func (passwdCmd) Help() string {
	return `Asks for the password twice on a terminal, and reads one line of stdin otherwise. The hash goes to stdout.

Examples:

  postern passwd
  printf %s "$PASSWORD" | postern passwd`
}

func (passwdCmd) Run(s *session) error {
	password, err := askPassword(s)
	if err != nil {
		return err
	}
	switch {
	case len(password) == 0:
		return errors.New("the password is empty, and an empty one never logs in: give one")
	case len(password) > 72:
		return errors.New("the password is longer than 72 bytes, which bcrypt would cut off: choose a shorter one")
	}
	hash, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
	if err != nil {
		return fmt.Errorf("cannot hash the password: %w", err)
	}
	_, err = fmt.Fprintf(s.stdout, "%s\n", hash)
	return err
}

func askPassword(s *session) ([]byte, error) {
	terminal, ok := s.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		line, err := bufio.NewReader(s.stdin).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("cannot read the password: %w", err)
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
	defer echoAgain(terminal)()
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(s.stderr, prompt)
		line, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(s.stderr)
		if err != nil {
			return nil, fmt.Errorf("cannot read the password: %w", err)
		}
		typed[i] = line
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return nil, errors.New("the two passwords differ: try again")
	}
	return typed[0], nil
}

// echoAgain makes Ctrl-C at the prompt leave a terminal that echoes. The result
// ends the watch.
func echoAgain(terminal *os.File) (stop func()) {
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return func() {}
	}
	interrupted, stopped := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		select {
		case <-interrupted:
			_ = term.Restore(int(terminal.Fd()), before) // nothing more can be done for it
			signal.Stop(interrupted)
			_ = syscall.Kill(os.Getpid(), syscall.SIGINT) // and now as ever
		case <-stopped:
		}
	}()
	return func() { signal.Stop(interrupted); close(stopped) }
}

type configCmd struct{}

func (configCmd) Help() string {
	return `Prints every key with the value that is in force, defaults included; secrets show as "(hidden)". When something is wrong it prints every problem with its key and exits with 1.

Example:

  postern config --config /etc/postern/config.toml`
}

func (configCmd) Run(s *session) error {
	cfg, err := Load(s.config)
	if err != nil {
		return err
	}
	if err := cfg.checkFiltersAsServeDoes(s); err != nil {
		return err
	}
	_, err = io.WriteString(s.stdout, cfg.String())
	return err
}

// checkFiltersAsServeDoes asks the data directory for the fields that imports have
// brought, but only when a filter names others than those of the configuration.
func (c *Config) checkFiltersAsServeDoes(s *session) error {
	fields, err := c.vocabulary(nil)
	if err != nil || c.checkFilters(fields) == nil {
		return err
	}
	known, err := ask(s, c, "")
	if err != nil {
		return errors.Join(c.checkFilters(fields), fmt.Errorf("data_dir: which fields imports have brought could not be found out: %w", err))
	}
	if fields, err = c.vocabulary(known.fields); err != nil {
		return err
	}
	return c.checkFilters(fields)
}

type versionCmd struct{}

func (versionCmd) Help() string {
	return `Example:

  postern version`
}

func (versionCmd) Run(s *session) error {
	_, err := fmt.Fprintln(s.stdout, "postern "+version())
	return err
}

// version is what the Go tool recorded of the source: a tag, else the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown build)"
	}
	words := []string{info.Main.Version}
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			words = append(words, "commit "+setting.Value[:min(12, len(setting.Value))])
		case setting.Key == "vcs.modified" && setting.Value == "true":
			words = append(words, "with changes")
		}
	}
	return strings.Join(append(words, info.GoVersion), ", ")
}
