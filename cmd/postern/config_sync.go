package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"postern/directory"
	"postern/directory/mysqlsync"
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
	if s.Consent != "" && strings.EqualFold(s.Consent, s.Updated) {
		k.found.add("sync.consent", "is the column of sync.updated: every change of a row would count as its person's consent, and bring back who left here; leave it empty when there is no time of consent")
	}
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
	table := mysqlsync.TableConfig{DSN: string(s.DSN), Table: s.Table}
	if _, err := table.Origin(); err != nil {
		k.found.add(path, "%s", strings.TrimPrefix(err.Error(), "sync.dsn "))
	}
}

// dsn is where MySQL is, also where the secret file has not been read with the rest.
func (s *SyncConfig) dsn() (string, error) {
	if s.DSN != "" {
		return string(s.DSN), nil
	}
	secret, err := readSecret(s.DSNFile)
	if err != nil {
		return "", fmt.Errorf("sync.dsn_file: cannot read %s: %w", s.DSNFile, err)
	}
	return string(secret), nil
}
