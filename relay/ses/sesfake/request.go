package sesfake

import (
	"encoding/json"
	"fmt"
	"io"
	"net/mail"
	"regexp"
	"strings"
)

type request struct {
	ConfigurationSetName   string
	ConfigurationOverrides struct {
		Tracking struct{ ClickTrackingEnabled, OpenTrackingEnabled string }
	}
	Content               struct{ Raw struct{ Data []byte } }
	Destination           struct{ ToAddresses, CcAddresses, BccAddresses []string }
	EmailTags             []struct{ Name, Value string }
	ListManagementOptions json.RawMessage
}

var word = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// read takes the request apart and says what SES would complain about.
func read(r io.Reader) (m Mail, complaint string) {
	var q request
	if err := json.NewDecoder(r).Decode(&q); err != nil {
		return m, "the request is not JSON: " + err.Error()
	}
	t := q.ConfigurationOverrides.Tracking
	m = Mail{To: q.Destination.ToAddresses, Cc: q.Destination.CcAddresses, Bcc: q.Destination.BccAddresses, Tags: map[string]string{}, Raw: q.Content.Raw.Data,
		ConfigurationSet: q.ConfigurationSetName, ClickTracking: t.ClickTrackingEnabled, OpenTracking: t.OpenTrackingEnabled}
	for _, tag := range q.EmailTags {
		if !word.MatchString(tag.Name) || !word.MatchString(tag.Value) {
			return m, fmt.Sprintf("Invalid tag %q=%q", tag.Name, tag.Value)
		}
		m.Tags[tag.Name] = tag.Value
	}
	switch {
	case len(m.Raw) == 0:
		return m, "Content.Raw.Data is empty"
	case m.recipients() == 0:
		return m, "Destination is empty: the recipients would come from the headers"
	case q.ListManagementOptions != nil:
		return m, "ListManagementOptions would replace the signed unsubscribe headers"
	}
	return m, twice(m.Raw)
}

// recipients is what a mail costs of rate and quota.
func (m *Mail) recipients() int { return len(m.To) + len(m.Cc) + len(m.Bcc) }

// fields are the header's, in order and unfolded.
func fields(raw []byte) (all [][2]string) {
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	for _, line := range strings.Split(strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(head), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			all = append(all, [2]string{name, strings.TrimSpace(value)})
		}
	}
	return all
}

func field(raw []byte, name string) string {
	for _, f := range fields(raw) {
		if strings.EqualFold(f[0], name) {
			return f[1]
		}
	}
	return ""
}

// twice finds a header field that may occur once and does not.
// https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
func twice(raw []byte) string {
	seen := map[string]bool{"dkim-signature": false, "list-unsubscribe": false, "list-unsubscribe-post": false, "reply-to": false, "sender": false,
		"return-path": false, "precedence": false, "from": false, "to": false, "subject": false, "date": false, "message-id": false, "mime-version": false, "content-type": false}
	for _, f := range fields(raw) {
		before, once := seen[strings.ToLower(f[0])]
		if before {
			return fmt.Sprintf("Duplicate header '%s'.", f[0])
		}
		if once {
			seen[strings.ToLower(f[0])] = true
		}
	}
	return ""
}

// from is the mailbox in From, "" where there is none to be read.
func from(raw []byte) string {
	a, err := mail.ParseAddress(field(raw, "From"))
	if err != nil {
		return ""
	}
	return a.Address
}
