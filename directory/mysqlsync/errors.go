package mysqlsync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"

	"postern/mail"
)

func permanent(err error, format string, a ...any) *mail.Error {
	return &mail.Error{Class: mail.Permanent, Err: err, Public: fmt.Sprintf(format, a...)}
}

// explain turns what the driver or the server said into an error with a class and a
// sentence that names what to mend. doing says what was tried.
// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
func (t *Table) explain(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	var ours *mail.Error
	if errors.As(err, &ours) {
		return err
	}
	var said *mysql.MySQLError
	if errors.As(err, &said) {
		return t.explainAnswer(doing, said)
	}
	return t.explainConnection(doing, err)
}

func (t *Table) explainAnswer(doing string, said *mysql.MySQLError) error {
	fail := func(class mail.Class, format string, a ...any) error {
		return &mail.Error{Class: class, Err: t.cause(said), Public: fmt.Sprintf(format, a...)}
	}
	switch said.Number {
	case 1045, 1698, 1130, 1862, 1820, 4151, 3118: // the password, the host, an expired password, a locked account
		encrypt := ""
		if t.plain {
			encrypt = "; a server that takes only connections with TLS says the same, and wants tls=true there"
		}
		return fail(mail.Permanent, "%s does not let the user of sync.dsn in: mend the user or the password there, or the account in MySQL%s", t.server, encrypt)
	case 1044, 1142, 1143, 1227, 1370:
		return fail(mail.Permanent, "the user of sync.dsn may not read what sync.table and sync.columns name, or it does not exist: GRANT SELECT ON %s TO that user", t.table)
	case 1049:
		return fail(mail.Permanent, "%s has no such database: mend sync.dsn or sync.table", t.server)
	case 1046:
		return fail(mail.Permanent, "sync.dsn names no database: put it behind the last slash, or write sync.table as database.table")
	case 1146, 1109, 1356:
		return fail(mail.Permanent, "%s has no table %s that can be read: mend sync.table", t.server, t.table)
	case 1054:
		return fail(mail.Permanent, "%s does not have all columns of sync.key, sync.updated, sync.deleted, sync.consent and sync.columns any more", t.table)
	case 1193, 1231, 1232: // a variable that is none, or takes no such value
		return fail(mail.Permanent, "%s does not take the parameters of sync.dsn", t.server)
	case 1267, 1271, 3988: // a text that the column's character set does not have
		return fail(mail.Permanent, "a key that was read before cannot be one of sync.key in %s: has its type been changed? `postern sync --reconcile` reads everything again", t.table)
	case 3159:
		return fail(mail.Permanent, "%s takes only connections with TLS: add tls=true to sync.dsn", t.server)
	}
	return fail(mail.Temporary, "%s refuses %s", t.server, doing)
}

func (t *Table) explainConnection(doing string, err error) error {
	var unverified *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &unverified):
		why := "it is of no authority that this machine trusts: name the authority's certificate in sync.ca_file"
		var host x509.HostnameError
		var invalid x509.CertificateInvalidError
		if errors.As(err, &host) {
			why = "it is not for that name: write the host into sync.dsn as the certificate has it"
		} else if errors.As(err, &invalid) {
			why = "it is not valid now, or not for a server"
		}
		return permanent(t.cause(err), "the certificate of %s is not taken, %s", t.server, why)
	case errors.Is(err, mysql.ErrNoTLS), errors.As(err, &notTLS):
		return permanent(t.cause(err), "%s offers no TLS, and sync.dsn or sync.ca_file asks for it", t.server)
	case errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrNativePassword),
		errors.Is(err, mysql.ErrOldPassword), errors.Is(err, mysql.ErrUnknownPlugin), errors.Is(err, mysql.ErrOldProtocol):
		return permanent(t.cause(err), "%s wants a way to log in that sync.dsn does not allow, or that is not known here", t.server)
	}
	class, network := mail.Temporary, net.Error(nil)
	if errors.As(err, &network) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		class = mail.Unreachable
	}
	return &mail.Error{Class: class, Err: t.cause(err), Public: fmt.Sprintf("%s cannot be reached, or went away at %s: see that it runs, that this machine may connect to it, and that sync.dsn has its host and port", t.server, doing)}
}

// cause is err for the log, or nothing when it has the password in it.
func (t *Table) cause(err error) error {
	if err == nil || t.password != "" && strings.Contains(err.Error(), t.password) {
		return nil
	}
	return err
}
