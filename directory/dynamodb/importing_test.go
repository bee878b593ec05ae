package dynamodb_test

import (
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

	"postern/directory/dynamodb"
	"postern/mail"
)

// importer is what no emulator has: the imports of DynamoDB. Each look at one that is under way
// brings it a step further.
type importer struct {
	*httptest.Server
	mu      sync.Mutex
	status  string // of the table; "": there is none
	jobs    []*job
	asked   []string // calls, but for the looks
	looks   int
	hinder  map[string]*answer // by call
	looking chan struct{}      // gets a token at each look, when it is not nil
	next    job                // what an import that begins will be
	page    int                // imports on a page of the list; 0: all
	from    map[string]any     // of the last ImportTable
}

type job struct {
	arn, bucket, prefix string
	began               time.Time
	status              string // "IN_PROGRESS" until steps are done, then what is in end
	steps               int
	end                 string
	items, errors       int
	code, message       string
}

func newImporter(t *testing.T) *importer {
	t.Helper()
	i := &importer{hinder: map[string]*answer{}, next: job{steps: 3, end: "COMPLETED", items: 300}}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		in := map[string]any{}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		if err != nil {
			t.Error(err)
		}
		a := i.answer(op, in)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *importer) answer(op string, in map[string]any) *answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	if a := i.hinder[op]; a != nil {
		return a
	}
	if op != "DescribeImport" {
		i.asked = append(i.asked, op)
	}
	const table = "arn:aws:dynamodb:ap-northeast-2:123456789012:table/User"
	say := func(v any) *answer {
		b, _ := json.Marshal(v)
		return &answer{200, string(b)}
	}
	switch op {
	case "DescribeTable":
		if i.status == "" {
			return awsError(400, "ResourceNotFoundException", "Requested resource not found")
		}
		return say(map[string]any{"Table": map[string]any{"TableStatus": i.status, "TableArn": table}})
	case "ImportTable":
		if i.status != "" {
			return awsError(400, "ResourceInUseException", "Table already exists")
		}
		i.from = in
		source := in["S3BucketSource"].(map[string]any)
		j := i.next
		j.arn, j.bucket, j.prefix = fmt.Sprintf("%s/import/0%d-abcdefgh", table, len(i.jobs)), source["S3Bucket"].(string), source["S3KeyPrefix"].(string)
		j.began, j.status = time.Now(), "IN_PROGRESS"
		i.jobs, i.status = append(i.jobs, &j), "CREATING"
		return say(map[string]any{"ImportTableDescription": map[string]any{"ImportArn": j.arn, "ImportStatus": j.status}})
	case "ListImports":
		return i.list(in, say)
	case "DescribeImport":
		return i.look(in["ImportArn"].(string), say)
	}
	return awsError(400, "UnknownOperationException", op)
}

func (i *importer) list(in map[string]any, say func(any) *answer) *answer {
	at := 0
	if token, ok := in["NextToken"].(string); ok {
		_, _ = fmt.Sscan(token, &at)
	}
	end := len(i.jobs)
	if i.page > 0 {
		end = min(end, at+i.page)
	}
	var all []any
	for _, j := range i.jobs[at:end] {
		all = append(all, map[string]any{"ImportArn": j.arn, "ImportStatus": j.status, "StartTime": float64(j.began.UnixMilli()) / 1000,
			"S3BucketSource": map[string]any{"S3Bucket": j.bucket, "S3KeyPrefix": j.prefix}})
	}
	out := map[string]any{"ImportSummaryList": all}
	if end < len(i.jobs) {
		out["NextToken"] = fmt.Sprint(end)
	}
	return say(out)
}

func (i *importer) look(arn string, say func(any) *answer) *answer {
	i.looks++
	if i.looking != nil {
		i.looking <- struct{}{}
	}
	at := slices.IndexFunc(i.jobs, func(j *job) bool { return j.arn == arn })
	j := i.jobs[at]
	out := map[string]any{"ImportArn": arn}
	if j.status == "IN_PROGRESS" {
		if j.steps--; j.steps == 0 {
			j.status, i.status = j.end, "ACTIVE"
		}
	}
	done := j.items / (j.steps + 1)
	out["ImportStatus"], out["ProcessedItemCount"], out["ImportedItemCount"], out["ErrorCount"] = j.status, done, done-j.errors, j.errors
	if j.code != "" {
		out["FailureCode"], out["FailureMessage"] = j.code, j.message
	}
	return say(map[string]any{"ImportTableDescription": out})
}

func (i *importer) store(t *testing.T) *dynamodb.Store {
	t.Helper()
	store := open(t, dynamodb.Config{Endpoint: i.URL})
	store.PollEvery(time.Millisecond)
	return store
}

// staged is the second in which the chunks were written; an import says more exactly when it began.
func staged() time.Time { return time.Unix(1_700_000_000, 0).UTC() }

// run imports what was staged, and gives what progress was told.
func (i *importer) run(t *testing.T) (done bool, told []int64, err error) {
	t.Helper()
	done, err = i.store(t).Import(t.Context(), "shop", "load/", staged().Add(time.Second/2), func(n int64) { told = append(told, n) })
	return done, told, err
}

func sentence(t *testing.T, err error, class mail.Class, parts ...string) {
	t.Helper()
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != class {
		t.Errorf("got %v, want an error of class %v", err, class)
		return
	}
	for _, p := range append(parts, "DynamoDB table User") {
		if !strings.Contains(e.Public, p) {
			t.Errorf("%q says nothing of %q", e.Public, p)
		}
	}
}

func TestATableIsImported(t *testing.T) {
	i := newImporter(t)
	done, told, err := i.run(t)
	if err != nil || !done || i.status != "ACTIVE" || !reflect.DeepEqual(told, []int64{100, 150, 300}) {
		t.Fatalf("%v %v %v, told %v", done, err, i.status, told)
	}
	delete(i.from, "ClientToken")
	want := map[string]any{"InputFormat": "DYNAMODB_JSON", "InputCompressionType": "GZIP",
		"S3BucketSource": map[string]any{"S3Bucket": "shop", "S3KeyPrefix": "load/"},
		"TableCreationParameters": map[string]any{"TableName": "User", "BillingMode": "PAY_PER_REQUEST",
			"AttributeDefinitions": []any{map[string]any{"AttributeName": "Email", "AttributeType": "S"}},
			"KeySchema":            []any{map[string]any{"AttributeName": "Email", "KeyType": "HASH"}}}}
	if !reflect.DeepEqual(i.from, want) {
		t.Errorf("asked for %v", i.from)
	}
}

// The one who waits is killed: the next one waits for the same import, also when it has
// ended meanwhile.
func TestAnImportOutlivesWhoWaitsForIt(t *testing.T) {
	i := newImporter(t)
	i.next.steps = 5
	i.looking = make(chan struct{}, 100)
	ctx, kill := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := i.store(t).Import(ctx, "shop", "load/", staged(), func(int64) {})
		ended <- err
	}()
	<-i.looking
	kill()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, what := range []string{"under way", "ended"} {
		if done, told, err := i.run(t); err != nil || !done || told[len(told)-1] != 300 {
			t.Errorf("%s: %v %v %v", what, done, told, err)
		}
	}
	if n := len(i.jobs); n != 1 {
		t.Errorf("%d imports", n)
	}
}

func TestATableThatIsThereIsLeftAlone(t *testing.T) {
	ours := job{arn: "arn:aws:dynamodb:ap-northeast-2:123456789012:table/User/import/01-abcdefgh", bucket: "shop", prefix: "load/", began: staged().Add(time.Millisecond), status: "COMPLETED", items: 7}
	other := func(change func(*job)) []*job {
		j := ours
		change(&j)
		return []*job{&j}
	}
	for name, c := range map[string]struct {
		jobs   []*job
		hinder map[string]*answer
		want   bool
	}{
		"never imported":        {},
		"of ours":               {jobs: other(func(*job) {}), want: true},
		"on the second page":    {jobs: append(other(func(j *job) { j.prefix = "old/" }), &ours), want: true},
		"of another bucket":     {jobs: other(func(j *job) { j.bucket = "x" })},
		"of another prefix":     {jobs: other(func(j *job) { j.prefix = "load" })},
		"of an earlier staging": {jobs: other(func(j *job) { j.began = staged().Add(-time.Millisecond) })},
		"with errors":           {jobs: other(func(j *job) { j.errors = 1 })},
		"that failed":           {jobs: other(func(j *job) { j.status = "FAILED" })},
		"in an emulator":        {hinder: map[string]*answer{"ListImports": awsError(400, "UnknownOperationException", "")}},
		"without the right":     {hinder: map[string]*answer{"ListImports": awsError(400, "AccessDeniedException", "no")}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImporter(t)
			i.status, i.jobs, i.page = "ACTIVE", c.jobs, 1
			if c.hinder != nil {
				i.hinder = c.hinder
			}
			if done, _, err := i.run(t); err != nil || done != c.want || slices.Contains(i.asked, "ImportTable") {
				t.Errorf("%v %v, asked %v", done, err, i.asked)
			}
		})
	}
	i := newImporter(t)
	i.status, i.hinder = "ACTIVE", map[string]*answer{"ListImports": awsError(400, "ThrottlingException", "slow down")}
	impatient(t)
	_, _, err := i.run(t)
	sentence(t, err, mail.Throttled)
}

func TestATableThatIsNotReadyIsWaitedFor(t *testing.T) {
	for status, want := range map[string]string{"CREATING": "made by somebody else", "DELETING": "being deleted"} {
		i := newImporter(t)
		i.status = status
		_, _, err := i.run(t)
		sentence(t, err, mail.Temporary, want)
	}
}

func TestWhyAnImportFailedIsSaid(t *testing.T) {
	impatient(t)
	for name, c := range map[string]struct {
		next   job
		hinder *answer
		class  mail.Class
		want   []string
	}{
		"failed":    {next: job{steps: 2, end: "FAILED", code: "ItemValidationError", message: "Some of the items failed validation checks."}, want: []string{"FAILED (ItemValidationError): Some of the items failed validation checks; when"}},
		"cancelled": {next: job{steps: 1, end: "CANCELLED"}, want: []string{"CANCELLED (no code): no reason was given"}},
		"left out":  {next: job{steps: 1, end: "COMPLETED", items: 300, errors: 2}, want: []string{"left out 2 of 300 users", "CloudWatch", "writes who is missing"}},
		"denied":    {hinder: awsError(400, "AccessDeniedException", "no"), class: mail.AccountWide, want: []string{"denies us ImportTable", "dynamodb:DescribeTable, ImportTable, DescribeImport and ListImports", "s3:GetObject", "logs:CreateLogGroup"}},
		"emulator":  {hinder: awsError(400, "UnknownOperationException", ""), want: []string{"does not exist", "ImportTable", "make the table"}},
		"no bucket": {hinder: awsError(400, "ValidationException", "The S3 bucket shop was not found"), want: []string{"The S3 bucket shop was not found"}},
		"too many":  {hinder: awsError(400, "LimitExceededException", "50"), want: []string{"LimitExceededException"}},
		"throttled": {hinder: awsError(400, "ThrottlingException", "slow"), class: mail.Throttled, want: []string{"throttles"}},
		"broken":    {hinder: awsError(500, "InternalServerError", "oops"), want: []string{"InternalServerError (HTTP 500)"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newImporter(t)
			i.next = c.next
			if c.hinder != nil {
				i.hinder["ImportTable"] = c.hinder
			}
			done, _, err := i.run(t)
			sentence(t, err, c.class, c.want...)
			if done {
				t.Error("it is said to be done")
			}
			// What the failed import made is a table, into which can be put.
			if c.hinder == nil {
				if done, _, err := i.run(t); done || err != nil {
					t.Errorf("again: %v %v", done, err)
				}
			}
		})
	}
}

func TestATableIsMissingWhereItCanBeImported(t *testing.T) {
	impatient(t)
	under := &job{arn: "arn:aws:dynamodb:ap-northeast-2:123456789012:table/User/import/01-abcdefgh", status: "IN_PROGRESS"}
	for name, c := range map[string]struct {
		status string
		jobs   []*job
		list   *answer
		want   bool
	}{
		"no table":             {want: true},
		"there":                {status: "ACTIVE"},
		"being imported":       {status: "CREATING", jobs: []*job{under}, want: true},
		"being made":           {status: "CREATING"},
		"being deleted":        {status: "DELETING"},
		"an emulator's":        {list: awsError(400, "UnknownOperationException", "")},
		"there, in an old one": {status: "ACTIVE", list: awsError(400, "UnknownOperationException", "")},
	} {
		i := newImporter(t)
		i.status, i.jobs = c.status, c.jobs
		if c.list != nil {
			i.hinder["ListImports"] = c.list
		}
		if missing, err := i.store(t).Missing(t.Context()); err != nil || missing != c.want {
			t.Errorf("%s: %v %v", name, missing, err)
		}
	}
	i := newImporter(t)
	i.hinder["ListImports"] = awsError(400, "AccessDeniedException", "no")
	_, err := i.store(t).Missing(t.Context())
	sentence(t, err, mail.AccountWide, "denies us ListImports", "dynamodb:DescribeTable, ImportTable")
	i.hinder["DescribeTable"] = awsError(400, "AccessDeniedException", "no")
	_, err = i.store(t).Missing(t.Context())
	sentence(t, err, mail.AccountWide, "denies us DescribeTable")
}
