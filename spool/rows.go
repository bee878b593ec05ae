package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"postern/mail"
)

// rowVersion is the first octet of a copy's row. Version 1, of formats up to 3, has no
// outcome.
const rowVersion = 2

var errRow = errors.New("the row of a copy is damaged")

// encodeCopy writes a row: version, state, then varints and length-prefixed
// strings. It is written by hand because it is most of what the spool holds
// and writes: a row for a short name is about 60 octets.
func encodeCopy(c *mail.Copy) []byte {
	b := make([]byte, 0, 128)
	b = append(b, rowVersion, byte(c.State))
	b = binary.AppendUvarint(b, uint64(c.Attempts))
	b = binary.AppendUvarint(b, uint64(c.Claims))
	b = binary.AppendVarint(b, millis(c.Due))
	b = binary.AppendVarint(b, millis(c.At))
	b = appendString(b, string(c.To))
	key := c.UserKey
	if key == string(c.To) {
		key = "=" // the usual case; a key that is "=" itself is no address
	}
	b = appendString(b, key)
	b = appendString(b, c.LastError)
	b = appendString(b, c.UpstreamID)
	b = binary.AppendUvarint(b, uint64(len(c.Values)))
	for _, v := range c.Values {
		b = appendString(b, v)
	}
	if c.Outcome == mail.NoOutcome {
		return append(b, 0)
	}
	b = append(b, byte(c.Outcome))
	b = binary.AppendVarint(b, millis(c.OutcomeAt))
	return appendString(b, c.OutcomeWords)
}

func decodeCopy(id mail.ID, seq uint32, b []byte) (mail.Copy, error) {
	c := mail.Copy{Message: id, Seq: seq}
	if len(b) < 2 || b[0] < 1 || b[0] > rowVersion || b[1] >= byte(mail.NumStates) {
		return c, fmt.Errorf("%w: message %s copy %d", errRow, id, seq)
	}
	r := reader{b: b[2:]}
	c.State = mail.State(b[1])
	c.Attempts = int(r.uvarint())
	c.Claims = int(r.uvarint())
	c.Due = fromMillis(r.varint())
	c.At = fromMillis(r.varint())
	c.To = mail.Address(r.string())
	if c.UserKey = r.string(); c.UserKey == "=" {
		c.UserKey = string(c.To)
	}
	c.LastError = r.string()
	c.UpstreamID = r.string()
	if n := r.uvarint(); n > 0 && n <= uint64(len(r.b)) {
		c.Values = make([]string, n)
		for i := range c.Values {
			c.Values[i] = r.string()
		}
	} else if n > 0 {
		r.bad = true
	}
	if b[0] > 1 {
		r.outcome(&c)
	}
	if r.bad || len(r.b) != 0 {
		return c, fmt.Errorf("%w: message %s copy %d", errRow, id, seq)
	}
	return c, nil
}

func (r *reader) outcome(c *mail.Copy) {
	o := r.uvarint()
	if o >= mail.NumOutcomes {
		r.bad = true
		return
	}
	if c.Outcome = mail.Outcome(o); c.Outcome != mail.NoOutcome {
		c.OutcomeAt = fromMillis(r.varint())
		c.OutcomeWords = r.string()
	}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// encodeCounts writes how many copies are in each state, and then how many have each
// outcome, which formats up to 3 have not.
func encodeCounts(c mail.Counts, o mail.Outcomes) []byte {
	b := make([]byte, 0, 4*(len(c)+len(o)))
	for _, n := range c {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	for _, n := range o {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b
}

func decodeCounts(b []byte) (c mail.Counts, o mail.Outcomes) {
	next := func() (n int) {
		if len(b) >= 4 {
			n, b = int(binary.BigEndian.Uint32(b)), b[4:]
		}
		return n
	}
	for i := range c {
		c[i] = next()
	}
	for i := range o {
		o[i] = next()
	}
	return c, o
}

func copyKey(id mail.ID, seq uint32) []byte {
	k := id.Bytes()
	return binary.BigEndian.AppendUint32(k[:], seq)
}

func splitKey(k []byte) (mail.ID, uint32) {
	return mail.IDFromBytes([16]byte(k[:16])), binary.BigEndian.Uint32(k[len(k)-4:])
}

func addressKey(addr string, id mail.ID) []byte {
	k := id.Bytes()
	b := make([]byte, 0, len(addr)+17)
	return append(append(append(b, addr...), 0), k[:]...)
}

func dueKey(id mail.ID, due time.Time, seq uint32) []byte {
	k := id.Bytes()
	b := make([]byte, 0, 28)
	b = binary.BigEndian.AppendUint64(append(b, k[:]...), uint64(due.UnixMilli()))
	return binary.BigEndian.AppendUint32(b, seq)
}
