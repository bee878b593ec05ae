package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

type ledgerCmd struct {
	Verify ledgerVerifyCmd `cmd:"" help:"Read the ledger of consents and refusals, and say whether anybody has changed it."`
	Export ledgerExportCmd `cmd:"" help:"Print the whole ledger as JSON, an entry a line."`
}

func (ledgerCmd) Help() string {
	return `The ledger has every consent, refusal, restoring and suppression. Each entry holds the hash of all before it, so that one that is edited, removed, inserted or moved later is found.

Examples:

  postern ledger verify
  postern ledger export ledger.jsonl`
}

type ledgerVerifyCmd struct {
	JSON bool `name:"json" help:"Print the result as JSON."`
}

func (ledgerVerifyCmd) Help() string {
	return `Prints the number of the last entry and its hash. The gateway writes both into its log when it starts, when it ends and once a day: keep that log elsewhere, and nobody can rewrite the whole ledger unseen. The exit code is 1 when the ledger does not add up, and the first bad entry is named. Works while the gateway runs and while it does not.

Examples:

  postern ledger verify
  postern ledger verify --json`
}

func (c ledgerVerifyCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	shown := newPatientProgress(s.stderr)
	var last struct {
		Done    bool   `json:"done"`
		Checked uint64 `json:"checked"`
		Total   uint64 `json:"total"`
		Number  uint64 `json:"number"`
		Hash    string `json:"hash"`
		Bad     uint64 `json:"bad"`
		Problem string `json:"problem"`
	}
	var text json.RawMessage
	err = conn.Lines(s.ctx, http.MethodGet, "/api/ledger/verify", "", nil, func(line json.RawMessage) error {
		text = line
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if !last.Done {
			shown.show("read %d of %d entries", last.Checked, last.Total)
		}
		return nil
	})
	shown.clear()
	if err != nil {
		return err
	}
	if !last.Done {
		return errors.New("the check broke off before its end")
	}
	if c.JSON {
		if err := printJSON(s.stdout, text); err != nil {
			return err
		}
	}
	switch {
	case last.Problem != "":
		return errors.New(clean(last.Problem))
	case c.JSON:
	case last.Number == 0:
		_, err = fmt.Fprintln(s.stdout, "The ledger is empty.")
	default:
		_, err = fmt.Fprintf(s.stdout, "The ledger adds up. Entry %d is the last, with the hash %s\n", last.Number, last.Hash)
	}
	return err
}

type ledgerExportCmd struct {
	File string `arg:"" optional:"" help:"The file to write; without it, stdout. An existing file is never overwritten."`
}

func (ledgerExportCmd) Help() string {
	return `Each line has the entry's number and hash, the entry as it is stored, and the wording that the person was shown. The hash is the SHA-256 of the hash before it (32 octets, zeros for the first), the number (8 octets, the most significant first), an octet 1 and the text of "entry". The file is complete, or there is none.

Examples:

  postern ledger export ledger.jsonl
  postern ledger export | gzip > ledger.jsonl.gz`
}

func (c ledgerExportCmd) Run(s *session) error { return s.export("/api/ledger/export", c.File) }
