package templates_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

// amazon answers in the place of AWS, without a network, so that it can be used
// in a bubble. A nil function answers that all is well and empty.
type amazon struct {
	ses, table, s3 http.HandlerFunc

	mu  sync.Mutex
	log []string // "ses GET /v2/email/templates/a", "table GetItem", "s3 GET /b/k"
}

func (a *amazon) Do(q *http.Request) (*http.Response, error) {
	f, what := a.s3, "s3 "+q.Method+" "+q.URL.Path
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(aPNG()) }
	if target := q.Header.Get("X-Amz-Target"); target != "" {
		_, op, _ := strings.Cut(target, ".")
		f, what, ok = a.table, "table "+op, func(w http.ResponseWriter, _ *http.Request) { tableSays(w, 200, `{}`) }
	} else if strings.HasPrefix(q.URL.Path, "/v2/email/") {
		f, what, ok = a.ses, "ses "+q.Method+" "+q.URL.Path, sesTemplate
	}
	if f == nil {
		f = ok
	}
	a.mu.Lock()
	a.log = append(a.log, what)
	a.mu.Unlock()
	w := httptest.NewRecorder()
	f(w, q)
	if err := q.Context().Err(); err != nil {
		return nil, err
	}
	r := w.Result()
	r.Request = q
	return r, nil
}

func (a *amazon) count(prefix string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func sesTemplate(w http.ResponseWriter, q *http.Request) {
	name := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
	fmt.Fprintf(w, `{"TemplateName":%q,"TemplateContent":{"Subject":"s","Html":"<p>","Text":"first"}}`, name)
}

func refuse(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", code)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":"words of Amazon"}`)
	}
}

func tableSays(w http.ResponseWriter, status int, body string) {
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte(body))))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func tableRefuses(code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		tableSays(w, 400, fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"words of Amazon"}`, code))
	}
}

func rowWith(urls ...string) http.HandlerFunc {
	var l []string
	for _, u := range urls {
		l = append(l, fmt.Sprintf(`{"S":%q}`, u))
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		tableSays(w, 200, `{"Item":{"TemplateID":{"S":"a"},"ImageURLs":{"L":[`+strings.Join(l, ",")+`]}}}`)
	}
}

func s3Refuses(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>words of Amazon</Message></Error>`, code)
	}
}

func (a *amazon) open(t *testing.T, change ...func(*templates.Config)) *templates.SES {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	return a.openHere(t, change...)
}

func (a *amazon) openHere(t *testing.T, change ...func(*templates.Config)) *templates.SES {
	t.Helper()
	c := templates.Config{Region: "ap-northeast-2", SESEndpoint: "http://ses.test", DynamoDBEndpoint: "http://dynamodb.test", S3Endpoint: "http://s3.test", Table: "ImageAndTemplate", Bucket: "hosted"}
	for _, f := range change {
		f(&c)
	}
	s, err := templates.NewSES(t.Context(), c.Over(a))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// SES of the old system's account: of all questions in a second it answers one.
func onceASecond(then http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	var last time.Time
	return func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		now := time.Now()
		answer := now.Sub(last) >= time.Second
		if answer {
			last = now
		}
		mu.Unlock()
		if !answer {
			refuse(429, "TooManyRequestsException")(w, q)
			return
		}
		then(w, q)
	}
}

func TestAThrottlingSESIsAskedOnceForEachTemplateAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &amazon{ses: onceASecond(sesTemplate), table: rowWith("s3://pics/a.png")}
		c := templates.NewCache(a.openHere(t), 10*time.Minute, nil)
		for round := 1; round <= 5; round++ {
			var all sync.WaitGroup
			for i := range 200 { // more than 255 at once are too many for the race detector
				all.Go(func() {
					for turn := range 3 {
						id := string(rune('a' + (i+turn)%3))
						if f := got(t, c, id, "first"); f.Template != nil && len(f.Template.Images) != 1 {
							t.Errorf("%s has %d pictures", id, len(f.Template.Images))
						}
					}
				})
			}
			start := time.Now()
			all.Wait()
			if took := time.Since(start); took > 9*time.Second {
				t.Errorf("round %d took %v", round, took)
			}
			if n := a.count("table GetItem"); n != 3*round {
				t.Errorf("round %d: %d rows were read, want 3 a round", round, n)
			}
			if n := a.count("s3 GET"); n != 3*round {
				t.Errorf("round %d: %d pictures were read, want 3 a round", round, n)
			}
			// Those that were throttled were asked again, and no more than one a second passes.
			if n := a.count("ses GET"); n < 3*round || n > 5*round {
				t.Errorf("round %d: SES was asked %d times", round, n)
			}
			pass(10 * time.Minute)
		}
	})
}

func TestSESIsAskedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &amazon{}
		s := a.openHere(t)
		start := time.Now()
		for i := range 10 {
			if _, err := s.Template(t.Context(), fmt.Sprint("t", i)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 8400*time.Millisecond {
			t.Errorf("ten templates took %v, want 8.4 s after a burst of two", took)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		late := 0
		start = time.Now()
		for i := range 30 {
			all.Go(func() {
				_, err := s.Template(t.Context(), fmt.Sprint("t", i))
				if err == nil {
					return
				}
				says(t, err, mail.Throttled, "once a second at most")
				if took := time.Since(start); took != 0 {
					t.Errorf("that too many wait was said after %v", took)
				}
				mu.Lock()
				late++
				mu.Unlock()
			})
		}
		all.Wait()
		if took := time.Since(start); took > 10*time.Second || late != 21 {
			t.Errorf("%d of 30 were refused, after %v", late, took)
		}
	})
}

func TestAHangingAmazonIsGivenUp(t *testing.T) {
	hang := func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }
	for name, a := range map[string]*amazon{"ses": {ses: hang}, "table": {table: hang}, "s3": {table: rowWith("s3://pics/a.png"), s3: hang}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := a.openHere(t).Template(t.Context(), "a")
				says(t, err, mail.Unreachable, "does not answer in time")
				if took := time.Since(start); took != 10*time.Second {
					t.Errorf("it took %v", took)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				if _, err = a.openHere(t).Template(ctx, "a"); !errors.Is(err, context.Canceled) {
					t.Errorf("stopped: %v", err)
				}
			})
		})
	}
	slow := func(w http.ResponseWriter, _ *http.Request) { pass(9 * time.Second); _, _ = w.Write(aPNG()) }
	synctest.Test(t, func(t *testing.T) {
		a := &amazon{table: rowWith("s3://pics/a.png", "s3://pics/b.png", "s3://pics/c.png", "s3://pics/d.png", "s3://pics/e.png"), s3: slow}
		_, err := a.openHere(t).Template(t.Context(), "a")
		says(t, err, mail.Unreachable, "S3", "does not answer in time")
		if n := a.count("s3 GET"); n != 4 {
			t.Errorf("%d pictures were asked for in 30 s", n)
		}
	})
}

func TestWhatAmazonRefusesIsSaid(t *testing.T) {
	picture := rowWith("s3://pics/a.png", "https://eur.s3.eu-west-1.amazonaws.com/b.png?X-Amz-Signature=secret")
	for name, c := range map[string]struct {
		a     *amazon
		class mail.Class
		want  []string
	}{
		"unknown":              {&amazon{ses: refuse(404, "NotFoundException")}, mail.Permanent, []string{"there is no template"}},
		"SES permission":       {&amazon{ses: refuse(403, "AccessDeniedException")}, mail.AccountWide, []string{"Amazon SES", "ses:GetEmailTemplate"}},
		"SES credentials":      {&amazon{ses: refuse(403, "ExpiredTokenException")}, mail.AccountWide, []string{"credentials", "clock"}},
		"SES throttles":        {&amazon{ses: refuse(429, "TooManyRequestsException")}, mail.Throttled, []string{"slower"}},
		"SES is ill":           {&amazon{ses: refuse(500, "InternalServiceErrorException")}, mail.Temporary, []string{"Amazon SES failed"}},
		"a page, not SES":      {&amazon{ses: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>not found", 404) }}, mail.Temporary, []string{"Amazon SES"}},
		"table permission":     {&amazon{table: tableRefuses("AccessDeniedException")}, mail.AccountWide, []string{"the DynamoDB table ImageAndTemplate", "dynamodb:GetItem"}},
		"no table":             {&amazon{table: tableRefuses("ResourceNotFoundException")}, mail.Temporary, []string{"does not exist", "table in [templates]"}},
		"table throttles":      {&amazon{table: tableRefuses("ProvisionedThroughputExceededException")}, mail.Throttled, []string{"slower"}},
		"S3 permission":        {&amazon{table: picture, s3: s3Refuses(403, "AccessDenied")}, mail.AccountWide, []string{"picture 1 of ImageURLs (a.png)", "bucket pics", "s3:GetObject"}},
		"S3 throttles":         {&amazon{table: picture, s3: s3Refuses(503, "SlowDown")}, mail.Throttled, []string{"S3", "slower"}},
		"S3 in another region": {&amazon{table: picture, s3: s3Refuses(301, "PermanentRedirect")}, mail.Permanent, []string{"another region"}},
		"S3 breaks off": {&amazon{table: picture, s3: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(aPNG())
		}}, mail.Unreachable, []string{"S3", "cannot be reached"}},
		"endless picture": {&amazon{table: picture, s3: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(sized(templates.MaxImage + 1000)) }}, mail.Permanent, []string{"a.png", "5 MB"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := c.a.openHere(t).Template(t.Context(), "a")
				says(t, err, c.class, c.want...)
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("%v repeats a signature", err)
				}
			})
		})
	}
}

// Against Amazon's own addresses: the region of an address is asked, the bucket
// is in the name, and an object without an address gets one.
func TestRegionsAndAddressesOfAmazonsOwnS3(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	a := &amazon{table: rowWith("s3://pics/d/a b+1.png", "https://eur.s3.eu-west-1.amazonaws.com/b.png", "s3://my.pics/c.png", "https://old.s3.amazonaws.com/e.png")}
	a.s3 = func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		asked = append(asked, q.URL.Host+q.URL.EscapedPath())
		mu.Unlock()
		_, _ = w.Write(aPNG())
	}
	own := func(c *templates.Config) { c.S3Endpoint = "" }
	got, err := a.open(t, own).Template(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for _, i := range got.Images {
		urls = append(urls, i.URL)
	}
	if got, want := strings.Join(urls, "\n"), strings.Join([]string{"https://pics.s3.ap-northeast-2.amazonaws.com/d/a%20b%2B1.png", "https://eur.s3.eu-west-1.amazonaws.com/b.png",
		"https://s3.ap-northeast-2.amazonaws.com/my.pics/c.png", "https://old.s3.amazonaws.com/e.png"}, "\n"); got != want {
		t.Errorf("the addresses are\n%s\nwant\n%s", got, want)
	}
	if got, want := strings.Join(asked, "\n"), strings.Join([]string{"pics.s3.ap-northeast-2.amazonaws.com/d/a%20b%2B1.png", "eur.s3.eu-west-1.amazonaws.com/b.png",
		"s3.ap-northeast-2.amazonaws.com/my.pics/c.png", "old.s3.ap-northeast-2.amazonaws.com/e.png"}, "\n"); got != want {
		t.Errorf("asked were\n%s\nwant\n%s", got, want)
	}
	got, err = a.open(t, own, linked).Template(t.Context(), "a")
	if err != nil || got.Images[0].URL != urls[0] || got.Images[0].Data != nil {
		t.Errorf("linked: %+v, %v", got, err)
	}
	// What every reader of the table understands is put into it.
	a.s3, a.table = s3Refuses(403, "AccessDenied"), nil // as S3 says of what is not there to whoever may not list
	plan, err := a.open(t, own).DryRun(t.Context(), &expand.Template{ID: "a", Subject: "s", HTML: "<p>", Text: "first", Images: []expand.Image{{Name: "x.png", Data: aPNG()}}})
	if err != nil || len(plan) != 2 || !strings.Contains(plan[0], "s3://hosted/a/x.png") {
		t.Errorf("%q, %v", plan, err)
	}
	_, err = a.open(t, own).Put(t.Context(), &expand.Template{ID: "a", Subject: "s", HTML: "<p>", Text: "first", Images: []expand.Image{{Name: "x.png", Data: aPNG()}}})
	says(t, err, mail.AccountWide, "s3:PutObject")
}

func TestNobodyListening(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	c := templates.Config{SESEndpoint: "http://127.0.0.1:1", DynamoDBEndpoint: "http://127.0.0.1:1", S3Endpoint: "http://127.0.0.1:1", Table: "x"}
	s, err := templates.NewSES(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Template(t.Context(), "a")
	says(t, err, mail.Unreachable, "Amazon SES cannot be reached")
}

func TestNoCredentialsIsSaid(t *testing.T) {
	s, err := templates.NewSES(t.Context(), templates.Config{Region: "ap-northeast-2"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Template(t.Context(), "a")
	says(t, err, mail.AccountWide, "no AWS credentials")
}
