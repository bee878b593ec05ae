package mail_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"postern/mail"
)

func TestIDsSortByTimeAndSurviveTheirBytes(t *testing.T) {
	now := time.Now()
	a, b := mail.NewID(now), mail.NewID(now.Add(time.Millisecond))
	if a >= b {
		t.Errorf("%s, a millisecond before %s, does not sort before it", a, b)
	}
	if got := mail.IDFromBytes(a.Bytes()); got != a {
		t.Errorf("%s became %s", a, got)
	}
	if got, err := mail.ParseID(string(bytes.ToLower([]byte(a)))); err != nil || got != a {
		t.Errorf("in lower case: %s %v", got, err)
	}
	for _, bad := range []string{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FA", "01ARZ3NDEKTSV4RRFFQ69G5FAVX", "01ARZ3NDEKTSV4RRFFQ69G5FAU../"} {
		if id, err := mail.ParseID(bad); err == nil {
			t.Errorf("%q is taken as %s", bad, id)
		}
	}
}

func TestTagNamesItsCopy(t *testing.T) {
	c := mail.Copy{Message: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Seq: 1234567}
	id, seq, err := mail.ParseTag(c.Tag())
	if err != nil || id != c.Message || seq != c.Seq {
		t.Errorf("%s is %s %d %v", c.Tag(), id, seq, err)
	}
	for _, bad := range []string{"", "-", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAV-", "01ARZ3NDEKTSV4RRFFQ69G5FAV-!", "x-1", "01ARZ3NDEKTSV4RRFFQ69G5FAV-zzzzzzzzz"} {
		if _, _, err := mail.ParseTag(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestClassOfFindsTheClassInTheChain(t *testing.T) {
	inner := &mail.Error{Class: mail.AccountWide, Public: "suspended"}
	if c := mail.ClassOf(fmt.Errorf("send: %w", fmt.Errorf("again: %w", inner))); c != mail.AccountWide {
		t.Errorf("wrapped twice: %v", c)
	}
	if c := mail.ClassOf(errors.New("who knows")); c != mail.Temporary {
		t.Errorf("unclassified: %v", c)
	}
	if c := mail.ClassOf(nil); c != mail.Temporary {
		t.Errorf("nil: %v", c)
	}
}

func TestStatesKeepTheirNames(t *testing.T) {
	names := []string{"queued", "sending", "deferred", "uncertain", "sent", "failed", "cancelled", "suppressed", "unsubscribed", "skipped"}
	for i, want := range names {
		b, err := json.Marshal(mail.State(i))
		var back mail.State
		if err != nil || string(b) != `"`+want+`"` || json.Unmarshal(b, &back) != nil || back != mail.State(i) {
			t.Errorf("state %d is %s and comes back as %v", i, b, back)
		}
	}
	var s mail.State
	if err := s.UnmarshalText([]byte("odd")); err == nil {
		t.Error("an unknown state is taken")
	}
}

func TestContentIsTheSameByEveryWay(t *testing.T) {
	c := mail.Content{Header: []byte("A: 1\r\n"), Body: [][]byte{[]byte("one"), nil, []byte(" two\r\n")}}
	const want = "A: 1\r\n\r\none two\r\n"
	var b bytes.Buffer
	if n, err := c.WriteTo(&b); err != nil || n != int64(len(want)) || b.String() != want {
		t.Errorf("written: %q %d %v", b.String(), n, err)
	}
	read, err := io.ReadAll(c.Reader())
	if err != nil || string(read) != want || string(c.Bytes()) != want || c.Size() != int64(len(want)) {
		t.Errorf("read: %q, bytes %q, size %d, %v", read, c.Bytes(), c.Size(), err)
	}
	if p := c.Prepend([]byte("B: 2\r\n")); string(p.Bytes()) != "B: 2\r\n"+want || string(c.Bytes()) != want {
		t.Errorf("prepended: %q, and before %q", p.Bytes(), c.Bytes())
	}
}
