package sns_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/relay/events"
	"postern/relay/events/sns"
)

const (
	topic   = "arn:aws:sns:ap-northeast-2:123456789012:postern-events"
	host    = "sns.ap-northeast-2.amazonaws.com"
	certURL = "https://" + host + "/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
	aiaURL  = "http://crt.r2m01.amazontrust.com/r2m01.cer"
	bounce  = `{"eventType":"Bounce","mail":{"messageId":"up-1","destination":["kim@example.net"]},"bounce":{"bounceType":"Permanent","bouncedRecipients":[{"emailAddress":"kim@example.net"}]}}`
)

// signer is a key with its certificate, and who signed that.
type signer struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func (s *signer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
}

// issue makes a certificate; by nil it signs itself.
func issue(t testing.TB, by *signer, change func(*x509.Certificate)) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	change(c)
	s := &signer{key: key}
	if by == nil {
		by = &signer{key, c}
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, by.cert, &key.PublicKey, by.key)
	if err == nil {
		s.cert, err = x509.ParseCertificate(raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = name, true, x509.KeyUsageCertSign
	}
}

// amazon answers what is fetched, by address, and keeps what was asked for.
type amazon struct {
	mu    sync.Mutex
	pages map[string]*http.Response
	asked []string

	root, middle, sns *signer
}

func newAmazon(t testing.TB) *amazon {
	a := &amazon{}
	a.root = issue(t, nil, authority("Test Root"))
	a.middle = issue(t, a.root, authority("Test RSA M01"))
	a.sns = issue(t, a.middle, func(c *x509.Certificate) {
		c.DNSNames, c.IssuingCertificateURL = []string{"sns.amazonaws.com"}, []string{aiaURL}
	})
	a.pages = map[string]*http.Response{}
	a.serve(certURL, 200, a.sns.pem())
	a.serve(aiaURL, 200, a.middle.cert.Raw)
	return a
}

func (a *amazon) serve(address string, status int, body []byte) *http.Response {
	a.pages[address] = &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: &http.Request{}}
	return a.pages[address]
}

func (a *amazon) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.URL.String())
	page := a.pages[r.URL.String()]
	if page == nil {
		return nil, errors.New("no such page")
	}
	body, err := io.ReadAll(page.Body)
	if err != nil {
		return nil, err
	}
	page.Body = io.NopCloser(bytes.NewReader(body))
	copied := *page
	copied.Body = io.NopCloser(bytes.NewReader(body))
	return &copied, nil
}

func (a *amazon) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.root.cert)
	return p
}

// fields are those of a message.
type fields map[string]string

func message() fields {
	return fields{"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": topic, "Subject": "Amazon SES Email Event Notification", "Message": bounce,
		"Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": "1", "SigningCertURL": certURL, "UnsubscribeURL": "https://" + host + "/?Action=Unsubscribe"}
}

func confirmation() fields {
	m := message()
	delete(m, "Subject")
	m["Type"], m["Token"], m["Message"] = "SubscriptionConfirmation", "2336412f37", "You have chosen to subscribe to the topic"
	m["SubscribeURL"] = "https://" + host + "/?Action=ConfirmSubscription&TopicArn=" + url.QueryEscape(topic) + "&Token=2336412f37"
	return m
}

// sign does what SNS does.
func (m fields) sign(t testing.TB, by *signer) fields {
	t.Helper()
	names := []string{"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	var b strings.Builder
	for _, n := range names {
		if v, ok := m[n]; ok {
			b.WriteString(n + "\n" + v + "\n")
		}
	}
	hash, digest := crypto.SHA1, sha1.Sum([]byte(b.String()))
	sum := digest[:]
	if m["SignatureVersion"] == "2" {
		digest := sha256.Sum256([]byte(b.String()))
		hash, sum = crypto.SHA256, digest[:]
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, by.key, hash, sum)
	if err != nil {
		t.Fatal(err)
	}
	m = maps.Clone(m)
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return m
}

func (m fields) with(name, value string) fields {
	m = maps.Clone(m)
	m[name] = value
	return m
}

func (m fields) without(name string) fields {
	m = maps.Clone(m)
	delete(m, name)
	return m
}

func (m fields) body(t testing.TB) []byte {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// gateway is a handler and what it has applied.
type gateway struct {
	*sns.Handler
	applied []events.Event
	broken  error
	log     bytes.Buffer
}

func newGateway(t testing.TB, a *amazon) *gateway {
	t.Helper()
	g := &gateway{}
	var err error
	g.Handler, err = sns.New(sns.Config{Topics: []string{"arn:aws:sns:us-east-1:123456789012:other", topic}, Transport: a, Roots: a.roots(), Log: slog.New(slog.NewTextHandler(&g.log, nil)),
		Apply: func(_ context.Context, all []events.Event) error {
			g.applied = append(g.applied, all...)
			return g.broken
		}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gateway) post(body []byte) int {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, request(bytes.NewReader(body)))
	return w.Code
}

// request is one as SNS makes it.
func request(body io.Reader) *http.Request {
	r := httptest.NewRequest("POST", "/events", body)
	r.Header.Set("X-Amz-Sns-Topic-Arn", topic)
	return r
}

// unread fails the test when somebody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("it was read")
	return 0, io.EOF
}

// TestNothingIsReadOfStrangers, who would fill the memory.
func TestNothingIsReadOfStrangers(t *testing.T) {
	g := newGateway(t, newAmazon(t))
	for _, header := range []string{"", topic + "2"} {
		r := request(unread{t})
		r.Header.Set("X-Amz-Sns-Topic-Arn", header)
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, r); w.Code != 403 {
			t.Errorf("%q: %d", header, w.Code)
		}
	}
}

// TestManyAtOnceAreTriedAgain: those who know the topic do not fill the memory either.
func TestManyAtOnceAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, newAmazon(t))
		slow, end := io.Pipe()
		for range 64 {
			go g.ServeHTTP(httptest.NewRecorder(), request(slow))
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, request(unread{t})); w.Code != 503 {
			t.Error(w.Code)
		}
		_ = end.Close()
		synctest.Wait()
		if g.post(nil) != 400 {
			t.Error("there is still no place")
		}
	})
}

// TestWhatSNSSaysIsApplied, by either version of its signature, with the certificate
// fetched once.
func TestWhatSNSSaysIsApplied(t *testing.T) {
	a := newAmazon(t)
	g := newGateway(t, a)
	for name, m := range map[string]fields{
		"version 1":         message(),
		"version 2":         message().with("SignatureVersion", "2"),
		"no subject":        message().without("Subject"),
		"Korean, new lines": message().with("Subject", "안녕\n<&>").with("Message", strings.ReplaceAll(bounce, ",", ",\n")),
		"almost an hour":    message().with("Timestamp", time.Now().Add(-59*time.Minute).UTC().Format(time.RFC3339)),
		"a fast clock":      message().with("Timestamp", time.Now().Add(time.Minute).UTC().Format(time.RFC3339)),
	} {
		g.applied = nil
		if code := g.post(m.sign(t, a.sns).body(t)); code != 200 || len(g.applied) != 1 || g.applied[0].To != "kim@example.net" || g.applied[0].Source != sns.Source {
			t.Errorf("%s: %d, %+v\n%s", name, code, g.applied, &g.log)
		}
	}
	for name, m := range map[string]fields{
		"a greeting":     message().with("Message", "Successfully validated SNS topic for Amazon SES event publishing."),
		"an open":        message().with("Message", `{"eventType":"Open","mail":{"messageId":"x"}}`),
		"an unsubscribe": confirmation().with("Type", "UnsubscribeConfirmation"),
	} {
		g.applied = nil
		if code := g.post(m.sign(t, a.sns).body(t)); code != 200 || g.applied != nil {
			t.Errorf("%s: %d, %+v\n%s", name, code, g.applied, &g.log)
		}
	}
	if len(a.asked) != 2 {
		t.Errorf("fetched %q", a.asked)
	}
}

// TestForgeriesChangeNothing is mail rule 58. Nothing is fetched from elsewhere.
func TestForgeriesChangeNothing(t *testing.T) {
	a := newAmazon(t)
	evil := issue(t, a.middle, func(c *x509.Certificate) { c.DNSNames = []string{"evil.example"} })
	self := issue(t, nil, func(c *x509.Certificate) { c.DNSNames = []string{"sns.amazonaws.com"} })
	expired := issue(t, a.middle, func(c *x509.Certificate) {
		c.DNSNames, c.NotBefore, c.NotAfter = []string{"sns.amazonaws.com"}, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	for path, cert := range map[string]*signer{"evil": evil, "self": self, "expired": expired} {
		a.serve("https://"+host+"/"+path+".pem", 200, append(cert.pem(), a.middle.pem()...))
	}
	a.serve("https://"+host+"/none.pem", 200, []byte("Hello"))
	a.serve("https://"+host+"/large.pem", 200, append(bytes.Repeat([]byte(" "), 70000), a.sns.pem()...))
	a.serve("https://"+host+"/missing.pem", 403, []byte("<Error/>"))
	a.serve("https://"+host+"/elsewhere.pem", 302, nil).Header.Set("Location", "https://evil.example/x.pem")
	a.serve("https://evil.example/x.pem", 200, a.sns.pem())
	good, sign := message(), func(m fields) fields { return m.sign(t, a.sns) }
	signed := sign(good)
	from := func(path string, by *signer) fields {
		return good.with("SigningCertURL", "https://"+host+"/"+path+".pem").sign(t, by)
	}
	forgeries := map[string]fields{
		"no signature":             good,
		"another message":          signed.with("Message", strings.Replace(bounce, "kim", "lee", 2)),
		"another id":               signed.with("MessageId", "x"),
		"another subject":          signed.with("Subject", "x"),
		"without its subject":      signed.without("Subject"),
		"another type":             signed.with("Type", "SubscriptionConfirmation"),
		"another time":             signed.with("Timestamp", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)),
		"the other version":        signed.with("SignatureVersion", "2"),
		"an unknown version":       sign(good.with("SignatureVersion", "3")),
		"no version":               sign(good.without("SignatureVersion")),
		"not base64":               signed.with("Signature", "!"),
		"our other topic":          signed.with("TopicArn", "arn:aws:sns:us-east-1:123456789012:other"),
		"our other topic, its key": sign(good.with("TopicArn", "arn:aws:sns:us-east-1:123456789012:other")),
		"a stranger's topic":       sign(good.with("TopicArn", "arn:aws:sns:ap-northeast-2:666666666666:postern-events")),
		"a topic in capitals":      sign(good.with("TopicArn", strings.ToUpper(topic))),
		"old":                      sign(good.with("Timestamp", time.Now().Add(-61*time.Minute).UTC().Format(time.RFC3339))),
		"from the future":          sign(good.with("Timestamp", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))),
		"no time":                  sign(good.with("Timestamp", "now")),
		"another's key":            good.sign(t, evil),
		"another's certificate":    from("evil", evil),
		"an expired certificate":   from("expired", expired),
		"no certificate":           from("none", a.sns),
		"a large certificate":      from("large", a.sns),
		"a missing certificate":    from("missing", a.sns),
		"a redirected certificate": from("elsewhere", a.sns),
	}
	for _, address := range []string{
		"http://" + host + "/x.pem", "https://" + host + ":8443/x.pem", "https://" + host + ":443/x.pem", "https://" + host + "@evil.example/x.pem", "https://evil@" + host + "/x.pem",
		"https://" + host + ".evil.example/x.pem", "https://evil.example/" + host + "/x.pem", "https://sns.us-east-1.amazonaws.com/x.pem", "https://sns.amazonaws.com/x.pem",
		"https://sns.ap-northeast-2.amazonaws.com.cn/x.pem", "https://" + host + "/x", "https://" + host + "/x.pem?y", "https://" + host + "/?x.pem", "https://" + host + "/x.pem#y", "https://evil.example\\@" + host + "/x.pem",
		"https://bucket.s3.amazonaws.com/x.pem", "//" + host + "/x.pem", "file:///etc/x.pem", "https:" + host + "/x.pem", "https://evil.example?@" + host + "/x.pem", "https://SNS.ap-northeast-2.amazonaws.com.evil.example/x.pem", "",
	} {
		forgeries["certificate at "+address] = sign(good.with("SigningCertURL", address))
	}
	for name, m := range forgeries {
		t.Run(name, func(t *testing.T) {
			a.asked = nil
			g := newGateway(t, a)
			if code := g.post(m.body(t)); code != 403 || g.applied != nil {
				t.Errorf("%d, %+v", code, g.applied)
			}
			for _, asked := range a.asked {
				if u, err := url.Parse(asked); err != nil || u.Host != host && asked != aiaURL {
					t.Errorf("%s was fetched", asked)
				}
			}
		})
	}
	t.Run("a certificate of nobody", func(t *testing.T) { // may be our lack of roots: SNS tries again
		g := newGateway(t, a)
		if code := g.post(from("self", self).body(t)); code != 503 || g.applied != nil {
			t.Errorf("%d, %+v", code, g.applied)
		}
	})
}

// TestNonsenseIsNoMessage
func TestNonsenseIsNoMessage(t *testing.T) {
	a := newAmazon(t)
	g := newGateway(t, a)
	for name, body := range map[string][]byte{
		"nothing":   nil,
		"text":      []byte("Hello"),
		"a list":    []byte("[]"),
		"no type":   []byte(bounce),
		"new type":  message().with("Type", "Teleported").body(t),
		"a number":  []byte(`{"Type":5}`),
		"too large": message().with("Message", strings.Repeat("x", 2<<20)).body(t),
		"no event":  message().with("Message", "Hello").sign(t, a.sns).body(t),
	} {
		if code := g.post(body); code != 400 || g.applied != nil {
			t.Errorf("%s: %d, %+v", name, code, g.applied)
		}
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("GET", "/events", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Error(w.Code)
	}
	if _, err := sns.New(sns.Config{Topics: []string{"postern-events"}}); err == nil {
		t.Error("a name is a topic")
	}
	if _, err := sns.New(sns.Config{}); err == nil {
		t.Error("a handler without topics")
	}
}

// TestWhatCannotBeTakenNowComesAgain: SNS tries again after 503.
func TestWhatCannotBeTakenNowComesAgain(t *testing.T) {
	a := newAmazon(t)
	signed := message().sign(t, a.sns).body(t)
	g := newGateway(t, a)
	g.broken = errors.New("the disk is full")
	if code := g.post(signed); code != 503 || !strings.Contains(g.log.String(), "the disk is full") {
		t.Errorf("%d: %s", code, &g.log)
	}
	if g.broken = nil; g.post(signed) != 200 {
		t.Error("not taken")
	}
	for _, address := range []string{certURL, aiaURL} {
		for _, status := range []int{0, 500, 503} {
			kept := a.pages[address]
			if delete(a.pages, address); status > 0 {
				a.serve(address, status, nil)
			}
			g := newGateway(t, a)
			if code := g.post(signed); code != 503 || g.applied != nil {
				t.Errorf("%s %d: %d\n%s", address, status, code, &g.log)
			}
			if a.pages[address] = kept; g.post(signed) != 200 {
				t.Errorf("not taken:\n%s", &g.log)
			}
		}
	}
}

// TestTheCertificateBetween may come with SNS's own, or with the connection; and the
// one of a region has its own names.
func TestTheCertificateBetween(t *testing.T) {
	a := newAmazon(t)
	delete(a.pages, aiaURL)
	leaf := issue(t, a.middle, func(c *x509.Certificate) { c.DNSNames = []string{"sns-signing.ap-northeast-2.amazonaws.com", host} })
	signed := message().sign(t, leaf).body(t)
	a.serve(certURL, 200, append(leaf.pem(), a.middle.pem()...))
	if g := newGateway(t, a); g.post(signed) != 200 {
		t.Error(g.log.String())
	}
	a.serve(certURL, 200, leaf.pem()).TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.cert, a.middle.cert}}
	if g := newGateway(t, a); g.post(signed) != 200 {
		t.Error(g.log.String())
	}
	a.serve(certURL, 200, leaf.pem())
	if g := newGateway(t, a); g.post(signed) != 503 {
		t.Error(g.log.String())
	}
	// An issuer is not fetched from just anywhere.
	odd := issue(t, a.middle, func(c *x509.Certificate) {
		c.DNSNames, c.IssuingCertificateURL = []string{host}, []string{"http://evil.example/x", "http://evilamazontrust.com/x", "ftp://a.amazontrust.com/x", "http://u@a.amazontrust.com/x", "http://a.amazontrust.com:22/x"}
	})
	a.serve(certURL, 200, odd.pem())
	a.asked = nil
	if g := newGateway(t, a); g.post(message().sign(t, odd).body(t)) != 503 || len(a.asked) != 1 {
		t.Error(a.asked)
	}
}

// TestASubscriptionIsConfirmed once, at the address of its topic's region only.
func TestASubscriptionIsConfirmed(t *testing.T) {
	a := newAmazon(t)
	m := confirmation()
	a.serve(m["SubscribeURL"], 200, []byte("<ConfirmSubscriptionResponse/>"))
	g := newGateway(t, a)
	if code := g.post(m.sign(t, a.sns).body(t)); code != 200 || len(a.asked) != 3 || a.asked[2] != m["SubscribeURL"] || !strings.Contains(g.log.String(), "is confirmed") {
		t.Errorf("%d, asked for %q\n%s", code, a.asked, &g.log)
	}
	for _, address := range []string{
		"http://" + host + "/?Action=ConfirmSubscription&TopicArn=" + topic, "https://evil.example/?Action=ConfirmSubscription&TopicArn=" + topic,
		"https://" + host + "@evil.example/?Action=ConfirmSubscription&TopicArn=" + topic, "https://" + host + "/?Action=DeleteTopic&TopicArn=" + topic, "https://" + host + "/?Action=ConfirmSubscription&TopicArn=other", "",
	} {
		a.asked = nil
		if code := g.post(m.with("SubscribeURL", address).sign(t, a.sns).body(t)); code != 403 || a.asked != nil {
			t.Errorf("%s: %d, asked for %q", address, code, a.asked)
		}
	}
	a.asked = nil
	if code := g.post(m.sign(t, a.sns).with("SubscribeURL", m["SubscribeURL"]+"x").body(t)); code != 403 || a.asked != nil {
		t.Errorf("an address that was not signed: %d, asked for %q", code, a.asked)
	}
	delete(a.pages, m["SubscribeURL"]) // the network is down
	if code := g.post(m.sign(t, a.sns).body(t)); code != 503 || strings.Contains(g.log.String(), "2336412f37") {
		t.Errorf("%d, or the token is in the log:\n%s", code, &g.log)
	}
	for _, status := range []int{302, 400, 500} {
		a.serve(m["SubscribeURL"], status, nil).Header.Set("Location", "https://evil.example/")
		if code := g.post(m.sign(t, a.sns).body(t)); code != 503 || a.asked[len(a.asked)-1] != m["SubscribeURL"] {
			t.Errorf("%d: %d, asked for %q", status, code, a.asked)
		}
	}
}

// TestWhatIsSigned is the text of Amazon's documentation.
func TestWhatIsSigned(t *testing.T) {
	m := fields{"Type": "Notification", "MessageId": "i", "TopicArn": "t", "Subject": "s", "Message": "a\nb", "Timestamp": "w", "Token": "unused", "SubscribeURL": "unused"}
	for want, body := range map[string]fields{
		"Message\na\nb\nMessageId\ni\nSubject\ns\nTimestamp\nw\nTopicArn\nt\nType\nNotification\n":                            m,
		"Message\na\nb\nMessageId\ni\nTimestamp\nw\nTopicArn\nt\nType\nNotification\n":                                        m.without("Subject"),
		"Message\na\nb\nMessageId\ni\nSubscribeURL\nu\nTimestamp\nw\nToken\nk\nTopicArn\nt\nType\nSubscriptionConfirmation\n": m.with("Type", "SubscriptionConfirmation").with("SubscribeURL", "u").with("Token", "k"),
	} {
		if got := sns.Canonical(body.body(t)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzHandler: whatever is posted there is no panic, and without a signature nothing
// is applied and nothing is fetched from anybody but Amazon.
func FuzzHandler(f *testing.F) {
	a := newAmazon(f)
	for _, m := range []fields{message(), confirmation(), message().with("Type", "UnsubscribeConfirmation"), message().with("SigningCertURL", "https://"+host+"@evil.example/x.pem")} {
		f.Add(m.with("Signature", "AAAA").body(f))
		f.Add(m.sign(f, a.middle).body(f))
	}
	f.Add([]byte(bounce))
	g := newGateway(f, a)
	f.Fuzz(func(t *testing.T, body []byte) {
		a.asked = nil
		g.log.Reset()
		if code := g.post(body); code == 200 || g.applied != nil {
			t.Fatalf("%d, %+v", code, g.applied)
		}
		for _, asked := range a.asked {
			if u, err := url.Parse(asked); err != nil || u.Host != host && asked != aiaURL {
				t.Errorf("%s was fetched", asked)
			}
		}
	})
}
