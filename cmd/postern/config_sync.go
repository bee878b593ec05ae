package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"postern/directory"
)

// sync checks [sync]. Where there is no MySQL only the numbers count.
func (k *checker) sync(c *Config) {
	s := &c.Sync
	atLeast(k, "sync.interval", s.Interval, 0)
	atLeast(k, "sync.overlap", s.Overlap, 0)
	within(k, "sync.chunk", s.Chunk, 1, 100_000)
	within(k, "sync.tripwire", s.Tripwire, 0, 1)
	if !s.on() {
		return
	}
	k.present("sync.table", s.Table)
	k.present("sync.key", s.Key)
	k.present("sync.updated", s.Updated)
	k.present("sync.columns.Email", s.Columns["Email"])
	for _, attribute := range slices.Sorted(maps.Keys(s.Columns)) {
		switch {
		case attribute == "Email":
			continue
		case attribute == "SubscriptionStatus":
		case strings.EqualFold(attribute, "SubscriptionStatus"):
			k.found.add("sync.columns."+attribute, "is spelt SubscriptionStatus")
		case directory.Reserved(attribute), attribute == directory.SuppressedAttribute:
			k.found.add("sync.columns."+attribute, "is written by the gateway itself: map no column to it")
		}
		k.present("sync.columns."+attribute, s.Columns[attribute])
	}
	if s.DSN != "" {
		k.dsn("sync.dsn", s)
	}
}

// dsn takes a DSN of go-sql-driver, and shows nothing of it: there is a password in it.
func (k *checker) dsn(path string, s *SyncConfig) {
	dsn, err := mysql.ParseDSN(string(s.DSN))
	switch {
	case err != nil:
		k.found.add(path, "cannot be read: write it such as user:password@tcp(db.example.com:3306)/shop?tls=true")
	case dsn.DBName == "" && !strings.Contains(s.Table, "."):
		k.found.add(path, "names no database behind its last slash: write it there, or sync.table as database.table")
	}
}

// dsn is where MySQL is, also where the secret file has not been read with the rest.
func (s *SyncConfig) dsn() (string, error) {
	if s.DSN != "" {
		return string(s.DSN), nil
	}
	found := &problems{}
	read := SyncConfig{Table: s.Table}
	var err error
	if read.DSN, err = readSecret(s.DSNFile); err != nil {
		return "", fmt.Errorf("sync.dsn_file: cannot read %s: %w", s.DSNFile, err)
	}
	(&checker{found: found}).dsn("sync.dsn", &read)
	return string(read.DSN), found.err()
}
