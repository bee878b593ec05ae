package sesfake

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
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

// Counts are what has happened so far.
type Counts struct {
	Requests  int // SendEmails that came, whatever became of them
	Accepted  int
	Unsure    int // of these: those whose answer did not say so
	Throttled int // refused by RateLimit
	OverQuota int // refused by Quota
	Expired   int // refused by SetCredentialExpired, GetAccounts among them
	Accounts  int // GetAccounts that came; not in Requests
}

// Fake is the handler. The zero value accepts everything, and is an account in
// good order.
type Fake struct {
	// Discard keeps no mail and reads none of it: a null server for measuring.
	Discard bool
	// Now is the clock of RateLimit and Quota; nil: the real one.
	Now func() time.Time

	mu       sync.Mutex
	script   []Answer
	mails    []Mail
	counts   Counts
	state    state
	onAccept func(Mail)
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

// OnAccept calls a func with each mail from now on that is accepted, before its
// answer, from many goroutines.
func (f *Fake) OnAccept(heard func(Mail)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onAccept = heard
}

// Mails are those that were accepted so far, in order.
func (f *Fake) Mails() []Mail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Mail(nil), f.mails...)
}

// Requests is how many SendEmails came, accepted or not.
func (f *Fake) Requests() int { return f.Count().Requests }

// Count says what has happened so far.
func (f *Fake) Count() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "POST /v2/email/outbound-emails":
		f.sendEmail(w, r)
	case "GET /v2/email/account":
		f.getAccount(w)
	default:
		refuse(w, http.StatusNotFound, "UnknownOperationException", "sesfake knows SendEmail and GetAccount")
	}
}

func (f *Fake) getAccount(w http.ResponseWriter) {
	f.mu.Lock()
	f.counts.Accounts++
	a, expired := f.state.told(f.now()), f.state.expired
	if expired {
		f.counts.Expired++
	}
	f.mu.Unlock()
	if expired {
		e := ExpiredToken()
		refuse(w, e.status, e.errType, e.message)
		return
	}
	answer(w, http.StatusOK, a)
}

func (f *Fake) sendEmail(w http.ResponseWriter, r *http.Request) {
	if f.unread() {
		reset(w)
		return
	}
	if f.Discard {
		_, _ = io.Copy(io.Discard, r.Body)
		f.take(&Mail{To: []string{""}})
		answer(w, http.StatusOK, map[string]string{"MessageId": "discarded"})
		return
	}
	m, complaint := read(r.Body)
	a, late := f.decide(&m, complaint)
	if a.accept {
		f.hear(m)
	}
	pause(r.Context(), late+a.after)
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

// unread says whether the next answer is ResetUnread, and takes it.
func (f *Fake) unread() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Requests++
	if len(f.script) == 0 || !f.script[0].unread {
		return false
	}
	f.script = f.script[1:]
	return true
}

// decide keeps the mail if it is taken. The account is asked first, then the script,
// then what is wrong with the mail itself.
func (f *Fake) decide(m *Mail, complaint string) (a Answer, late time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	late = f.state.latency
	if a, refused := f.state.judge(m.recipients(), f.now(), &f.counts); refused {
		return a, late
	}
	a = Accept()
	if len(f.script) > 0 {
		a, f.script = f.script[0], f.script[1:]
	}
	switch sender := from(m.Raw); {
	case complaint != "":
		return BadRequest(complaint), late
	case a.accept && f.state.unverified(sender):
		return NotVerified(f.state.region, sender), late
	case a.accept:
		if a.unsure() {
			f.counts.Unsure++
		}
		f.keep(m)
	}
	return a, late
}

// take counts a mail that is not kept.
func (f *Fake) take(m *Mail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Accepted++
	f.state.forget(f.now())
	f.state.spend(m.recipients(), f.now())
}

func (f *Fake) keep(m *Mail) {
	f.counts.Accepted++
	f.state.spend(m.recipients(), f.now())
	m.ID = fmt.Sprintf("0100fake%08d-000000", len(f.mails)+1)
	f.mails = append(f.mails, *m)
}

func (f *Fake) hear(m Mail) {
	f.mu.Lock()
	heard := f.onAccept
	f.mu.Unlock()
	if heard != nil {
		heard(m)
	}
}

// pause waits, but not for a client that has gone.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
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
	cut(c)
}

// cut resets a connection, so that the other side hears of it at once.
func cut(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

// HangUp takes connections until l is closed and cuts each as soon as the client has
// begun its handshake.
func HangUp(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = c.Read(make([]byte, 1))
			cut(c)
		}()
	}
}
