package spool_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"postern/mail"
	"postern/spool"
)

const anID = mail.ID("01ARZ3NDEKTSV4RRFFQ69G5FAV")

func TestARowGivesBackItsCopy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moment := func(name string) time.Time {
			if ms := rapid.Int64Range(0, 1<<42).Draw(t, name); ms > 0 {
				return time.UnixMilli(ms)
			}
			return time.Time{}
		}
		c := mail.Copy{
			Message: anID, Seq: rapid.Uint32().Draw(t, "seq"),
			To: mail.Address(rapid.String().Draw(t, "to")), UserKey: rapid.String().Draw(t, "key"),
			State: mail.State(rapid.IntRange(0, mail.NumStates-1).Draw(t, "state")), Attempts: rapid.IntRange(0, 1<<30).Draw(t, "attempts"),
			Claims: rapid.IntRange(0, 1<<30).Draw(t, "claims"), Due: moment("due"), At: moment("at"),
			LastError: rapid.String().Draw(t, "error"), UpstreamID: rapid.String().Draw(t, "upstream"),
		}
		if values := rapid.SliceOf(rapid.String()).Draw(t, "values"); len(values) > 0 {
			c.Values = values
		}
		if c.UserKey == "=" { // stands for "as in To"; it is no address
			return
		}
		got, err := spool.DecodeCopy(anID, c.Seq, spool.EncodeCopy(&c))
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("\n got %+v %v\nwant %+v", got, err, c)
		}
	})
}

func FuzzCopyRow(f *testing.F) {
	f.Add(spool.EncodeCopy(&mail.Copy{To: "a@example.com", UserKey: "a@example.com", Values: []string{"민", ""}, State: mail.Sent, LastError: "450 later"}))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := spool.DecodeCopy(anID, 1, b)
		if err != nil {
			return
		}
		again, err := spool.DecodeCopy(anID, 1, spool.EncodeCopy(&c))
		if err != nil || !reflect.DeepEqual(again, c) && !bytes.Contains(b, []byte("=")) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}
