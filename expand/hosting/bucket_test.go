package hosting_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"postern/expand"
	"postern/expand/hosting"
	"postern/mail"
)

// photo is a PNG as far as anybody looks.
func photo(words string) expand.Image {
	return expand.Image{Name: "photo.png", Type: "image/png", Data: []byte("\x89PNG\r\n\x1a\n" + words)}
}

// store is S3 in this process. It counts what is asked.
type store struct {
	*httptest.Server
	mu     sync.Mutex
	calls  map[string]int // by method
	puts   []http.Header
	hinder func(http.ResponseWriter, *http.Request) bool // answers in S3's place
	closed chan bool                                     // a connection was
}

func newStore(t *testing.T) *store {
	t.Helper()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "ours", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "ap-northeast-2",
		"AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(name, value)
	}
	backend := s3mem.New()
	if err := backend.CreateBucket("pictures"); err != nil {
		t.Fatal(err)
	}
	s := &store{calls: map[string]int{}, closed: make(chan bool, 100)}
	fake := gofakes3.New(backend).Server()
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[r.Method]++
		if r.Method == http.MethodPut {
			s.puts = append(s.puts, r.Header.Clone())
		}
		hinder := s.hinder
		s.mu.Unlock()
		if hinder == nil || !hinder(w, r) {
			fake.ServeHTTP(w, r)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			s.closed <- true
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// answers has S3 hindered; nil: not any more.
func (s *store) answers(hinder func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hinder = hinder
}

// asked are the calls since it was asked last.
func (s *store) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer clear(s.calls)
	return fmt.Sprintf("%d HEAD, %d PUT", s.calls[http.MethodHead], s.calls[http.MethodPut])
}

func (s *store) bucket(t *testing.T, change func(*hosting.Config)) *hosting.Bucket {
	t.Helper()
	c := hosting.Config{Bucket: "pictures", BaseURL: s.URL + "/pictures/", Endpoint: s.URL, Prefix: "mail/"}
	if change != nil {
		change(&c)
	}
	b, err := hosting.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, b *hosting.Bucket, m expand.Image) string {
	t.Helper()
	address, err := b.Put(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestAPictureIsStoredAndServed(t *testing.T) {
	s := newStore(t)
	m := photo("winter")
	m.Type = "image/gif" // as Outlook may have it
	sum := sha256.Sum256(m.Data)
	address := put(t, s.bucket(t, nil), m)
	want(t, "address", address, s.URL+"/pictures/mail/"+hex.EncodeToString(sum[:])[:32]+".png")
	r, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if err != nil || !bytes.Equal(got, m.Data) {
		t.Errorf("somebody who reads the mail gets %q, %v", got, err)
	}
	want(t, "type", r.Header.Get("Content-Type"), "image/png")
	want(t, "how long it may be kept", s.puts[0].Get("Cache-Control"), "public, max-age=31536000, immutable")
	want(t, "checksum", s.puts[0].Get("X-Amz-Checksum-Sha256"), base64.StdEncoding.EncodeToString(sum[:]))
}

func TestAPictureIsStoredOnceHoweverManyPutIt(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, nil)
	var all sync.WaitGroup
	addresses := make([]string, 50)
	for i := range addresses {
		all.Go(func() {
			var err error
			if addresses[i], err = b.Put(t.Context(), photo("winter")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, a := range addresses {
		want(t, "address", a, addresses[0])
	}
	want(t, "calls", s.asked(), "1 HEAD, 1 PUT")
	put(t, b, photo("winter"))
	want(t, "calls for one that is known", s.asked(), "0 HEAD, 0 PUT")
	if other := put(t, b, photo("summer")); other == addresses[0] {
		t.Error("two pictures have one address")
	}
	want(t, "calls for another one", s.asked(), "1 HEAD, 1 PUT")
	want(t, "address after a restart", put(t, s.bucket(t, nil), photo("winter")), addresses[0])
	want(t, "calls after a restart", s.asked(), "1 HEAD, 0 PUT")
}

func TestTheTypeIsFoundInTheContent(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, nil)
	for start, ending := range map[string]string{
		"\x89PNG\r\n\x1a\n": ".png", "\xff\xd8\xff\xe0": ".jpg", "GIF89a": ".gif", "RIFF\x00\x00\x00\x00WEBPVP8 ": ".webp",
	} {
		if address := put(t, b, expand.Image{Type: "image/bmp", Data: []byte(start + "rest")}); !strings.HasSuffix(address, ending) {
			t.Errorf("%q is at %s", start, address)
		}
	}
	s.asked()
	for _, disguise := range []string{"<html><script>alert(1)</script>", `<svg xmlns="http://www.w3.org/2000/svg"/>`, "<?xml version='1.0'?><svg/>", "MZ\x90\x00", "%PDF-1.7", "BM....", "", "words"} {
		_, err := b.Put(t.Context(), expand.Image{Name: "x.png", Type: "image/png", Data: []byte(disguise)})
		var e *mail.Error
		if !errors.As(err, &e) || e.Class != mail.Permanent || !strings.Contains(e.Public, "only PNG, JPEG, GIF and WebP") {
			t.Errorf("%q: %v", disguise, err)
		}
	}
	want(t, "calls for disguises", s.asked(), "0 HEAD, 0 PUT")
}

// refuse answers as S3 does: with an error in XML, and to HEAD without a word.
func refuse(status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>no</Message><RequestId>1</RequestId></Error>", code)
		}
		return true
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	s := newStore(t)
	for name, tc := range map[string]struct {
		hinder func(http.ResponseWriter, *http.Request) bool
		bucket string
		want   string
	}{
		"no permission":    {refuse(403, "AccessDenied"), "pictures", "the bucket pictures refuses us: the role needs s3:PutObject"},
		"wrong key":        {refuse(403, "InvalidAccessKeyId"), "pictures", "does not take our AWS credentials: renew them (InvalidAccessKeyId)"},
		"wrong secret":     {refuse(403, "SignatureDoesNotMatch"), "pictures", "does not take our AWS credentials"},
		"old token":        {refuse(400, "ExpiredToken"), "pictures", "does not take our AWS credentials"},
		"wrong clock":      {refuse(403, "RequestTimeTooSkewed"), "pictures", "set this machine's clock"},
		"no bucket":        {nil, "drawings", "the bucket drawings does not exist: make it, or mend templates.host_bucket"},
		"another region":   {refuse(301, "PermanentRedirect"), "pictures", "is in another region: set AWS_REGION"},
		"overload":         {refuse(503, "SlowDown"), "pictures", "the next mail asks it again"},
		"a proxy's answer": {refuse(418, "Teapot"), "pictures", "answers HTTP 418"},
	} {
		s.answers(tc.hinder)
		b := s.bucket(t, func(c *hosting.Config) { c.Bucket = tc.bucket })
		_, err := b.Put(t.Context(), photo("winter"))
		wantSentence(t, name, err, tc.want)
		if tc.hinder != nil { // it is mended, and nothing has to be started anew
			s.answers(nil)
			put(t, b, photo("mended "+name))
		}
	}
}

func wantSentence(t *testing.T, name string, err error, want string) {
	t.Helper()
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != mail.Temporary || !strings.Contains(e.Public, want) {
		t.Errorf("%s: %v", name, err)
	}
}

// Whoever may not list the bucket gets 403 for what is not there.
func TestWithoutTheRightToListPicturesAreStored(t *testing.T) {
	s := newStore(t)
	forbidden := refuse(403, "AccessDenied")
	s.answers(func(w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodHead && forbidden(w, r)
	})
	put(t, s.bucket(t, nil), photo("winter"))
	want(t, "calls", s.asked(), "1 HEAD, 1 PUT")
}

func TestAnOutageIsSaid(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, nil)
	released := make(chan bool)
	s.answers(func(http.ResponseWriter, *http.Request) bool { <-released; return false })
	b.SetTimeout(50 * time.Millisecond)
	_, err := b.Put(t.Context(), photo("winter"))
	wantSentence(t, "no answer", err, "did not answer within 50ms")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.SetTimeout(time.Minute)
	_, err = b.Put(ctx, photo("winter"))
	wantSentence(t, "the caller has gone", err, "was not waited for")
	close(released)
	put(t, b, photo("winter")) // what the caller had begun, or anew

	s.Close()
	_, err = s.bucket(t, nil).Put(t.Context(), photo("winter"))
	wantSentence(t, "outage", err, "cannot be reached: look at the network")
	_, err = s.bucket(t, func(c *hosting.Config) { c.Endpoint = "http://s3.invalid" }).Put(t.Context(), photo("winter"))
	wantSentence(t, "no name", err, "the name s3.invalid does not resolve")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, err = s.bucket(t, func(c *hosting.Config) { c.Endpoint = "" }).Put(t.Context(), photo("winter"))
	wantSentence(t, "no credentials", err, "no AWS credentials were found")
}

func TestCloseLetsConnectionsGo(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, nil)
	put(t, b, photo("winter"))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.closed
	put(t, b, photo("summer")) // it opens others
}

func TestConfiguration(t *testing.T) {
	s := newStore(t)
	good := hosting.Config{Bucket: "pictures", BaseURL: "https://images.example.com", Endpoint: s.URL}
	for want, change := range map[string]func(*hosting.Config){
		"templates.host_bucket is empty":             func(c *hosting.Config) { c.Bucket = "" },
		`templates.host_base_url is ""`:              func(c *hosting.Config) { c.BaseURL = "" },
		`templates.host_base_url is "images"`:        func(c *hosting.Config) { c.BaseURL = "images" },
		`templates.host_base_url is "ftp://x.y/"`:    func(c *hosting.Config) { c.BaseURL = "ftp://x.y/" },
		`the endpoint of the bucket is "minio:9000"`: func(c *hosting.Config) { c.Endpoint = "minio:9000" },
	} {
		c := good
		change(&c)
		_, err := hosting.New(t.Context(), c)
		var e *mail.Error
		if !errors.As(err, &e) || e.Class != mail.Permanent || !strings.Contains(e.Public, want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for base, prefix := range map[string]string{"https://images.example.com": "", "https://images.example.com/": "/", "https://images.example.com//": ""} {
		address := put(t, s.bucket(t, func(c *hosting.Config) { c.BaseURL, c.Prefix = base, prefix }), photo("winter"))
		if rest, ok := strings.CutPrefix(address, "https://images.example.com/"); !ok || strings.Contains(rest, "/") {
			t.Errorf("%s and %q give %s", base, prefix, address)
		}
	}
	address := put(t, s.bucket(t, func(c *hosting.Config) { c.BaseURL, c.Prefix = "https://images.example.com/a", "겨울 2026/" }), photo("winter"))
	if !strings.HasPrefix(address, "https://images.example.com/a/%EA%B2%A8%EC%9A%B8%202026/") {
		t.Errorf("a prefix of words gives %s", address)
	}
}

// The endpoint that every AWS tool finds in the environment is found here too, and
// the bucket is in the path there.
func TestTheEndpointOfTheEnvironment(t *testing.T) {
	s := newStore(t)
	t.Setenv("AWS_ENDPOINT_URL_S3", s.URL)
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	b, err := hosting.New(t.Context(), hosting.Config{Bucket: "pictures", BaseURL: "https://images.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Put(t.Context(), photo("x")); err != nil || s.calls[http.MethodPut] != 1 {
		t.Errorf("%v, %v", err, s.calls)
	}
}
