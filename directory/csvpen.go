package directory

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/transform"
)

// pen writes text in an encoding.
type pen struct {
	as     Encoding
	encode *encoding.Encoder // nil: UTF-8
}

func newPen(e Encoding) (*pen, error) {
	switch e {
	case "", UTF8, UTF8BOM:
		return &pen{as: e}, nil
	case EUCKR:
		return &pen{e, korean.EUCKR.NewEncoder()}, nil
	}
	return nil, badFile("an export has the encoding utf-8, utf-8-bom or euc-kr, and not %q", clip(string(e)))
}

// writer encodes what is written to it; w is not closed.
func (p *pen) writer(w io.Writer) io.WriteCloser {
	if p.encode == nil {
		return &marked{w, p.as == UTF8BOM}
	}
	return transform.NewWriter(w, p.encode)
}

// marked writes a BOM before the first octet.
type marked struct {
	io.Writer
	owed bool
}

func (m *marked) Write(b []byte) (int, error) {
	if m.owed {
		if _, err := io.WriteString(m.Writer, "\ufeff"); err != nil {
			return 0, err
		}
		m.owed = false
	}
	return m.Writer.Write(b)
}

func (*marked) Close() error { return nil }

// check says which cell of a user cannot be written; columns, when there are any, are
// those that will be.
func (p *pen) check(u *User, columns []string) error {
	if p.encode == nil {
		return nil
	}
	look := func(name string, v any) error {
		if len(columns) > 0 && !slices.Contains(columns, name) {
			return nil
		}
		text, plain := v.(string)
		if !plain {
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			text = string(b)
		}
		for _, part := range []string{name, text} {
			if r := p.lacks(part); r != "" {
				return badFile("%s of %s has %q, which %s lacks: export as utf-8, or change it", clip(name), clip(string(u.Email)), r, strings.ToUpper(string(p.as)))
			}
		}
		return nil
	}
	if err := look("Email", string(u.Email)); err != nil {
		return err
	}
	if err := look("OptOut", strings.Join(u.OptOut, " ")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(u.Attributes)) {
		if err := look(name, u.Attributes[name]); err != nil {
			return err
		}
	}
	return nil
}

// lacks is the first letter that the encoding has not; "" when it has all.
func (p *pen) lacks(text string) string {
	if asciiPrefix(text) == len(text) {
		return ""
	}
	if _, err := p.encode.String(text); err == nil {
		return ""
	}
	for _, r := range text {
		if _, err := p.encode.String(string(r)); err != nil {
			return string(r)
		}
	}
	return text
}
