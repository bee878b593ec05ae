package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/expand"
	"postern/mail"
	"postern/relay/events"
	"postern/relay/ses"
)

const (
	tag      = "01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A-1"
	upstream = "010c019ab1c2d3e4-5f6a7b8c-9d0e-4f1a-8b2c-3d4e5f6a7b8c-000000"
	feedback = "010c019ab1c2f00d-11111111-2222-4333-8444-555555555555-000000"
)

// at is a time of 23 November 2026.
func at(clock string) time.Time {
	t, err := time.Parse("15:04:05.999", clock)
	if err != nil {
		panic(err)
	}
	return time.Date(2026, 11, 23, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// TestEventsOfSES in every shape that Amazon documents.
func TestEventsOfSES(t *testing.T) {
	event := func(change func(*events.Event)) events.Event {
		e := events.Event{Tag: tag, UpstreamID: upstream, MessageID: id, To: "kim@example.net", For: "kim@example.net", Source: "Amazon SES"}
		change(&e)
		return e
	}
	one := func(change func(*events.Event)) []events.Event { return []events.Event{event(change)} }
	bounce := func(e *events.Event) {
		e.Kind, e.Type, e.SubType, e.Status, e.Words, e.ID, e.At = events.Bounce, "Permanent", "General", "5.1.1", "550 5.1.1 user unknown", feedback, at("00:00:07.669")
	}
	full := func(e *events.Event) { // of a mail to three
		e.For = ""
		e.Kind, e.Type, e.SubType, e.ID, e.At = events.Bounce, "Transient", "MailboxFull", feedback, at("00:00:05.123")
	}
	for file, want := range map[string][]events.Event{
		"send":   one(func(e *events.Event) { e.Kind, e.At = events.Send, at("00:00:05.123") }),
		"bounce": one(bounce),
		"delivery": one(func(e *events.Event) {
			e.Kind, e.At, e.Words = events.Delivery, at("00:00:06.5"), "250 2.0.0 OK 1795392006 x1-20020a0564021ab0si1edb.42 - gsmtp"
		}),
		"complaint": one(func(e *events.Event) {
			e.Kind, e.At, e.ID, e.Abuse, e.To = events.Complaint, at("01:00:00"), feedback, "abuse", "KIM@Example.net"
		}),
		"reject": one(func(e *events.Event) { e.Kind, e.At, e.Words = events.Reject, at("00:00:05.123"), "Bad content" }),
		"delay": one(func(e *events.Event) {
			e.Kind, e.At, e.SubType, e.Status, e.Words = events.DeliveryDelay, at("04:00:05"), "TransientCommunicationFailure", "4.4.1", "421 4.4.1 Unable to connect to remote host"
		}),
		"open": nil, "click": nil, "rendering-failure": nil, "subscription": nil, "new-type": nil,
		"notification-bounce":  one(func(e *events.Event) { bounce(e); e.Tag, e.MessageID = "", "" }),
		"notification-headers": one(func(e *events.Event) { e.Kind, e.At, e.Words = events.Delivery, at("00:00:06.5"), "250 ok" }),
		"notification-complaint": one(func(e *events.Event) {
			e.Kind, e.At, e.ID, e.Abuse, e.Tag, e.MessageID = events.Complaint, at("01:00:00"), feedback, "not-spam", "", ""
		}),
		"several": {
			event(func(e *events.Event) {
				full(e)
				e.Status, e.Words = "4.2.2", "452 4.2.2 The email account that you tried to reach is over quota"
			}),
			event(func(e *events.Event) { full(e); e.To = `"lee a"@example.net` }),
			event(func(e *events.Event) { full(e); e.To = "" }),
		},
		"suppressed": one(func(e *events.Event) {
			bounce(e)
			e.SubType, e.At = "OnAccountSuppressionList", at("00:00:07")
			e.Words = "Amazon SES did not send the message to this address because it is on the suppression list for your account."
		}),
		"nobody-named": one(func(e *events.Event) {
			e.Kind, e.Type, e.SubType, e.ID, e.At = events.Bounce, "Undetermined", "Undetermined", feedback, at("00:00:07")
		}),
		"odd-types": one(func(e *events.Event) {
			e.Kind, e.At, e.Words, e.Tag = events.Delivery, at("00:00:05.123"), "250 ok", "01KBQ7ZJ3N8R5T9V2W4X6Y8Z0A-2"
		}),
		"sns": one(bounce), "eventbridge": one(bounce), "sns-eventbridge": one(bounce),
		"sns-greeting": nil, "greeting": nil, "sns-confirmation": nil,
	} {
		t.Run(file, func(t *testing.T) {
			got, err := events.ParseSES([]byte(read(t, "ses/"+file+".json")))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestWhatIsNoEventSaysWhy(t *testing.T) {
	for body, want := range map[string]string{
		"":                                     "no JSON object",
		"Hello":                                "no JSON object",
		"[]":                                   "no JSON object",
		`"x"`:                                  "no JSON object",
		`{"eventType":`:                        "no JSON (",
		`{}`:                                   "neither eventType nor",
		`{"Records":[{"eventSource":"s3"}]}`:   "neither eventType nor",
		`{"Type":"Notification","Message":""}`: "no JSON object",
		`{"eventType":"Bounce"}`:               "neither a mail nor a recipient",
		`{"eventType":"Send","mail":{}}`:       "neither a mail nor a recipient",
		`{"Type":"Notification","Message":"{\"detail\":{\"detail\":{\"eventType\":\"Send\"}}}"}`:   "within another",
		`{"eventType":"Send","mail":{"messageId":"` + strings.Repeat("x", events.MaxEvent) + `"}}`: "more than SNS and SQS carry",
	} {
		got, err := events.ParseSES([]byte(body))
		if !errors.Is(err, events.ErrNoEvent) || !strings.Contains(err.Error(), want) || got != nil {
			t.Errorf("%.80s gives %v, %v; want %q", body, got, err, want)
		}
	}
}

func TestAnEventIsBounded(t *testing.T) {
	var to []string
	for i := range 5000 {
		to = append(to, fmt.Sprintf(`{"emailAddress":"kim%d@example.net","diagnosticCode":"smtp; \u001b[31m\u202e550 %s"}`, i, strings.Repeat("y", 100)))
	}
	body := `{"eventType":"Bounce","mail":{"messageId":"x"},"bounce":{"feedbackId":"` + strings.Repeat("f", 5000) + `","bouncedRecipients":[` + strings.Join(to, ",") + `]}}`
	got, err := events.ParseSES([]byte(body))
	if err != nil || len(got) != events.MaxRecipients || len(got[0].ID) != events.MaxText || strings.ContainsAny(got[0].Words, "\x1b\u202e") {
		t.Errorf("%d events, the first %+v, %v", len(got), got[0], err)
	}
}

// TestAddressesOfAnEvent as SES writes them.
func TestAddressesOfAnEvent(t *testing.T) {
	for written, want := range map[string]mail.Address{
		"kim@example.net":              "kim@example.net",
		" KIM@Example.NET ":            "KIM@Example.NET",
		"<kim@example.net>":            "kim@example.net",
		"Kim <kim@example.net>":        "kim@example.net",
		`"Kim, <x>" <kim@example.net>`: "kim@example.net",
		`"kim lee"@example.net`:        `"kim lee"@example.net`,
		`Kim <"a<b"@example.net>`:      `"a<b"@example.net`,
		"=?utf-8?B?6rmA?= <k@b.kr>":    "k@b.kr",
		"kim@xn--3e0b707e.example":     "kim@xn--3e0b707e.example",
		"Kim":                          "",
		"<>":                           "",
		"<<<>>>":                       "",
	} {
		body, err := json.Marshal(map[string]any{"eventType": "Delivery", "mail": map[string]any{"messageId": "x"}, "delivery": map[string]any{"recipients": []string{written}}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := events.ParseSES(body); err != nil || len(got) != 1 || got[0].To != want {
			t.Errorf("%q is %+v, %v", written, got, err)
		}
	}
}

// TestATagIsTakenFromWhereItWasPut: the tag that was sent, then our own field, then
// the Message-ID of a copy; never what only looks like one.
func TestATagIsTakenFromWhereItWasPut(t *testing.T) {
	for name, c := range map[string]struct{ mail, want string }{
		"the tag":                {`{"tags":{"postern":["T-1"]},"headers":[{"name":"X-Postern-Copy","value":"` + tag + `"}]}`, "T-1"},
		"the second value":       {`{"tags":{"postern":["","a b","T_1"]}}`, "T_1"},
		"our own field":          {`{"headers":[{"name":"message-id","value":"<x@client.example>"},{"name":"x-postern-copy","value":" ` + tag + ` "}]}`, tag},
		"the Message-ID":         {`{"headers":[{"name":"Message-Id","value":"<` + tag + `@gw.example.com>"}]}`, tag},
		"the common headers":     {`{"commonHeaders":{"messageId":"<` + tag + `@gw.example.com>"}}`, tag},
		"a client's Message-ID":  {`{"headers":[{"name":"Message-ID","value":"<hello-1@client.example>"}]}`, ""},
		"SES's own":              {`{"commonHeaders":{"messageId":"` + upstream + `"}}`, ""},
		"a tag that is too long": {`{"tags":{"postern":["` + strings.Repeat("x", 257) + `"]}}`, ""},
		"another's tag":          {`{"tags":{"campaign":["` + tag + `"]}}`, ""},
	} {
		body := `{"eventType":"Send","mail":{"destination":["kim@example.net"],` + strings.TrimPrefix(c.mail, "{") + `}`
		got, err := events.ParseSES([]byte(body))
		if err != nil || len(got) != 1 || got[0].Tag != c.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if events.CopyHeader != expand.MarkHeader || events.TagName != ses.TagName {
		t.Error("a copy is marked by one name and looked for by another")
	}
}

// FuzzParseSES: whatever stands in the queue there is no panic, and what comes out
// is bounded and can stand in a log.
func FuzzParseSES(f *testing.F) {
	files, err := filepath.Glob("testdata/ses/*.json")
	if err != nil || len(files) < 20 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		f.Add([]byte(read(f, "ses/"+filepath.Base(file))))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := events.ParseSES(body)
		if err != nil && (!errors.Is(err, events.ErrNoEvent) || all != nil) {
			t.Fatal(all, err)
		}
		if len(all) > events.MaxRecipients {
			t.Errorf("%d events", len(all))
		}
		for _, e := range all {
			if _, err := mail.ParseAddress(string(e.To)); e.To != "" && err != nil {
				t.Errorf("address %q: %v", e.To, err)
			}
			for _, s := range []string{e.Tag, e.UpstreamID, e.MessageID, e.ID, e.Type, e.SubType, e.Status, e.Words, e.Abuse, e.Source} {
				if len(s) > events.MaxText || strings.ContainsAny(s, "\r\n\x00\x1b\u202e") {
					t.Errorf("text %q", s)
				}
			}
			if outcome, reach := e.Judge(); int(outcome) >= mail.NumOutcomes || reach > events.ReachSpam {
				t.Errorf("judged %v %v", outcome, reach)
			}
		}
	})
}
