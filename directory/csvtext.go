package directory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Encoding is how the text of a CSV file is written.
type Encoding string

// The encodings. EUC-KR is what Excel calls so in Korea: code page 949, which has all
// syllables and not only the 2350 of KS X 1001.
const (
	Auto    Encoding = "auto"      // of a file that is read: found out
	UTF8    Encoding = "utf-8"     // with or without a BOM, where it is read
	UTF8BOM Encoding = "utf-8-bom" // for Excel; written only
	EUCKR   Encoding = "euc-kr"
	UTF16   Encoding = "utf-16" // what has such a BOM; read only
)

// window is how much of a file, from its first letter beyond ASCII on, is looked at
// to tell its encoding; and how long a header may be whose separator is found.
const window = 64 << 10

// textReader gives a file as UTF-8. What of it cannot be read so is U+FFFD, or, in a
// file of UTF-8, stays as it is.
type textReader struct {
	in    *bufio.Reader
	found Encoding  // Auto: there was nothing beyond ASCII yet
	out   io.Reader // nil as long as found is Auto
	ascii int       // so many bytes at the front of in are known to be ASCII
}

// newText takes the BOM away. want is "" (Auto), Auto, UTF8 or EUCKR.
func newText(r io.Reader, want Encoding) (*textReader, error) {
	t := &textReader{in: bufio.NewReaderSize(r, window)}
	head, err := t.in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	bom := Auto
	switch {
	case string(head) == "PK\x03", string(head) == "\xd0\xcf\x11":
		return nil, badFile("the file is a workbook of Excel, or a ZIP archive, and no CSV: save it in Excel as \"CSV UTF-8\"")
	case string(head) == "\ufeff":
		bom = UTF8
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		bom = UTF16
	}
	switch want {
	case "", Auto:
		want = bom
	case UTF8, EUCKR:
		if bom != Auto && bom != want {
			return nil, badFile("the file begins with the mark of %s and not of %s: leave --encoding out, or save it anew", strings.ToUpper(string(bom)), strings.ToUpper(string(want)))
		}
	default:
		return nil, badFile("the encoding %q is not known: there are auto, utf-8 and euc-kr", clip(string(want)))
	}
	if bom == UTF8 {
		if _, err := t.in.Discard(len(head)); err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
	}
	t.take(want)
	return t, nil
}

func (t *textReader) take(e Encoding) {
	switch t.found = e; e {
	case UTF8:
		t.out = t.in
	case EUCKR:
		t.out = transform.NewReader(t.in, korean.EUCKR.NewDecoder())
	case UTF16:
		t.out = transform.NewReader(t.in, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder())
	}
}

// Read passes ASCII on, and decides with the first letter beyond it.
func (t *textReader) Read(p []byte) (int, error) {
	if t.out != nil {
		return t.out.Read(p)
	}
	if t.ascii == 0 {
		head, err := t.in.Peek(window)
		t.ascii = asciiPrefix(head)
		switch {
		case t.ascii > 0:
		case len(head) > 0:
			t.take(guess(head, err != nil))
			return t.out.Read(p)
		default:
			return 0, err
		}
	}
	n, err := t.in.Read(p[:min(len(p), t.ascii)])
	t.ascii -= n
	return n, err
}

func asciiPrefix[T string | []byte](b T) int {
	for i := range len(b) {
		if b[i] >= utf8.RuneSelf {
			return i
		}
	}
	return len(b)
}

// guess tells the encoding of a piece of a file: UTF-8 unless it cannot be that, and can
// be EUC-KR. Korean in EUC-KR is practically never valid UTF-8. whole says that the
// file ends with the piece.
func guess(b []byte, whole bool) Encoding {
	if validUTF8(b, whole) {
		return UTF8
	}
	text, err := korean.EUCKR.NewDecoder().Bytes(b)
	if !whole {
		text = bytes.TrimSuffix(text, []byte("\ufffd")) // the first half of a letter
	}
	if err == nil && !bytes.ContainsRune(text, utf8.RuneError) {
		return EUCKR
	}
	return UTF8
}

func validUTF8(b []byte, whole bool) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			return !whole && !utf8.FullRune(b)
		}
		b = b[size:]
	}
	return true
}

// layout is how the rows of a file are set.
type layout struct {
	separator rune
	skipped   int // lines before the header: "sep=;" of Excel
}

// lay finds the layout and gives the text from the header on, whose lines end as
// encoding/csv wants them. separator 0 is found out.
func lay(text io.Reader, separator rune) (*bufio.Reader, layout, error) {
	b := bufio.NewReaderSize(text, window)
	l := layout{separator: separator}
	head, err := b.Peek(window)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, l, fmt.Errorf("read the file: %w", err)
	}
	line, end := firstLine(head)
	if rest, ok := strings.CutPrefix(strings.ToLower(strings.Trim(line, `"`)), "sep="); ok && utf8.RuneCountInString(rest) == 1 {
		if separator == 0 {
			l.separator, _ = utf8.DecodeRuneInString(rest)
		}
		if _, err := b.Discard(len(line) + len(end)); err != nil {
			return nil, l, fmt.Errorf("read the file: %w", err)
		}
		l.skipped = 1
		head = head[len(line)+len(end):]
		line, end = firstLine(head)
	}
	if end == "\r" {
		b = bufio.NewReaderSize(carriageReturns{b}, window)
	}
	if l.separator == 0 {
		l.separator = separatorOf(line)
	}
	if !usableSeparator(l.separator) {
		return nil, l, badFile("%q cannot separate columns: take a comma, a semicolon, a tab or another sign", l.separator)
	}
	return b, l, nil
}

// usableSeparator is the rule of encoding/csv.
func usableSeparator(r rune) bool {
	return r != 0 && r != '"' && r != '\r' && r != '\n' && utf8.ValidRune(r) && r != utf8.RuneError
}

// firstLine is the text before the first end of a line that is not within quotes, and
// that end.
func firstLine(b []byte) (line, end string) {
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n':
			return string(b[:i]), "\n"
		case c == '\r' && i+1 < len(b) && b[i+1] == '\n':
			return string(b[:i]), "\r\n"
		case c == '\r':
			return string(b[:i]), "\r"
		}
	}
	return string(b), ""
}

// separatorOf is the one that makes a column Email of the header, as every export has it;
// else the one that the header has most often outside of quotes.
func separatorOf(header string) rune {
	best, most := ',', 0
	for _, r := range []rune{',', ';', '\t'} {
		cells := unquoted(header, r)
		for _, cell := range cells {
			if c, _ := splitHeading(strings.Trim(strings.TrimSpace(cell), "\"\ufeff")); strings.EqualFold(c.name, "Email") {
				return r
			}
		}
		if len(cells) > most {
			best, most = r, len(cells)
		}
	}
	return best
}

// unquoted splits a line at the separators outside of quotes.
func unquoted(line string, separator rune) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == separator && !quoted
	})
}

// carriageReturns makes the line ends of old Macs (CR alone) those of everybody else.
type carriageReturns struct{ r io.Reader }

func (c carriageReturns) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}
