package staging_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"postern/directory"
	"postern/directory/staging"
	"postern/mail"
)

// store is S3 in this process.
type store struct {
	*httptest.Server
	backend *s3mem.Backend
	mu      sync.Mutex
	hinder  func(http.ResponseWriter, *http.Request) bool // answers in S3's place
	calls   map[string]int                                // by method, and GET of lists apart
}

func newStore(t *testing.T) *store {
	t.Helper()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "ours", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "ap-northeast-2",
		"AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(name, value)
	}
	s := &store{backend: s3mem.New(), calls: map[string]int{}}
	if err := s.backend.CreateBucket("shop"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(s.backend).Server()
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[r.Method]++
		hinder := s.hinder
		s.mu.Unlock()
		if hinder == nil || !hinder(w, r) {
			fake.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *store) answers(hinder func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hinder = hinder
}

func (s *store) bucket(t *testing.T, c staging.Config) *staging.Bucket {
	t.Helper()
	if c.Bucket == "" {
		c.Bucket = "shop/first/"
	}
	c.Endpoint = s.URL
	b, err := staging.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// object is what S3 has of a key.
func (s *store) object(t *testing.T, key string) ([]byte, map[string]string) {
	t.Helper()
	o, err := s.backend.GetObject("shop", key, nil)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	defer o.Contents.Close()
	b, err := io.ReadAll(o.Contents)
	if err != nil {
		t.Fatal(err)
	}
	return b, o.Metadata
}

func (s *store) put(t *testing.T, key string, data []byte, metadata map[string]string) {
	t.Helper()
	if metadata == nil {
		metadata = map[string]string{}
	}
	if _, err := s.backend.PutObject("shop", key, metadata, bytes.NewReader(data), int64(len(data)), nil); err != nil {
		t.Fatal(err)
	}
}

// keys are those of all objects.
func (s *store) keys(t *testing.T) []string {
	t.Helper()
	list, err := s.backend.ListBucket("shop", nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, o := range list.Contents {
		keys = append(keys, o.Key)
	}
	slices.Sort(keys)
	return keys
}

func stage(t *testing.T, b *staging.Bucket, name string, users ...directory.User) {
	t.Helper()
	if err := b.Stage(t.Context(), name, users); err != nil {
		t.Fatal(err)
	}
}

func zip(t *testing.T, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func unzip(t *testing.T, data []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sentence(t *testing.T, what string, err error, class mail.Class, parts ...string) {
	t.Helper()
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != class {
		t.Errorf("%s: got %v, want an error of class %v", what, err, class)
		return
	}
	for _, p := range parts {
		if !strings.Contains(e.Public, p) {
			t.Errorf("%s: %q says nothing of %q", what, e.Public, p)
		}
	}
}

// odd are users of every kind that the sync may bring.
func odd() []directory.User {
	return []directory.User{
		{Email: "kim@example.com", Subscribed: true, Attributes: map[string]any{"Name": "김민 <\"&\">\n\x01", "Gender": nil, "CreateTime": json.Number("1700000000"),
			"Big": json.Number("12345678901234567890.5"), "VIP": true, "size of, shoe": "245", "Nothing": "",
			"Tags": []any{"a", json.Number("2"), false, nil, []any{}}, "Address": map[string]any{"city": "서울", "lines": []any{map[string]any{"n": json.Number("-1")}}}}},
		{Email: "no@example.com", Attributes: map[string]any{"Name": nil, "Gender": "Male", "size of, shoe": nil}},
		{Email: "kept@example.com", KeepStatus: true, Attributes: map[string]any{"Name": "x", "Gender": "y"}},
		{Email: "left@example.com", Subscribed: true, OptOut: []string{"promo", "news"}, Attributes: map[string]any{"Name": "x", "Gender": "y"}},
		{Email: "all@example.com", Subscribed: true, OptOut: []string{directory.AllLists}, Attributes: map[string]any{"Name": "x", "Gender": "y"}},
	}
}

func TestAChunkIsReadBackAsItWasStaged(t *testing.T) {
	b := newStore(t).bucket(t, staging.Config{})
	stage(t, b, "load/0001", directory.User{Email: "old@example.com"})
	stage(t, b, "load/0001", odd()...)
	got, err := b.Chunk(t.Context(), "load/0001")
	if err != nil {
		t.Fatal(err)
	}
	want := odd()
	for i := range want {
		for _, name := range []string{"Name", "Gender", "size of, shoe"} { // empty somewhere in the chunk
			if _, ok := want[i].Attributes[name]; !ok {
				want[i].Attributes[name] = nil
			}
		}
	}
	want[3].OptOut = []string{"news", "promo"}
	want[4].Subscribed = false // who has left all lists is not subscribed
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("got  %#v\nwant %#v", got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d users", len(got))
	}
	stage(t, b, "load/0002")
	if got, err := b.Chunk(t.Context(), "load/0002"); err != nil || len(got) != 0 {
		t.Errorf("an empty chunk: %v, %v", got, err)
	}
}

func TestAnObjectIsWhatDynamoDBImports(t *testing.T) {
	s := newStore(t)
	stage(t, s.bucket(t, staging.Config{Bucket: "shop/first/load"}), "7/0001", odd()[1:4]...)
	data, metadata := s.object(t, "first/load/7/0001.json.gz")
	want := `{"Item":{"Email":{"S":"no@example.com"},"Gender":{"S":"Male"},"SubscriptionStatus":{"BOOL":false}}}
{"Item":{"Email":{"S":"kept@example.com"},"Gender":{"S":"y"},"Name":{"S":"x"}}}
{"Item":{"Email":{"S":"left@example.com"},"Gender":{"S":"y"},"Name":{"S":"x"},"OptOut":{"SS":["news","promo"]},"SubscriptionStatus":{"BOOL":true}}}
`
	if got := unzip(t, data); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if metadata["Content-Type"] != "application/gzip" || metadata["X-Amz-Meta-Empty"] != "Name,size+of%2C+shoe" {
		t.Errorf("metadata %v", metadata)
	}
}

func TestAUserThatNoDirectoryHoldsIsNotStaged(t *testing.T) {
	s := newStore(t)
	err := s.bucket(t, staging.Config{}).Stage(t.Context(), "0001", []directory.User{{Email: "a@example.com"}, {Email: ""}})
	sentence(t, "no key", err, mail.Permanent, "cannot be stored")
	if keys := s.keys(t); len(keys) != 0 {
		t.Errorf("%v were staged", keys)
	}
}

func TestADamagedChunkIsNotRead(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, staging.Config{})
	stage(t, b, "0001", odd()...)
	whole, _ := s.object(t, "first/0001.json.gz")
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	const fine = `{"Item":{"Email":{"S":"a@example.com"}}}` + "\n"
	for name, data := range map[string][]byte{
		"cut":                     whole[:len(whole)-1],
		"cut in its middle":       whole[:len(whole)/2],
		"a bit flipped":           flipped,
		"empty":                   {},
		"not compressed":          []byte(fine),
		"half a line":             zip(t, fine+`{"Item":{"Email":{"S":"b@example`),
		"no item":                 zip(t, fine+"{}\n"),
		"a key of another type":   zip(t, `{"Item":{"Email":{"N":"1"}}}`),
		"a status of another":     zip(t, `{"Item":{"Email":{"S":"a"},"SubscriptionStatus":{"S":"true"}}}`),
		"an OptOut of another":    zip(t, `{"Item":{"Email":{"S":"a"},"OptOut":{"L":[{"S":"promo"}]}}}`),
		"a type that is none":     zip(t, `{"Item":{"Email":{"S":"a"},"Name":{"X":"1"}}}`),
		"two types":               zip(t, `{"Item":{"Email":{"S":"a"},"Name":{"S":"1","N":"1"}}}`),
		"a text of another kind":  zip(t, `{"Item":{"Email":{"S":"a"},"Name":{"S":1}}}`),
		"a number that is none":   zip(t, `{"Item":{"Email":{"S":"a"},"Name":{"N":"1x"}}}`),
		"a list with what is not": zip(t, `{"Item":{"Email":{"S":"a"},"Name":{"L":[{"S":"a"},{}]}}}`),
	} {
		s.put(t, "first/0003.json.gz", data, nil)
		users, err := b.Chunk(t.Context(), "0003")
		sentence(t, name, err, mail.Permanent, "the chunk 0003 in the bucket shop/first is damaged")
		if users != nil {
			t.Errorf("%s: gave %d users", name, len(users))
		}
	}
	s.put(t, "first/0003.json.gz", whole, map[string]string{"X-Amz-Meta-Empty": "%zz"})
	_, err := b.Chunk(t.Context(), "0003")
	sentence(t, "metadata", err, mail.Permanent, "damaged")
	s.put(t, "first/0001.json.gz", zip(t, fine), nil) // its checksum stays
	_, err = b.Chunk(t.Context(), "0001")
	sentence(t, "not what was staged", err, mail.Permanent, "the chunk 0001 in the bucket shop/first is damaged")
	s.answers(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		_, _ = w.Write(whole[:len(whole)/2])
		return true // the connection breaks
	})
	_, err = b.Chunk(t.Context(), "0001")
	sentence(t, "the connection breaks", err, mail.Temporary, "cannot be reached")
	s.answers(nil)
	_, err = b.Chunk(t.Context(), "0002")
	sentence(t, "gone", err, mail.Permanent, "has no chunk 0002")
}

func TestTheImportIsToldWhatWasStaged(t *testing.T) {
	s := newStore(t)
	began := time.Now().Add(-time.Second)
	asked := &asks{missing: true}
	b := s.bucket(t, staging.Config{Table: asked})
	if missing, err := b.Missing(t.Context()); err != nil || !missing {
		t.Errorf("missing: %v %v", missing, err)
	}
	nobody := func(int64) { t.Error("progress of nothing") }
	_, err := b.Import(t.Context(), "load-1/", nobody)
	sentence(t, "nothing staged", err, mail.Permanent, "has no chunks load-1/*")
	stage(t, b, "load-1/0001", odd()...)
	stage(t, b, "load-1/0002", odd()...)
	var told int64
	done, err := b.Import(t.Context(), "load-1/", func(n int64) { told = n })
	if !done || err != nil || told != 7 || asked.bucket != "shop" || asked.prefix != "first/load-1/" {
		t.Errorf("%v %v, told %d, asked for %+v", done, err, told, asked)
	}
	if asked.staged.Before(began) || asked.staged.After(time.Now().Add(time.Second)) {
		t.Errorf("staged at %v", asked.staged)
	}
	// A directory that imports nothing, such as the embedded one, has its table.
	none := s.bucket(t, staging.Config{})
	if done, err := none.Import(t.Context(), "load-1/", nobody); done || err != nil {
		t.Errorf("%v %v", done, err)
	}
	if missing, err := none.Missing(t.Context()); missing || err != nil {
		t.Errorf("missing: %v %v", missing, err)
	}
}

// asks is a table that notes what it is asked for.
type asks struct {
	missing        bool
	bucket, prefix string
	staged         time.Time
}

func (a *asks) Missing(context.Context) (bool, error) { return a.missing, nil }

func (a *asks) Import(_ context.Context, bucket, prefix string, staged time.Time, progress func(int64)) (bool, error) {
	a.bucket, a.prefix, a.staged = bucket, prefix, staged
	progress(7)
	return true, nil
}

// refuse answers as S3 does.
func refuse(status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>no</Message><RequestId>1</RequestId></Error>", code)
		return true
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, staging.Config{Table: &asks{}})
	for name, c := range map[string]struct {
		hinder func(http.ResponseWriter, *http.Request) bool
		class  mail.Class
		want   string
	}{
		"no bucket":     {refuse(404, "NoSuchBucket"), mail.Temporary, "does not exist"},
		"no permission": {refuse(403, "AccessDenied"), mail.AccountWide, "the role needs s3:PutObject, s3:GetObject and s3:DeleteObject"},
		"wrong key":     {refuse(403, "InvalidAccessKeyId"), mail.AccountWide, "renew them (InvalidAccessKeyId)"},
		"wrong clock":   {refuse(403, "RequestTimeTooSkewed"), mail.Temporary, "clock"},
		"wrong region":  {refuse(301, "PermanentRedirect"), mail.Temporary, "in another region"},
		"throttled":     {refuse(503, "SlowDown"), mail.Throttled, "throttles us"},
		"many names":    {refuse(400, "MetadataTooLarge"), mail.Temporary, "leave sync.s3_bucket empty"},
		"other octets":  {refuse(400, "BadDigest"), mail.Temporary, "other octets than we sent"},
		"broken":        {refuse(500, "InternalError"), mail.Temporary, "failed with HTTP 500"},
		"no S3":         {refuse(418, "Teapot"), mail.Temporary, "answers HTTP 418 (Teapot)"},
	} {
		s.answers(c.hinder)
		_, chunkErr := b.Chunk(t.Context(), "0001")
		_, importErr := b.Import(t.Context(), "0", func(int64) {})
		for doing, err := range map[string]error{"Stage": b.Stage(t.Context(), "0001", odd()), "Chunk": chunkErr, "Import": importErr, "Drop": b.Drop(t.Context(), "0")} {
			sentence(t, name+", "+doing, err, c.class, c.want, "the bucket shop/first")
		}
	}
	s.answers(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Stage(ctx, "0001", odd()); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	s.Close()
	sentence(t, "away", b.Stage(t.Context(), "0001", odd()), mail.Temporary, "cannot be reached")
}

func TestTheConfigurationIsChecked(t *testing.T) {
	newStore(t) // the environment
	for name, c := range map[string]struct {
		config staging.Config
		region string
		want   string
	}{
		"no bucket": {staging.Config{Bucket: "/"}, "x", "sync.s3_bucket"},
		"endpoint":  {staging.Config{Bucket: "shop", Endpoint: "127.0.0.1:9000"}, "x", "endpoint"},
		"no region": {staging.Config{Bucket: "shop"}, "", "no AWS region"},
	} {
		t.Setenv("AWS_REGION", c.region)
		_, err := staging.New(t.Context(), c.config)
		sentence(t, name, err, mail.Permanent, c.want)
	}
}
