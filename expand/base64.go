package expand

// rowOctets is how much a full line of base64 holds: 76 characters (RFC 2045 §6.8).
const (
	rowOctets = 57
	rowLine   = 78 // with CRLF
)

// row is a slot's part of a text in base64. Octets are encoded three at a time, so
// what stands behind a value depends on its length: the whole lines of a long
// stretch are kept encoded for each of the three ways to begin, and the rest as it
// is, to be encoded with the values.
type row struct {
	Before []byte `json:"before,omitempty"` // of the text's first slot: what stands before its value in its line
	After  []byte `json:"after,omitempty"`  // follows the value
	Lines  int    `json:"lines,omitempty"`  // octets of the encoded lines that follow, each of the three ways
	Lead   []byte `json:"lead,omitempty"`   // the octets that the second and third way leave out
	Tail   []byte `json:"tail,omitempty"`   // follows the lines of the first way; those of the others take one or two octets of it
	Last   bool   `json:"last,omitempty"`   // the text ends behind it
}

// base64IsSmaller says which encoding gives the shorter text, values left out.
func base64IsSmaller(pieces []piece) bool {
	octets := 0
	for _, p := range pieces {
		octets += len(p.text)
	}
	return (octets+2)/3*4+octets/rowOctets*2 < encodedSize(pieces)
}

// encodeBase64 writes pieces behind dst.
func encodeBase64(dst []byte, pieces []piece, slots []slot) ([]byte, []slot) {
	text, i := fixedText(pieces)
	whole := len(text) / rowOctets * rowOctets
	if i == len(pieces) {
		return appendBase64(dst, text), slots
	}
	dst = appendBase64(dst, text[:whole])
	before := text[whole:]
	for i < len(pieces) {
		s := *pieces[i].slot
		s.Row = &row{Before: before}
		text, n := fixedText(pieces[i+1:])
		before, i = nil, i+1+n
		s.At = len(dst)
		if m := (len(text) - 2) / rowOctets; m > 0 {
			size := m * rowOctets
			s.Row.Lines, s.Row.Lead, s.Row.Tail = m*rowLine, text[:2], text[size:]
			for way := range 3 {
				dst = appendBase64(dst, text[way:way+size])
			}
		} else {
			s.Row.After = text
		}
		s.Row.Last = i == len(pieces)
		slots = append(slots, s)
	}
	return dst, slots
}

// fixedText joins the pieces before the first slot, and says which that is.
func fixedText(pieces []piece) (text []byte, n int) {
	for n < len(pieces) && pieces[n].slot == nil {
		text = append(text, pieces[n].text...)
		n++
	}
	return text, n
}

// filler puts one copy's body together: segments of the fixed body, and what was
// made for this copy between them.
type filler struct {
	values  *values
	fixed   []byte
	at      int // octets of fixed that are done with
	body    [][]byte
	filled  []byte // what was made for this copy
	pending []byte // text that waits to be encoded as base64
	known   []rendering
	few     [4]rendering // what known begins with
}

// newFiller makes room for what usual values need.
func newFiller(v *values, fixed []byte, slots []slot) *filler {
	n, rows := len(slots), 0
	for i := range slots {
		if slots[i].Row != nil {
			rows++
		}
	}
	f := &filler{values: v, fixed: fixed, body: make([][]byte, 0, 2*n+rows+1), filled: make([]byte, 0, 640+96*min(rows, 100))}
	f.known = f.few[:0]
	if rows > 0 {
		f.pending = make([]byte, 0, 256)
	}
	return f
}

// rendering is a value as it stands in slots of one kind: encoded where they are
// quoted-printable. A mail may show one value a hundred times.
type rendering struct {
	field    int
	fallback string
	as       form
	plain    bool
	octets   []byte
}

// upTo takes the fixed body up to an offset.
func (f *filler) upTo(end int) {
	f.add(f.fixed[f.at:end:end])
	f.at = end
}

func (f *filler) add(segment []byte) {
	if len(segment) > 0 {
		f.body = append(f.body, segment)
	}
}

// rendered is the value of s as it stands there.
func (f *filler) rendered(s *slot) []byte {
	plain := s.Row != nil
	for i := range f.known {
		if k := &f.known[i]; k.field == s.Field && k.as == s.As && k.plain == plain && k.fallback == s.Fallback {
			return k.octets
		}
	}
	from := len(f.filled)
	if value := f.values.of(s); plain {
		f.filled = append(f.filled, lines(s.As.write(value))...)
	} else {
		f.filled = appendSlot(f.filled, s, value)
	}
	octets := f.filled[from:len(f.filled):len(f.filled)]
	if len(f.known) < maxRenderings {
		f.known = append(f.known, rendering{s.Field, s.Fallback, s.As, plain, octets})
	}
	return octets
}

// maxRenderings bounds what is searched for each slot.
const maxRenderings = 32

// fill writes a slot's value, and in base64 what its row holds.
func (f *filler) fill(s *slot) {
	r, value := s.Row, f.rendered(s)
	if r == nil {
		f.add(value)
		return
	}
	f.pending = append(append(append(f.pending, r.Before...), value...), r.After...)
	if r.Lines > 0 {
		way := (3 - len(f.pending)%3) % 3
		f.pending = append(f.pending, r.Lead[:way]...)
		f.encode()
		from := f.at + way*r.Lines
		f.add(f.fixed[from : from+r.Lines : from+r.Lines])
		f.at += 3 * r.Lines
		f.pending = append(f.pending, r.Tail[way:]...)
	}
	if r.Last {
		f.encode()
	}
}

// encode ends the lines that wait.
func (f *filler) encode() {
	from := len(f.filled)
	f.filled = appendBase64(f.filled, f.pending)
	f.pending = f.pending[:0]
	f.add(f.filled[from:len(f.filled):len(f.filled)])
}
