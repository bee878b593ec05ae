package mysqlsync

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// value is what an attribute of the type want becomes of the column's raw value: nil for
// NULL and for zero dates, and for an empty text where no text is wanted. With want "" a
// value of JSON stays what it is. The error says what is wrong, without the column's name.
func value(c *column, want string, raw []byte, location *time.Location) (any, error) {
	if raw == nil || c.kind == jsonKind && string(bytes.TrimSpace(raw)) == "null" {
		return nil, nil
	}
	switch want {
	case "number":
		return numberValue(c, raw, location)
	case "bool":
		return boolValue(c, raw)
	}
	switch c.kind {
	case integerKind, decimalKind, floatKind, bitKind:
		n, err := number(c, raw)
		return string(n), err
	case bytesKind:
		return base64.StdEncoding.EncodeToString(raw), nil
	case dateKind, datetimeKind, timestampKind:
		return timeText(c, raw, location)
	case jsonKind:
		return jsonValue(raw, want == "string")
	}
	return text(raw)
}

func text(raw []byte) (string, error) {
	if !utf8.Valid(raw) {
		return "", errors.New("it is no valid text in UTF-8")
	}
	return string(raw), nil
}

func numberValue(c *column, raw []byte, location *time.Location) (any, error) {
	switch c.kind {
	case dateKind, datetimeKind, timestampKind:
		t, err := moment(c, raw, location)
		if err != nil || t.IsZero() {
			return nil, err
		}
		return json.Number(strconv.FormatInt(t.Unix(), 10)), nil
	case jsonKind:
		raw = bytes.Trim(raw, `"`)
	}
	if c.kind != bitKind && len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	n, err := number(c, raw)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func boolValue(c *column, raw []byte) (any, error) {
	if c.kind == jsonKind {
		raw = bytes.Trim(raw, `"`)
	}
	if c.kind != bitKind && len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	yes, known := yesOrNo(c, raw)
	if !known {
		return nil, fmt.Errorf("%q is neither yes nor no", clip(string(raw)))
	}
	return yes, nil
}

// yesOrNo reads closed: what is no clear yes is not yes, and not known unless it is a
// clear no.
func yesOrNo(c *column, raw []byte) (yes, known bool) {
	s := string(raw)
	switch c.kind {
	case bitKind, integerKind, decimalKind, floatKind:
		n, err := number(c, raw)
		if err != nil {
			return false, false
		}
		s = string(n)
	case dateKind, datetimeKind, timestampKind:
		return false, false
	case bytesKind:
		if len(raw) == 1 && raw[0] <= 1 {
			return raw[0] == 1, true
		}
	}
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "true", "y", "yes":
		return true, true
	case "0", "false", "n", "no":
		return false, true
	}
	return false, false
}

// marked says that a column of deletions has anything but no: a time, a flag, a word.
func marked(c *column, raw []byte) bool {
	if len(bytes.Trim(raw, "\x00 \t\r\n")) == 0 {
		return c.kind == bitKind && bits(raw) != 0
	}
	if strings.HasPrefix(string(raw), "0000-00-00") {
		return false
	}
	if yes, known := yesOrNo(c, raw); known {
		return yes
	}
	return true
}

// number is the column's value as one that JSON and both directories take: no zeros
// that say nothing, and no exponent where MySQL has none.
func number(c *column, raw []byte) (json.Number, error) {
	switch c.kind {
	case bitKind:
		return json.Number(strconv.FormatUint(bits(raw), 10)), nil
	case floatKind:
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			return "", fmt.Errorf("%q is no number", clip(string(raw)))
		}
		return readNumber(strconv.FormatFloat(f, 'f', -1, 64))
	}
	return readNumber(string(raw))
}

// bits reads a value of BIT(n), which comes as bytes, the first the highest.
func bits(raw []byte) uint64 {
	var b [8]byte
	copy(b[max(8-len(raw), 0):], raw[max(len(raw)-8, 0):])
	return binary.BigEndian.Uint64(b[:])
}

// readNumber reads digits with a sign, a dot and an exponent, and blanks around them. How
// large a number may be is for directory.Check.
func readNumber(s string) (json.Number, error) {
	wrong := fmt.Errorf("%q is no number", clip(s))
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(strings.TrimSpace(s)), "e")
	sign := ""
	if rest, minus := strings.CutPrefix(mantissa, "-"); minus {
		sign, mantissa = "-", rest
	} else {
		mantissa = strings.TrimPrefix(mantissa, "+")
	}
	whole, part, _ := strings.Cut(mantissa, ".")
	if whole+part == "" || strings.Trim(whole+part, "0123456789") != "" {
		return "", wrong
	}
	whole, part = strings.TrimLeft(whole, "0"), strings.TrimRight(part, "0")
	if whole == "" && part == "" {
		return "0", nil
	}
	n := sign + orZero(whole)
	if part != "" {
		n += "." + part
	}
	if scientific {
		e, err := strconv.Atoi(exponent)
		if err != nil {
			return "", wrong
		}
		n += "e" + strconv.Itoa(e)
	}
	return json.Number(n), nil
}

func orZero(digits string) string {
	if digits == "" {
		return "0"
	}
	return digits
}

// jsonValue reads a value of JSON; asText gives anything but a text as it is written.
func jsonValue(raw []byte, asText bool) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errors.New("it is no valid JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is more than one value of JSON")
	}
	if _, isText := v.(string); asText && !isText && v != nil {
		return text(raw)
	}
	return v, nil
}

// moment is when a date or time of the column is; zero for MySQL's zero date. A
// TIMESTAMP comes in UTC; DATETIME and DATE, which begins at midnight, are of the location.
func moment(c *column, raw []byte, location *time.Location) (time.Time, error) {
	if c.kind == timestampKind {
		location = time.UTC
	}
	return readMoment(string(raw), location)
}

// readMoment reads "2006-01-02 15:04:05", with a fraction or not, and "2006-01-02".
func readMoment(s string, location *time.Location) (time.Time, error) {
	if s == "" || strings.HasPrefix(s, "0000-00-00") {
		return time.Time{}, nil
	}
	layout := time.DateTime
	if len(s) == len(time.DateOnly) {
		layout = time.DateOnly
	}
	wall, err := time.Parse(layout, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no date and time", clip(s))
	}
	return wallClock(wall, location), nil
}

// wallClock is when the clocks of the location show what wall has: the earlier moment, when
// they do so twice, so that a consent never looks later than it was.
func wallClock(wall time.Time, location *time.Location) time.Time {
	var first time.Time
	for _, day := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(day).In(location).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second)
		if _, at := t.In(location).Zone(); at == offset && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if first.IsZero() { // they never show it
		y, m, d := wall.Date()
		return time.Date(y, m, d, wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), location).UTC()
	}
	return first
}

// timeText is a date or time for people: "2006-01-02 15:04:05" by the clocks of the
// location, or "2006-01-02".
func timeText(c *column, raw []byte, location *time.Location) (any, error) {
	s := string(raw)
	if strings.HasPrefix(s, "0000-00-00") {
		return nil, nil
	}
	if c.kind == timestampKind {
		t, err := moment(c, raw, location)
		if err != nil {
			return nil, err
		}
		return t.In(location).Format(time.DateTime), nil
	}
	s, _, _ = strings.Cut(s, ".")
	return s, nil
}

// consentTime reads when somebody agreed: a date or time, also as a text or as the
// digits 20060102 or 20060102150405, or seconds, milliseconds or microseconds since 1970.
// Zero: never. What cannot be read is an error, and no consent.
func consentTime(c *column, raw []byte, location *time.Location) (time.Time, error) {
	if raw == nil {
		return time.Time{}, nil
	}
	switch c.kind {
	case timestampKind, datetimeKind, dateKind:
		return moment(c, raw, location)
	case bitKind:
		return time.Time{}, errors.New("a BIT is no time")
	}
	s := strings.TrimSpace(string(raw))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return digitsTime(s, n, location)
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	return readMoment(strings.Replace(s, "T", " ", 1), location)
}

// digitsTime takes 8 and 14 digits for a date: as a count they would be a moment of 1970, or
// one that is centuries away.
func digitsTime(s string, n int64, location *time.Location) (time.Time, error) {
	const compact = "20060102150405"
	if len(s) == len("20060102") || len(s) == len(compact) {
		wall, err := time.Parse(compact[:len(s)], s)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q is no date and time", s)
		}
		return wallClock(wall, location), nil
	}
	unit := unitOf(n)
	if n < 0 || n > lastSecond*int64(time.Second/time.Microsecond) {
		return time.Time{}, fmt.Errorf("%q is no time", clip(s))
	}
	if unit == 0 {
		return time.Time{}, nil
	}
	per := int64(time.Second / unit)
	return time.Unix(n/per, n%per*int64(unit)).UTC(), nil
}
