package sesfake

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// Mail is an accepted mail, and what the request said about it.
type Mail struct {
	ID               string // the MessageId that was answered, or would have been
	To, Cc, Bcc      []string
	Tags             map[string]string
	ConfigurationSet string
	ClickTracking    string // ENABLED, DISABLED or ""
	OpenTracking     string
	Raw              []byte
}

// Answer is what becomes of one SendEmail.
type Answer struct {
	accept  bool // the mail is kept before the answer
	status  int
	errType string
	message string
	body    string // instead of JSON
	hangUp  bool
	unread  bool // the request is not even read
	silent  bool
}

// Accept takes the mail.
func Accept() Answer { return Answer{accept: true, status: http.StatusOK} }

// Refuse answers with one of SES's errors, such as 400, "MessageRejected".
func Refuse(status int, errType, message string) Answer {
	return Answer{status: status, errType: errType, message: message}
}

// FailAfterAccept takes the mail and answers with a 5xx.
func FailAfterAccept(status int) Answer {
	return Answer{accept: true, status: status, errType: "InternalServiceErrorException", message: "internal failure"}
}

// Garble takes the mail and answers with a status and something else than JSON.
func Garble(status int, body string) Answer {
	return Answer{accept: status/100 == 2, status: status, body: body}
}

// ResetAfterAccept takes the mail and resets the connection.
func ResetAfterAccept() Answer { return Answer{accept: true, hangUp: true} }

// ResetUnread resets the connection without reading the request's body.
func ResetUnread() Answer { return Answer{unread: true, hangUp: true} }

// SilentAfterAccept takes the mail and says nothing until the client goes.
func SilentAfterAccept() Answer { return Answer{accept: true, silent: true} }

// Account is what GetAccount answers.
type Account struct {
	SendQuota struct {
		Max24HourSend   float64
		MaxSendRate     float64
		SentLast24Hours float64
	}
	ProductionAccessEnabled bool
	SendingEnabled          bool
	EnforcementStatus       string
}

// Fake is the handler. The zero value accepts everything.
type Fake struct {
	// Discard keeps no mail and reads none of it: a null server for measuring.
	Discard bool

	mu       sync.Mutex
	script   []Answer
	mails    []Mail
	requests int
	account  Account
}

// Then scripts the answers to the next SendEmails; those after them are accepted.
func (f *Fake) Then(answers ...Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, answers...)
}

// Clear drops what is left of the script.
func (f *Fake) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = nil
}

// SetAccount scripts GetAccount.
func (f *Fake) SetAccount(a Account) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account = a
}

// Mails are those that were accepted so far, in order.
func (f *Fake) Mails() []Mail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Mail(nil), f.mails...)
}

// Requests is how many SendEmails came, accepted or not.
func (f *Fake) Requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "POST /v2/email/outbound-emails":
		f.sendEmail(w, r)
	case "GET /v2/email/account":
		f.mu.Lock()
		a := f.account
		f.mu.Unlock()
		answer(w, http.StatusOK, a)
	default:
		refuse(w, http.StatusNotFound, "UnknownOperationException", "sesfake knows SendEmail and GetAccount")
	}
}

func (f *Fake) next() Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	if len(f.script) == 0 {
		return Accept()
	}
	a := f.script[0]
	f.script = f.script[1:]
	return a
}

func (f *Fake) sendEmail(w http.ResponseWriter, r *http.Request) {
	a := f.next()
	if a.unread {
		reset(w)
		return
	}
	if f.Discard {
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, http.StatusOK, map[string]string{"MessageId": "discarded"})
		return
	}
	m, complaint := read(r.Body)
	if complaint != "" {
		refuse(w, http.StatusBadRequest, "BadRequestException", complaint)
		return
	}
	if a.accept {
		f.keep(&m)
	}
	switch {
	case a.hangUp:
		reset(w)
	case a.silent:
		<-r.Context().Done()
	case a.body != "":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	case a.status == http.StatusOK:
		answer(w, a.status, map[string]string{"MessageId": m.ID})
	default:
		refuse(w, a.status, a.errType, a.message)
	}
}

func (f *Fake) keep(m *Mail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.ID = fmt.Sprintf("0100fake%08d-000000", len(f.mails)+1)
	f.mails = append(f.mails, *m)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// refuse is an error as the REST-JSON protocol writes it
// (https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html).
func refuse(w http.ResponseWriter, status int, errType, message string) {
	w.Header().Set("X-Amzn-ErrorType", errType)
	answer(w, status, map[string]string{"message": message})
}

func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset instead
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

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

// read takes the request apart and says what SES would complain about.
func read(r io.Reader) (m Mail, complaint string) {
	var q request
	if err := json.NewDecoder(r).Decode(&q); err != nil {
		return m, "the request is not JSON: " + err.Error()
	}
	t := q.ConfigurationOverrides.Tracking
	m = Mail{To: q.Destination.ToAddresses, Cc: q.Destination.CcAddresses, Bcc: q.Destination.BccAddresses, Tags: map[string]string{}, Raw: q.Content.Raw.Data,
		ConfigurationSet: q.ConfigurationSetName, ClickTracking: t.ClickTrackingEnabled, OpenTracking: t.OpenTrackingEnabled}
	word := regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	for _, tag := range q.EmailTags {
		if !word.MatchString(tag.Name) || !word.MatchString(tag.Value) {
			return m, fmt.Sprintf("Invalid tag %q=%q", tag.Name, tag.Value)
		}
		m.Tags[tag.Name] = tag.Value
	}
	switch {
	case len(m.Raw) == 0:
		return m, "Content.Raw.Data is empty"
	case len(m.To)+len(m.Cc)+len(m.Bcc) == 0:
		return m, "Destination is empty: the recipients would come from the headers"
	case q.ListManagementOptions != nil:
		return m, "ListManagementOptions would replace the signed unsubscribe headers"
	}
	return m, twice(m.Raw)
}

// twice finds a header field that may occur once and does not.
// https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
func twice(raw []byte) string {
	seen := map[string]bool{"dkim-signature": false, "list-unsubscribe": false, "list-unsubscribe-post": false, "reply-to": false, "sender": false,
		"return-path": false, "precedence": false, "from": false, "to": false, "subject": false, "date": false, "message-id": false, "mime-version": false, "content-type": false}
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n") {
		name, _, ok := strings.Cut(line, ":")
		if !ok || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		before, once := seen[strings.ToLower(name)]
		if before {
			return fmt.Sprintf("Duplicate header '%s'.", name)
		}
		if once {
			seen[strings.ToLower(name)] = true
		}
	}
	return ""
}
