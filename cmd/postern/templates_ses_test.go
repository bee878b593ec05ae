package main_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	sestypes "github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"postern/internal/peer"
)

// oldSystem are emulators of what the old system had, made by others. What goes to
// SES and to S3 passes a gate that counts.
type oldSystem struct {
	ses, s3  *gate
	dynamodb string
}

// gate passes requests on and counts them by method and path.
type gate struct {
	*httptest.Server
	shut  atomic.Bool // nobody answers
	limit atomic.Int32
	mu    sync.Mutex
	seen  map[string]int
}

func (g *gate) count(method, part string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for what, times := range g.seen {
		if strings.HasPrefix(what, method+" ") && strings.Contains(what, part) {
			n += times
		}
	}
	return n
}

func newGate(t *testing.T, to http.Handler) *gate {
	g := &gate{seen: map[string]int{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.shut.Load() {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		g.mu.Lock()
		g.seen[r.Method+" "+r.URL.Path]++
		g.mu.Unlock()
		if g.limit.Add(-1) >= 0 {
			w.Header().Set("X-Amzn-ErrorType", "TooManyRequestsException")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"message":"Too many requests"}`)
			return
		}
		to.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

const winterPage = `<html><head><title>{{Subject}}</title></head><body><h1>겨울 {{Name}}</h1><img src="{{image:로고.gif}}" alt="로고">{{Body}}<p><a href="{{Unsubscribe}}">나가기</a></p></body></html>`
const winterText = "겨울 {{Name}}\n\n{{Body}}\n\n{{Unsubscribe}}\n"

// openOldSystem has the template winter, with one picture.
func openOldSystem(t *testing.T) *oldSystem {
	t.Helper()
	port := peer.Port(t)
	peer.Start(t, port, peer.Command(t, "node"), filepath.Join(peer.NodeModules(t), "aws-ses-v2-local", "dist", "cli.js"), "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	to, _ := url.Parse(fmt.Sprintf("http://127.0.0.1:%d", port))
	backend := s3mem.New()
	o := &oldSystem{ses: newGate(t, httputil.NewSingleHostReverseProxy(to)), s3: newGate(t, gofakes3.New(backend).Server()), dynamodb: peer.Dynalite(t)}
	who := credentials.NewStaticCredentialsProvider("test", "test", "")
	mails := sesv2.New(sesv2.Options{Region: "us-east-1", BaseEndpoint: &o.ses.URL, Credentials: who})
	id, subject, html, text := "winter", "[가게] {{Subject}}", winterPage, winterText
	if _, err := mails.CreateEmailTemplate(t.Context(), &sesv2.CreateEmailTemplateInput{TemplateName: &id, TemplateContent: &sestypes.EmailTemplateContent{Subject: &subject, Html: &html, Text: &text}}); err != nil {
		t.Fatal(err)
	}
	table := dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &o.dynamodb, Credentials: who})
	name, key := "ImageAndTemplate", "TemplateID"
	if _, err := table.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}}}); err != nil {
		t.Fatal(err)
	}
	err := dynamodb.NewTableExistsWaiter(table, func(w *dynamodb.TableExistsWaiterOptions) { w.MinDelay, w.MaxDelay = 20e6, 50e6 }).
		Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, 30e9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: map[string]types.AttributeValue{key: &types.AttributeValueMemberS{Value: id},
		"TemplateName": &types.AttributeValueMemberS{Value: "겨울 소식"},
		"ImageURLs":    &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberS{Value: "https://pics.s3.ap-northeast-2.amazonaws.com/2026/%EB%A1%9C%EA%B3%A0.gif"}}}}}); err != nil {
		t.Fatal(err)
	}
	bucket, object := "pics", "2026/로고.gif"
	objects := s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &o.s3.URL, Credentials: who, UsePathStyle: true})
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	if err := backend.CreateBucket("hosted"); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &object, Body: strings.NewReader(gif)}); err != nil {
		t.Fatal(err)
	}
	return o
}

// config is where the configuration has the templates of o.
func (o *oldSystem) config(more string) string {
	return maildirLane + fmt.Sprintf("[templates]\ndriver = \"ses\"\nses_endpoint = %q\ndynamodb_endpoint = %q\ns3_endpoint = %q\n%s", o.ses.URL, o.dynamodb, o.s3.URL, more)
}

// campaignOf sends one mail in the template winter and gives the copies, with what
// differs from run to run taken out.
func campaignOf(t *testing.T, g *gateway) map[string]string {
	t.Helper()
	g.csv("a@example.net,김민,Female,true", "b@example.net,Lee <x>,Male,true")
	g.serve()
	g.mustSubmit("promo+winter@lists.example.com", mailOf("1", "promo@lists.example.com", "Hi {{Name}}", "words for {{Name}}"))
	g.settled("done")
	got := map[string]string{}
	for i, p := range g.read(g.outbox()) {
		raw := string(g.outbox()[i])
		got[p.To[0]] = strings.ReplaceAll(fmt.Sprintf("%s\n%s\n%s\n%d parts, %d pictures", p.Subject, p.Text, p.HTML, strings.Count(raw, "\r\nContent-Type:"), strings.Count(raw, "R0lGODlhAQAB")), p.link(t), "LINK")
	}
	g.stop()
	return got
}

// TestTheOldSystemsTemplatesGiveTheSameCopies as the files do, whether the
// configuration says where they are or the environment does.
func TestTheOldSystemsTemplatesGiveTheSameCopies(t *testing.T) {
	files := newGateway(t, maildirLane)
	files.template("winter", winterPage, winterText)
	files.put("templates/winter/subject.txt", "[가게] {{Subject}}\n")
	files.put("templates/winter/images/로고.gif", gif)
	want := campaignOf(t, files)
	if a := want["a@example.net"]; len(want) != 2 || !strings.HasPrefix(a, "[가게] Hi 김민\n") || !strings.HasSuffix(a, "1 pictures") || !strings.Contains(a, "<p>words for 김민</p>") {
		t.Fatalf("%q", want)
	}
	o := openOldSystem(t)
	same := func(what string, got map[string]string) {
		t.Helper()
		for to := range want {
			if got[to] != want[to] {
				t.Errorf("%s: %s got\n%s\nwant\n%s", what, to, got[to], want[to])
			}
		}
	}
	same("configuration", campaignOf(t, newGateway(t, o.config(""))))
	for name, value := range map[string]string{"SESV2": o.ses.URL, "DYNAMODB": o.dynamodb, "S3": strings.Replace(o.s3.URL, "127.0.0.1", "localhost", 1)} {
		t.Setenv("AWS_ENDPOINT_URL_"+name, value)
	}
	same("environment", campaignOf(t, newGateway(t, maildirLane+"[templates]\ndriver = \"ses\"\n")))
}

// TestManyMailsFetchATemplateOnce, also when SES throttles the first question.
func TestManyMailsFetchATemplateOnce(t *testing.T) {
	o := openOldSystem(t)
	g := newGateway(t, o.config(""))
	g.csv("a@example.net,Kim,Female,true")
	g.serve()
	o.ses.limit.Store(1)
	var all sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		all.Go(func() {
			errs[i] = g.submit("promo+winter@lists.example.com", mailOf(fmt.Sprint(i), "promo@lists.example.com", "Hi", "words"))
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("mail %d: %v", i, err)
		}
	}
	if n := o.ses.count("GET", "/templates"); n != 2 {
		t.Errorf("SES was asked %d times, want once and once more after the throttle", n)
	}
	if n := o.s3.count("GET", "gif"); n != 1 {
		t.Errorf("the picture was fetched %d times", n)
	}
	if list := g.settled("done"); len(list) != len(errs) {
		t.Errorf("%d messages", len(list))
	}
	g.stop()
}

// TestWhileSESCannotBeAsked mail in a template that was fetched goes on, and the log
// says so; mail in another is put off, and taken when SES is there again.
func TestWhileSESCannotBeAsked(t *testing.T) {
	o := openOldSystem(t)
	g := newGateway(t, o.config("cache = \"0s\"\n"))
	g.csv("a@example.net,Kim,Female,true")
	g.serve()
	send := func(id string) error {
		return g.submit("promo+winter@lists.example.com", mailOf(id, "promo@lists.example.com", "Hi", "words"))
	}
	o.ses.shut.Store(true)
	if err := send("1"); err == nil || !strings.Contains(err.Error(), "451") || !strings.Contains(err.Error(), "the template winter cannot be fetched now: Amazon SES") {
		t.Errorf("before it was fetched: %v", err)
	}
	o.ses.shut.Store(false)
	g.wait("taken when the client tries again", func() (string, bool) {
		err := send("1")
		return fmt.Sprint(err), err == nil
	})
	g.settled("done")
	o.ses.shut.Store(true)
	if err := send("2"); err != nil {
		t.Errorf("after it was fetched: %v", err)
	}
	g.settled("done")
	if log := g.log.String(); !strings.Contains(log, "templates cannot be fetched; those in memory are used meanwhile") || !strings.Contains(log, "kept=true") {
		t.Errorf("the log does not say so:\n%s", log)
	}
	if n := len(g.outbox()); n != 2 {
		t.Errorf("%d copies", n)
	}
	g.stop()
}

// photograph is a mail with a PNG of size octets.
func photograph(id string, size int) string {
	return "From: Marketer <marketer@example.com>\nTo: promo@lists.example.com\nSubject: Hi\nMessage-ID: <" + id + "@example.com>\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>{{Name}} <img src=\"cid:p@x\"> {{Unsubscribe}}</p>\n--b\n" +
		"Content-Type: image/png; name=p.png\nContent-ID: <p@x>\nContent-Transfer-Encoding: base64\n\n" + base64Lines(append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte("picture "), size/8)...)) + "--b--\n"
}

// TestLargePicturesAreHosted: five copies of two mails leave without the picture,
// which was uploaded once; while the bucket cannot be asked it goes with the mail, and
// the log says so.
func TestLargePicturesAreHosted(t *testing.T) {
	o := openOldSystem(t)
	for name, where := range map[string]string{"configuration": fmt.Sprintf("s3_endpoint = %q\n", o.s3.URL), "environment": ""} {
		t.Run(name, func(t *testing.T) {
			if where == "" {
				t.Setenv("AWS_ENDPOINT_URL_S3", strings.Replace(o.s3.URL, "127.0.0.1", "localhost", 1)) // no address of numbers, where the SDK would know of itself that buckets are in the path
			}
			puts := o.s3.count("PUT", "/hosted/")
			g := newGateway(t, maildirLane+"[templates]\nhost_images_over = 100000\nhost_bucket = \"hosted\"\nhost_base_url = \"https://img.example.com/mail\"\n"+where)
			g.users(5)
			g.serve()
			for _, id := range []string{"1", "2"} {
				g.mustSubmit("promo@lists.example.com", photograph(name+id, 200_000))
			}
			g.settled("done")
			mails := g.outbox()
			for i, p := range g.read(mails) {
				if len(mails[i]) > 10_000 || !strings.Contains(p.HTML, `<img src="https://img.example.com/mail/`) || strings.Contains(p.HTML, "cid:") {
					t.Errorf("a copy of %d octets: %s", len(mails[i]), p.HTML)
				}
			}
			if n := o.s3.count("PUT", "/hosted/"); len(mails) != 10 || n-puts > 1 || n == 0 {
				t.Errorf("%d copies, %d uploads", len(mails), n-puts)
			}
			puts = o.s3.count("PUT", "/hosted/")
			if err := g.submit("promo@lists.example.com", strings.Replace(photograph(name+"x", 220_000), "marketer@example.com", "somebody@else.example", 1)); err == nil || o.s3.count("PUT", "/hosted/") != puts {
				t.Errorf("a mail that may not be sent: %v, %d uploads", err, o.s3.count("PUT", "/hosted/")-puts)
			}
			g.empty()
			o.s3.shut.Store(true)
			defer o.s3.shut.Store(false)
			g.mustSubmit("promo@lists.example.com", photograph(name+"3", 240_000))
			g.settled("done")
			for _, raw := range g.outbox() {
				if len(raw) < 300_000 || !strings.Contains(string(raw), "\r\nContent-ID: <p@x>") {
					t.Errorf("a copy of %d octets while the bucket was away", len(raw))
				}
			}
			if log := g.log.String(); !strings.Contains(log, "a large picture is not hosted") || !strings.Contains(log, "stays in every copy: the bucket hosted cannot be reached") {
				t.Errorf("the log does not say so:\n%s", log)
			}
			g.stop()
		})
	}
}

func base64Lines(b []byte) string {
	var out strings.Builder
	for chunk := range slices.Chunk(b, 57) {
		out.WriteString(base64.StdEncoding.EncodeToString(chunk) + "\n")
	}
	return out.String()
}
