package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"postern/mail"
)

// What a user may hold. The bounds are those of DynamoDB, so that a directory
// can move from one driver to the other.
const (
	// MaxAttributes is how many attributes one Put or Update may name: an update
	// expression of DynamoDB is limited to 4 KB.
	MaxAttributes = 200
	// MaxUserBytes bounds key, attribute names and values of one user together;
	// DynamoDB refuses items over 400 KB.
	MaxUserBytes = 256 << 10

	maxKeyBytes = 2048 // of a partition key
	maxName     = 255
	maxDepth    = 30 // lists and maps within each other; DynamoDB takes 32
	maxDigits   = 38 // of a number
	maxExponent = 125
)

// ReadStatus reads SubscriptionStatus closed: true, "true" in any case, "1" and
// the number 1 are subscribed, and everything else is not.
func ReadStatus(v any) bool {
	subscribed, _ := KnownStatus(v)
	return subscribed
}

// KnownStatus is [ReadStatus] that tells a no (false, "false" in any case, "0" and the
// number 0) from what is not understood, and is not subscribed either.
func KnownStatus(v any) (subscribed, known bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		yes := v == "1" || strings.EqualFold(v, "true")
		return yes, yes || v == "0" || strings.EqualFold(v, "false")
	case json.Number:
		return v == "1", v == "1" || v == "0"
	}
	return false, false
}

// Reserved says that an attribute of this name is not for Attributes, because
// the directory gives it a meaning: Email, OptOut, SubscriptionStatus in any
// spelling.
func Reserved(name string) bool {
	return name == "Email" || name == "OptOut" || strings.EqualFold(name, "SubscriptionStatus")
}

// Check says whether a Store can hold the user: a key, named attributes of kinds
// that JSON knows, numbers of at most 38 digits and exponents within ±125. The
// error is Permanent and its text names what is wrong. Whether the key is a mail
// address is not asked: the directory holds what was put there.
func Check(u *User) error {
	if err := checkParts(u.Email, u.OptOut, u.Attributes); err != nil {
		return &mail.Error{Class: mail.Permanent, Public: fmt.Sprintf("the user %q cannot be stored: %v", clip(string(u.Email)), err)}
	}
	return nil
}

// CheckChange is [Check] for what Update is asked to write.
func CheckChange(key mail.Address, c *Change) error {
	if err := checkParts(key, append(slices.Clone(c.OptOut), c.OptIn...), c.Attributes); err != nil {
		return &mail.Error{Class: mail.Permanent, Public: fmt.Sprintf("the user %q cannot be changed so: %v", clip(string(key)), err)}
	}
	return nil
}

// ValidKey says whether any user can have this key.
func ValidKey(key mail.Address) bool { return key != "" && len(key) <= maxKeyBytes }

func checkParts(key mail.Address, lists []string, attributes map[string]any) error {
	if !ValidKey(key) {
		return fmt.Errorf("the Email must have 1 to %d bytes", maxKeyBytes)
	}
	if len(attributes) > MaxAttributes {
		return fmt.Errorf("there are %d attributes, the limit is %d", len(attributes), MaxAttributes)
	}
	if slices.Contains(lists, "") {
		return errors.New("a list id in OptOut is empty")
	}
	size := len(key)
	for name, v := range attributes {
		if Reserved(name) {
			return fmt.Errorf("%q is not an attribute but has a meaning of its own", name)
		}
		if name == "" || len(name) > maxName {
			return fmt.Errorf("the name of an attribute must have 1 to %d bytes, this has %d: %q", maxName, len(name), clip(name))
		}
		n, err := checkValue(v, 0)
		if err != nil {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
		size += len(name) + n
	}
	if size > MaxUserBytes {
		return fmt.Errorf("it has %d bytes, the limit is %d", size, MaxUserBytes)
	}
	return nil
}

// checkValue gives about the size of v.
func checkValue(v any, depth int) (int, error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("more than %d lists or maps within each other", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool:
		return 1, nil
	case string:
		return len(v), nil
	case json.Number:
		return len(v), checkNumber(string(v))
	case []any:
		return checkAll(slices.Values(v), depth, 0)
	case map[string]any:
		names := 0
		for name := range v {
			names += len(name)
		}
		return checkAll(maps.Values(v), depth, names)
	}
	return 0, fmt.Errorf("a %T is no text, number, bool, list or map", v)
}

func checkAll(values func(func(any) bool), depth, size int) (int, error) {
	for v := range values {
		n, err := checkValue(v, depth+1)
		if err != nil {
			return 0, err
		}
		size += n + 1
	}
	return size, nil
}

// checkNumber holds JSON's grammar of numbers (RFC 8259 §6) within DynamoDB's
// range: 38 significant digits, magnitude between 1E-130 and 1E+125.
func checkNumber(s string) error {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') || !json.Valid([]byte(s)) {
		return fmt.Errorf("%q is not a number", clip(s))
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(s, "-")), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.Trim(whole+fraction, "0")
	e, err := strconv.Atoi("0" + strings.TrimLeft(exponent, "+-"))
	if err != nil || len(digits) > maxDigits || len(mantissa)+e > maxExponent {
		return fmt.Errorf("the number %q is beyond %d digits or 1E%d", clip(s), maxDigits, maxExponent)
	}
	return nil
}

// Fold makes of users with the same key one, the later written over the earlier
// as Put does it. The order of first appearance stays.
func Fold(users []User) []User {
	at := make(map[mail.Address]int, len(users))
	out := make([]User, 0, len(users))
	for _, u := range users {
		i, seen := at[u.Email]
		if !seen {
			at[u.Email] = len(out)
			out = append(out, u)
			continue
		}
		out[i] = fold(out[i], u)
	}
	return out
}

func fold(old, u User) User {
	old.Attributes = maps.Clone(old.Attributes)
	if old.Attributes == nil {
		old.Attributes = make(map[string]any, len(u.Attributes))
	}
	maps.Copy(old.Attributes, u.Attributes)
	if !u.KeepStatus {
		old.Subscribed, old.KeepStatus = u.Subscribed, false
	}
	old.OptOut = Union(old.OptOut, u.OptOut)
	old.New = old.New && u.New
	return old
}

// Union is the sorted union of list ids; nil when there are none.
func Union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
