package mysqlsync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// What a DSN that says nothing else gets.
const (
	dialTimeout = 10 * time.Second
	ioTimeout   = time.Minute // of one read or write: so long may a server think about a chunk

	maxConnections = 2
	idleTime       = time.Minute // the server keeps no connection for us from pass to pass
)

// readDSN reads the DSN and what this package needs of a connection into it. No error
// has the DSN in it, because half a password may be taken for a host.
func readDSN(dsn, caFile string, log *slog.Logger) (*mysql.Config, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	cfg.Timeout = orElse(cfg.Timeout, dialTimeout)
	cfg.ReadTimeout = orElse(cfg.ReadTimeout, ioTimeout)
	cfg.WriteTimeout = orElse(cfg.WriteTimeout, ioTimeout)
	// Values go beside the statement and never into its text; times are read by us; no
	// server may ask for a file of this machine.
	cfg.InterpolateParams, cfg.MultiStatements, cfg.ParseTime, cfg.AllowAllFiles = false, false, false, false
	cfg.CheckConnLiveness = true
	cfg.Logger = driverLog{log}
	if err := cfg.Apply(mysql.Charset("utf8mb4", "utf8mb4_general_ci")); err != nil {
		return nil, err
	}
	return cfg, trust(cfg, caFile)
}

// Origin names the table and its key, wherever the server is, for [Config].Origin. The error
// says what is wrong with DSN, CAFile and Table, as far as that is seen without a server.
func (c TableConfig) Origin() (string, error) {
	dsn, err := readDSN(c.DSN, c.CAFile, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	database, table, err := c.named(dsn)
	return database + "." + table + " by " + c.Key, err
}

// named is the table and the database that it is in.
func (c *TableConfig) named(dsn *mysql.Config) (database, table string, err error) {
	database, table = dsn.DBName, c.Table
	if before, after, both := strings.Cut(table, "."); both {
		database, table = before, after
	}
	if database == "" || table == "" {
		return "", "", permanent(nil, "sync.dsn names no database: put it behind the last slash, or write sync.table as database.table")
	}
	return database, table, nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func parseDSN(dsn string) (cfg *mysql.Config, err error) {
	const form = "it should be like user:password@tcp(db.example.com:3306)/shop?tls=true, see https://github.com/go-sql-driver/mysql#dsn-data-source-name"
	if strings.TrimSpace(dsn) == "" {
		return nil, permanent(nil, "sync.dsn is empty: %s", form)
	}
	defer func() {
		if recover() != nil { // the driver panics at "strict"
			cfg, err = nil, permanent(nil, "sync.dsn has a parameter that the driver does not take any more: %s", form)
		}
	}()
	cfg, err = mysql.ParseDSN(dsn)
	switch {
	case err != nil && strings.Contains(err.Error(), "unknown config name"):
		return nil, permanent(nil, "sync.dsn has a tls= that is none of true, skip-verify, preferred and false; a certificate authority of your own goes into sync.ca_file")
	case err != nil, cfg.Net != "tcp" && cfg.Net != "unix", strings.ContainsAny(cfg.DBName, "@()"):
		return nil, permanent(nil, "sync.dsn cannot be read: %s", form)
	case cfg.User == "":
		return nil, permanent(nil, "sync.dsn names no user: %s", form)
	}
	return cfg, nil
}

// trust makes the server's certificate one that caFile has signed, when there is one.
func trust(cfg *mysql.Config, caFile string) error {
	if caFile == "" {
		return nil
	}
	if cfg.TLSConfig != "" && cfg.TLSConfig != "true" {
		return permanent(nil, "sync.dsn says tls=%s, which trusts no sync.ca_file: take one of the two away", cfg.TLSConfig)
	}
	if cfg.Net != "tcp" {
		return permanent(nil, "sync.ca_file is for a server that is reached by tcp, and sync.dsn names a socket: take one of the two away")
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return permanent(err, "sync.ca_file cannot be read")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return permanent(nil, "sync.ca_file has no certificate in PEM form")
	}
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return permanent(nil, "sync.dsn names no host that a certificate could be for")
	}
	cfg.AllowFallbackToPlaintext = false
	cfg.TLS = &tls.Config{RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS12}
	return nil
}

// openPool makes the pool of connections; it connects when it is used.
func openPool(cfg *mysql.Config) (*sql.DB, error) {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, permanent(nil, "sync.dsn has parameters that the driver does not take")
	}
	db := sql.OpenDB(sessions{connector})
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(maxConnections)
	db.SetConnMaxIdleTime(idleTime)
	return db, nil
}

// sessions makes each new connection one whose answers depend on nothing that was
// configured elsewhere: not in the DSN, the server or its init_connect.
type sessions struct{ driver.Connector }

// Connect connects and says what this package relies on: text is utf8mb4; TIMESTAMP is
// shown in UTC; zero dates may be compared with, and an empty text is one (sql_mode
// ORACLE of MariaDB); each statement sees the rows of its own moment (autocommit); and
// nothing can be written, whatever the user may.
func (s sessions) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := s.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	exec, ok := conn.(driver.ExecerContext)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("the driver of MySQL does not execute statements")
	}
	for _, statement := range []string{
		"SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
		"SET SESSION time_zone = '+00:00', sql_mode = '', autocommit = 1",
		"SET SESSION TRANSACTION READ ONLY",
	} {
		if _, err := exec.ExecContext(ctx, statement, nil); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// driverLog takes what the driver would print to standard error; each of it comes back
// as an error besides.
type driverLog struct{ log *slog.Logger }

// Print logs the words of the driver.
func (l driverLog) Print(words ...any) {
	l.log.Debug("mysql: " + strings.TrimSpace(fmt.Sprint(words...)))
}
