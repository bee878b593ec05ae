package dialogue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// half is how many octets of a dialogue's beginning are kept, and of its end.
const half = 2 << 10

// maxShown is how many octets of one line are kept.
const maxShown = 300

// transcript is a dialogue in little memory: entries of entryHead octets and the
// text behind them.
type transcript struct {
	began      time.Time
	head, tail []byte
	dropped    int // entries between the two
	full       bool
}

// entryHead is the time in milliseconds, who spoke, and the length of the text.
const entryHead = 4 + 1 + 2

func (t *transcript) add(now time.Time, who byte, text string) {
	if len(text) > maxShown {
		text = cut(text, maxShown) + "..."
	}
	at := min(now.Sub(t.began).Milliseconds(), 1<<32-1)
	if need := entryHead + len(text); !t.full && len(t.head)+need <= half {
		t.head = appendEntry(t.head, at, who, text)
		return
	}
	t.full = true
	for len(t.tail)+entryHead+len(text) > half {
		n := entryHead + int(binary.BigEndian.Uint16(t.tail[5:]))
		t.tail = t.tail[:copy(t.tail, t.tail[n:])]
		t.dropped++
	}
	t.tail = appendEntry(t.tail, at, who, text)
}

// appendEntry grows b to half octets at most.
func appendEntry(b []byte, at int64, who byte, text string) []byte {
	if need := len(b) + entryHead + len(text); need > cap(b) {
		grown := make([]byte, len(b), max(min(2*need, half), need))
		copy(grown, b)
		b = grown
	}
	b = binary.BigEndian.AppendUint32(b, uint32(max(at, 0)))
	b = append(b, who)
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// trim gives back what the buffers have to spare.
func (t *transcript) trim() { t.head, t.tail = bytes.Clone(t.head), bytes.Clone(t.tail) }

func (t *transcript) lines() []Line {
	lines := entries([]Line{}, t.head)
	if t.dropped > 0 {
		lines = append(lines, Line{At: lines[len(lines)-1].At, Text: fmt.Sprintf("(%d lines are not shown)", t.dropped)})
	}
	return entries(lines, t.tail)
}

func entries(lines []Line, b []byte) []Line {
	for len(b) > 0 {
		n := entryHead + int(binary.BigEndian.Uint16(b[5:]))
		l := Line{At: int64(binary.BigEndian.Uint32(b)), Text: string(b[entryHead:n])}
		switch b[4] {
		case client:
			l.Who = "client"
		case server:
			l.Who = "server"
		}
		lines, b = append(lines, l), b[n:]
	}
	return lines
}

// Who speaks in a transcript.
const (
	client = 'C'
	server = 'S'
	remark = '-'
)
