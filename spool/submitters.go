package spool

import (
	"encoding/json"
	"fmt"
	"time"

	"postern/mail"
)

// Submitted is one message as its submitter's limits count it.
type Submitted struct {
	By         string // [mail.Message].Submitter
	At         time.Time
	Recipients int // of the envelope: a list is one, however many it reaches
}

// Submitted gives every message that was accepted since a time, oldest first, to
// fn. It reads the rows of those messages alone.
func (s *Spool) Submitted(since time.Time, fn func(Submitted)) error {
	return s.view(func(t *txn) error {
		first := mail.FirstID(since).Bytes()
		c := t.messages.Cursor()
		for k, v := c.Seek(first[:]); k != nil; k, v = c.Next() {
			var row struct { // a part of mail.Message: there may be many
				Submitter  string          `json:"submitter"`
				AcceptedAt time.Time       `json:"accepted_at"`
				List       json.RawMessage `json:"list"`
				Notice     mail.Notice     `json:"notice"`
			}
			if err := json.Unmarshal(v, &row); err != nil {
				return fmt.Errorf("the row of message %s is damaged: %w", mail.IDFromBytes([16]byte(k)), err)
			}
			if row.Notice != "" {
				continue // ours, whatever an account is called
			}
			n := 1
			if row.List == nil {
				states, _ := decodeCounts(t.counts.Get(k))
				n = states.Total()
			}
			fn(Submitted{row.Submitter, row.AcceptedAt, n})
		}
		return nil
	})
}
