package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"postern/internal/peer"
)

// watchedSystem is SES, table and bucket in emulators, and what was written to them.
type watchedSystem struct {
	mu     sync.Mutex
	writes []string
}

// newWatchedSystem makes them, and a config.toml that knows them, in a folder of its own.
func newWatchedSystem(t *testing.T) *watchedSystem {
	bucket := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(bucket.Close)
	return newWatchedSystemWith(t, bucket.URL, "test", "test")
}

// newWatchedSystemWith has its bucket in the S3 at bucket, which knows the keys.
func newWatchedSystemWith(t *testing.T, bucket, key, secret string) *watchedSystem {
	t.Helper()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	port := peer.Port(t)
	peer.Start(t, port, peer.Command(t, "node"), filepath.Join(peer.NodeModules(t), "aws-ses-v2-local", "dist", "cli.js"), "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	table := peer.Dynalite(t)
	makeOldPlaces(t, table, bucket, credentials.NewStaticCredentialsProvider(key, secret, ""))
	w := &watchedSystem{}
	inFolder(t, nil)
	more := fmt.Sprintf("[fields]\nName = {}\n[templates]\nregion = \"ap-northeast-2\"\nhost_bucket = \"shop/mail\"\nses_endpoint = %q\ndynamodb_endpoint = %q\ns3_endpoint = %q\n",
		w.before(t, fmt.Sprintf("http://127.0.0.1:%d", port)), w.before(t, table), w.before(t, bucket))
	if err := os.WriteFile("config.toml", []byte(previewConfig+more), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("ses.toml", []byte(previewConfig+more+"driver = \"ses\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func makeOldPlaces(t *testing.T, table, bucket string, who aws.CredentialsProvider) {
	t.Helper()
	name, key := "ImageAndTemplate", "TemplateID"
	_, err := dynamodb.New(dynamodb.Options{Region: "ap-northeast-2", BaseEndpoint: &table, Credentials: who}).CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}}})
	if err != nil {
		t.Fatal(err)
	}
	shop := "shop"
	if _, err := s3.New(s3.Options{Region: "ap-northeast-2", BaseEndpoint: &bucket, Credentials: who, UsePathStyle: true}).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &shop}); err != nil {
		t.Fatal(err)
	}
}

// before stands before an emulator and notes what is written to it.
func (w *watchedSystem) before(t *testing.T, emulator string) string {
	t.Helper()
	to, err := url.Parse(emulator)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		call := r.Method + " " + r.URL.Path
		_, target, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if target != "" {
			call, reads = target, strings.Contains(target, "Get")
		}
		if !reads {
			w.mu.Lock()
			w.writes = append(w.writes, call)
			w.mu.Unlock()
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// written are the writes since it was asked last.
func (w *watchedSystem) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.writes
	w.writes = nil
	return all
}

// carry runs a command and holds its exit code.
func carry(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := run(t, "", append([]string{"templates"}, args...)...)
	if code != want {
		t.Fatalf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return stdout, stderr
}

// sampleInto puts the sample template into folder/ID.
func sampleInto(t *testing.T, root, folder string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := os.CopyFS(filepath.Join(folder, id), os.DirFS(filepath.Join(root, "templates", "winter"))); err != nil {
			t.Fatal(err)
		}
	}
}

// sameFiles holds that two folders hold the same.
func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	read := func(dir string) map[string]string {
		all := map[string]string{}
		_ = filepath.Walk(dir, func(p string, i os.FileInfo, err error) error {
			if err != nil || i.IsDir() {
				return err
			}
			text, err := os.ReadFile(p)
			all[strings.TrimPrefix(p, dir)] = string(text)
			return err
		})
		return all
	}
	got, want := read(a), read(b)
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s%s differs from %s%[2]s", a, name, b)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files in %s, %d in %s", len(got), a, len(want), b)
	}
}

func TestTemplatesArePushedAndPulledOnce(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	w := newWatchedSystem(t)
	sampleInto(t, root, "templates", "spring", "winter")

	out, _ := carry(t, 0, "push", "--dry-run")
	if !strings.Contains(out, "spring: the template is made in SES\n") || !strings.HasSuffix(out, "\n2 templates would be brought from templates to SES; nothing was changed\n") {
		t.Errorf("the dry run says\n%s", out)
	}
	if all := w.written(); all != nil {
		t.Errorf("the dry run wrote %q", all)
	}
	planned := strings.SplitAfter(out, "\n")
	out, _ = carry(t, 0, "push")
	if done := strings.SplitAfter(out, "\n"); !slices.Equal(done[:len(done)-2], planned[:len(planned)-2]) || done[len(done)-2] != "2 templates were brought from templates to SES\n" {
		t.Errorf("planned\n%s\ndone\n%s", planned, done)
	}
	if all := w.written(); len(all) != 10 || !slices.Contains(all, "PUT /shop/mail/winter/logo.png") || !slices.Contains(all, "UpdateItem") {
		t.Errorf("the push wrote %q", all)
	}
	out, _ = carry(t, 0, "push")
	if all := w.written(); all != nil || out != "nothing to do: 2 templates are the same in SES as in templates\n" {
		t.Errorf("the second push wrote %q and said %s", all, out)
	}

	out, _ = carry(t, 0, "pull", "winter", "--to", "pulled", "--dry-run")
	if !strings.HasSuffix(out, "\n1 template would be brought from SES to pulled; nothing was changed\n") {
		t.Errorf("the dry run says\n%s", out)
	}
	if _, err := os.Stat("pulled"); err == nil {
		t.Error("the dry run made a folder")
	}
	carry(t, 0, "pull", "--to", "pulled")
	sameFiles(t, "pulled", "templates")
	out, _ = carry(t, 0, "pull", "--to", "pulled")
	if all := w.written(); all != nil || out != "nothing to do: 2 templates are the same in pulled as in SES\n" {
		t.Errorf("the second pull wrote %q and said %s", all, out)
	}

	t.Run("what changed alone is written", func(t *testing.T) {
		if err := os.WriteFile("templates/winter/purpose.txt", []byte("new\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := carry(t, 0, "push", "--json")
		var said struct {
			Changes, Changed, Unchanged []string
			Failed                      []any
		}
		if err := json.Unmarshal([]byte(out), &said); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(said.Changed, []string{"winter"}) || !slices.Equal(said.Unchanged, []string{"spring"}) || len(said.Changes) != 1 || len(said.Failed) != 0 {
			t.Errorf("said %s", out)
		}
		if all := w.written(); !slices.Equal(all, []string{"UpdateItem"}) {
			t.Errorf("wrote %q", all)
		}
	})
	t.Run("with the driver ses they are listed, and each is asked for only when named", func(t *testing.T) {
		out, _ := carry(t, 0, "list", "--config", "ses.toml")
		if out != "TEMPLATE  PURPOSE        LISTS\nspring    겨울 소식과 신상품 안내  -\nwinter    new            -\n" {
			t.Errorf("list says\n%s", out)
		}
		out, _ = carry(t, 0, "show", "winter", "--config", "ses.toml")
		if !strings.Contains(out, "logo.png (image/png, 2.4 KB)") {
			t.Errorf("show says\n%s", out)
		}
		if out, _ = carry(t, 0, "check", "winter", "--config", "ses.toml"); out != "1 template checked: no problems, no warnings\n" {
			t.Errorf("check says\n%s", out)
		}
	})
}

func TestATemplateThatCannotBePushedStopsNoOther(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	w := newWatchedSystem(t)
	sampleInto(t, root, "from", "winter")
	for name, text := range map[string]string{"autumn/template.html": "<p>{{Name|friend}}{{Body}}</p>", "latin/template.txt": "\xb1\xcc", "summer.24/template.txt": "{{Body}}"} {
		if err := os.MkdirAll(filepath.Join("from", filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("from", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dry := range []bool{true, false} {
		args := []string{"push", "--from", "from"}
		if dry {
			args = append(args, "--dry-run")
		}
		out, stderr := carry(t, 1, args...)
		for _, want := range []string{
			"autumn: SES reads what is in braces as Handlebars, which knows no fallback, and its HTML has {{Name|friend}}: leave the fallback out, or keep this template in files\n",
			"latin: template.txt is not UTF-8 text", "summer.24: SES takes no dot in the name of a template",
			"\npostern: 3 of 4 templates could not be brought from from to SES: mend what is named, and do it again\n",
		} {
			if !strings.Contains(stderr, want) {
				t.Errorf("%q is not in\n%s", want, stderr)
			}
		}
		if !strings.Contains(out, "winter: the template is made in SES\n") {
			t.Errorf("said\n%s", out)
		}
		if all := w.written(); (len(all) == 0) != dry {
			t.Errorf("dry run %v: wrote %q", dry, all)
		}
	}
	_, stderr := carry(t, 1, "push", "wintr", "--from", "from")
	if !strings.HasPrefix(stderr, `wintr: there is no template "wintr"; there are winter, `) {
		t.Errorf("an unknown one: %s", stderr)
	}
}

// What cannot be reached is asked once, not once for each template.
func TestAPushEndsWhereNobodyAnswers(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	inFolder(t, nil)
	sampleInto(t, root, "templates", "a", "b", "c")
	asked := 0
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(down.Close)
	more := fmt.Sprintf("[templates]\nhost_bucket = \"shop\"\nses_endpoint = %q\ndynamodb_endpoint = %[1]q\ns3_endpoint = %[1]q\n", down.URL)
	if err := os.WriteFile("config.toml", []byte(previewConfig+more), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	out, stderr := carry(t, 1, "push")
	want := "2 templates after it were not tried; doing it again is safe\npostern: 3 of 3 templates could not be brought from templates to SES: mend what is named, and do it again\n"
	if out != "" || asked != 1 || !strings.Contains(stderr, "a: Amazon SES denies us the question: the role needs ses:GetEmailTemplate") || !strings.HasSuffix(stderr, want) {
		t.Errorf("asked %d times\n%s%s", asked, out, stderr)
	}
}
