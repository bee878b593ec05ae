package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"postern/directory/mysqlsync"
	"postern/optout"
	"postern/optout/letters"
	"postern/relay/sign"
	"postern/smtpd"
)

// readSecrets puts the content of the secret files into their secrets.
func (c *Config) readSecrets(found *problems) {
	eachSecret(c, func(path string, value *Secret, file string) {
		if file == "" {
			return
		}
		if *value != "" {
			found.add(path, "is given, and %s_file too: give one of them", path)
			return
		}
		secret, err := readSecret(file)
		if err != nil {
			found.add(path+"_file", "cannot read %s: %w", file, err)
			return
		}
		*value = secret
	})
}

// checkFiles opens every file that serving needs, so that a start is refused
// before anything listens.
func (c *Config) checkFiles(found *problems) {
	certificate(found, "smtp.tls", c.SMTP.TLS.CertFile, c.SMTP.TLS.KeyFile)
	clientCAs(found, c.SMTP.TLS.ClientCAFile)
	certificate(found, "admin", c.Admin.CertFile, c.Admin.KeyFile)
	for i, l := range c.Lanes {
		if _, err := authorities(l.SMTP.CAFile); l.Driver == "smtp" && err != nil {
			found.add(fmt.Sprintf("lane[%d].smtp.ca_file", i), "%w", err)
		}
	}
	if _, err := authorities(c.Sync.CAFile); c.Sync.on() && err != nil {
		found.add("sync.ca_file", "%w", err)
	} else if c.Sync.DSN != "" && !found.below("sync.dsn") && c.Sync.Table != "" {
		_, err := (mysqlsync.TableConfig{DSN: string(c.Sync.DSN), CAFile: c.Sync.CAFile, Table: c.Sync.Table}).Origin()
		found.join(err)
	}
	if _, err := letters.Load(c.OptOut.Letters); err != nil {
		found.join(under("optout.letters", err))
	}
	if _, err := optout.Load(c.OptOut.Pages); err != nil {
		found.join(err)
	}
	c.checkKeys(found)
}

func certificate(found *problems, path, certFile, keyFile string) {
	if certFile == "" || keyFile == "" {
		return
	}
	bad := false
	for _, f := range []struct{ key, file string }{{"cert_file", certFile}, {"key_file", keyFile}} {
		if err := readable(f.file); err != nil {
			found.add(path+"."+f.key, "cannot read %s: %w", f.file, err)
			bad = true
		}
	}
	if bad {
		return
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		found.add(path+".cert_file", "%s and %s are no certificate with its key: %w", certFile, keyFile, err)
	}
}

// authorities are those in a PEM file, as a client's TLS; nil without a file: the
// system's.
func authorities(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, plainPathError(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in %s; it must be PEM with BEGIN CERTIFICATE", file)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}

func clientCAs(found *problems, file string) {
	if file == "" {
		return
	}
	if _, err := smtpd.LoadClientCAs(file); err != nil {
		found.add("smtp.tls.client_ca_file", "%w", err)
	}
}

// checkKeys opens the DKIM keys as serving will; what is already known to be
// wrong is not asked again.
func (c *Config) checkKeys(found *problems) {
	keys := make([]sign.KeyConfig, len(c.DKIM))
	for i, d := range c.DKIM {
		path := fmt.Sprintf("dkim[%d]", i)
		if d.Sign && d.KeyFile != "" {
			keyFile(found, path+".key_file", d)
		}
		if found.below(path) {
			d = DKIMConfig{Domain: fmt.Sprintf("known-to-be-wrong-%d.invalid", i)}
		}
		keys[i] = sign.KeyConfig{Domain: d.Domain, Selector: d.Selector, KeyFile: d.KeyFile, Sign: d.Sign}
	}
	_, err := sign.Open(keys)
	found.join(err)
}

func keyFile(found *problems, path string, d DKIMConfig) {
	switch err := readable(d.KeyFile); {
	case errors.Is(err, fs.ErrNotExist):
		found.add(path, "there is no file %s: make it with `postern dkim keygen --domain %s --selector %s --out %s`",
			d.KeyFile, d.Domain, d.Selector, d.KeyFile)
	case err != nil:
		found.add(path, "cannot read %s: %w", d.KeyFile, err)
	}
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return plainPathError(err)
	}
	return f.Close()
}
