package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/internal/peer"
)

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func yes(b bool) types.AttributeValue   { return &types.AttributeValueMemberBOOL{Value: b} }

// dynamo is the old system's User table in an emulator, behind a proxy that can
// be told to throttle, to be away, and to cut pages short.
type dynamo struct {
	client *dynamodb.Client
	url    string // the proxy's

	mu       sync.Mutex
	away     bool
	throttle int           // so many requests are refused
	limit    int           // items a page; 0: as DynamoDB cuts them
	scans    int           // pages given
	writes   int           // items changed
	paged    chan struct{} // a token for each page
}

func startDynamo(t *testing.T) *dynamo {
	t.Helper()
	endpoint := peer.Dynalite(t)
	d := &dynamo{paged: make(chan struct{}, 100000)}
	d.client = dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("x", "x", "")})
	_, err := d.client.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: aws.String("User"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("Email"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("Email"), KeyType: types.KeyTypeHash}}})
	if err != nil {
		t.Fatal(err)
	}
	wait := dynamodb.NewTableExistsWaiter(d.client, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay, o.MaxDelay = 20e6, 50e6 })
	if err := wait.Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("User")}, 30e9); err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) } // the gateway was killed
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.serve(t, w, r, proxy) }))
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

func (d *dynamo) serve(t *testing.T, w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	scan := strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Scan")
	d.mu.Lock()
	away, limit, refuse := d.away, d.limit, d.throttle > 0
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateItem") {
		d.writes++
	}
	if refuse && !away {
		d.throttle--
	}
	d.mu.Unlock()
	if away {
		panic(http.ErrAbortHandler) // the connection breaks
	}
	if refuse {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}`)
		return
	}
	if scan && limit > 0 {
		shorten(t, r, limit)
	}
	proxy.ServeHTTP(w, r)
	if scan {
		d.mu.Lock()
		d.scans++
		d.mu.Unlock()
		d.paged <- struct{}{}
	}
}

// shorten puts a Limit into a Scan.
func shorten(t *testing.T, r *http.Request, limit int) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the gateway was killed
	}
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		t.Error(err)
	}
	in["Limit"] = limit
	if body, err = json.Marshal(in); err != nil {
		t.Error(err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
}

// with runs what looks at d's fields or sets them.
func (d *dynamo) with(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
}

// put writes items as the old system did, a batch at a time.
func (d *dynamo) put(t *testing.T, items ...item) {
	t.Helper()
	const batch, most = 25, 2 << 20
	for len(items) > 0 {
		var writes []types.WriteRequest
		size := 0
		for len(writes) < min(batch, len(items)) && size < most {
			it := items[len(writes)]
			writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}})
			if fat, ok := it["Note"].(*types.AttributeValueMemberS); ok {
				size += len(fat.Value)
			}
		}
		out, err := d.client.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"User": writes}})
		if err != nil || len(out.UnprocessedItems) > 0 {
			t.Fatalf("%v, %d unprocessed", err, len(out.UnprocessedItems))
		}
		items = items[len(writes):]
	}
}

func (d *dynamo) config(segments int) string {
	return fmt.Sprintf("\n[directory]\ndriver = \"dynamodb\"\n[directory.dynamodb]\nendpoint = %q\nsegments = %d\n", d.url, segments)
}

func TestTheOldUserTable(t *testing.T) {
	t.Parallel()
	const segments = 4
	d := startDynamo(t)
	fat := str(strings.Repeat("x", 240_000)) // five fill a page of 1 MB
	var items []item
	var want []string
	for i, c := range []struct {
		status     item
		subscribed bool
	}{
		{item{"SubscriptionStatus": yes(true)}, true},
		{item{"SubscriptionStatus": str("true")}, true},
		{item{"SubscriptionStatus": str("TRUE")}, true},
		{item{"SubscriptionStatus": str("True")}, true},
		{item{"SubscriptionStatus": num("1")}, true},
		{item{"subscriptionStatus": str("true")}, true},
		{item{"SubscriptionStatus": yes(false)}, false},
		{item{"SubscriptionStatus": str("false")}, false},
		{item{"SubscriptionStatus": str("yes")}, false},
		{item{"SubscriptionStatus": str("")}, false},
		{item{"SubscriptionStatus": num("0")}, false},
		{item{"SubscriptionStatus": &types.AttributeValueMemberNULL{Value: true}}, false},
		{item{"SubscriptionStatus": &types.AttributeValueMemberL{Value: []types.AttributeValue{yes(true)}}}, false},
		{item{}, false},
		{item{"SubscriptionStatus": yes(true), "Name": num("7"), "Gender": yes(true), "CreateTime": str("soon"), "Tags": &types.AttributeValueMemberSS{Value: []string{"a"}}}, true},
		{item{"SubscriptionStatus": yes(true), "Name": &types.AttributeValueMemberM{Value: item{"a": str("b")}}}, true},
		{item{"SubscriptionStatus": yes(true), "OptOut": &types.AttributeValueMemberSS{Value: []string{"promo"}}}, false},
		{item{"SubscriptionStatus": yes(true), "OptOut": &types.AttributeValueMemberSS{Value: []string{"other"}}}, true},
	} {
		it := item{"Email": str(fmt.Sprintf("u%02d@example.net", i)), "Name": str(fmt.Sprint("김", i)), "Note": fat}
		for name, v := range c.status {
			it[name] = v
		}
		items = append(items, it)
		if c.subscribed {
			want = append(want, fmt.Sprintf("u%02d@example.net", i))
		}
	}
	// What no mail can be sent to must not stop the rest.
	items = append(items, item{"Email": str("no address"), "SubscriptionStatus": yes(true)}, item{"Email": str("민@example.net\r\nBcc: x@example.org"), "SubscriptionStatus": yes(true)})
	d.put(t, items...)

	g := newGateway(t, d.config(segments)+maildirLane)
	g.csv("new@example.net,새,Female,true", "u06@example.net,Again,Female,true", "gone@example.net,Gone,Male,false")
	want = append(want, "new@example.net", "u06@example.net")
	if out := g.run("users", "list"); strings.Count(out, "@example.net") < len(want) {
		t.Errorf("users list: %.3000s", out)
	}
	show := func(email string) (u map[string]any) {
		if err := json.Unmarshal([]byte(g.run("users", "show", email, "--json")), &u); err != nil {
			t.Error(err)
		}
		return u
	}
	if u := show("u02@example.net"); u["SubscriptionStatus"] != true || u["Name"] != "김2" {
		t.Errorf("users show: %v %v", u["SubscriptionStatus"], u["Name"])
	}
	g.serve() // set and export go through the running gateway
	g.run("users", "set", "u00@example.net", "SubscriptionStatus=false", "Name=바뀜", "CreateTime=1700000001")
	if u := show("u00@example.net"); u["SubscriptionStatus"] != false || u["Name"] != "바뀜" || u["CreateTime"] != 1700000001.0 {
		t.Errorf("users show after set: %v %v %v", u["SubscriptionStatus"], u["Name"], u["CreateTime"])
	}
	want = want[1:]
	if out := g.fails("users", "set", "nobody@example.net", "Name=x"); !strings.Contains(out, "nobody@example.net") {
		t.Error(out)
	}
	csv := g.run("users", "export")
	if !strings.Contains(csv, "u06@example.net") || !strings.Contains(csv, "바뀜") {
		t.Errorf("users export: %.2000s", csv)
	}
	d.with(func() { d.scans = 0 })
	g.mustSubmit("promo@lists.example.com", mailOf("old", "promo@lists.example.com", "Hi {{Name|friend}}", "x"))
	g.settled("done", "held")
	got := g.reached(want...)
	if s := got["u15@example.net"].Subject; s != "Hi friend" {
		t.Errorf("a Name that is a map: Subject %q", s)
	}
	if s := got["u14@example.net"].Subject; s != "Hi 7" {
		t.Errorf("a Name that is a number: Subject %q", s)
	}
	d.with(func() {
		if d.scans <= segments {
			t.Errorf("%d pages of %d segments: they were to be small", d.scans, segments)
		}
	})
	g.stop()
	// What was exported goes into an embedded directory.
	other := newGateway(t, maildirLane)
	other.write("users.csv", csv)
	if out := other.fails("users", "import", "users.csv"); !strings.Contains(out, "2 of 22 rows were not stored") || !strings.Contains(out, `"no address" is not a mail address`) {
		t.Errorf("import of an export: %s", out)
	}
	if again := other.run("users", "show", "u06@example.net", "--json"); !strings.Contains(again, "Again") {
		t.Error(again)
	}
}

// DynamoDB goes away after the 250, and throttles when it is back.
func TestDynamoDBIsAwayAfterThe250(t *testing.T) {
	t.Parallel() // it waits for most of its time
	const users = 60
	d := startDynamo(t)
	items := make([]item, users)
	for i := range items {
		items[i] = item{"Email": str(fmt.Sprintf("user%04d@example.net", i)), "Name": str("Kim"), "SubscriptionStatus": str("true")}
	}
	d.put(t, items...)
	d.limit = 10
	g := newGateway(t, d.config(2)+maildirLane)
	g.serve()
	d.with(func() { d.away = true })
	g.mustSubmit("promo@lists.example.com", hello)
	var m message
	g.wait("said why it waits", func() (string, bool) {
		m = g.messages()[0]
		return m.Reason, strings.Contains(m.Reason, "waiting for the directory")
	})
	if m.State != "expanding" || !strings.Contains(m.Reason, "DynamoDB table User") || !strings.Contains(m.Reason, "trying again in") {
		t.Errorf("%s because %q", m.State, m.Reason)
	}
	if out := g.run("queue", "list"); !strings.Contains(out, "expanding") || !strings.Contains(out, "waiting for the directory") {
		t.Errorf("queue list does not show why it waits:\n%s", out)
	}
	d.with(func() { d.away, d.throttle = false, 8 })
	if m := g.settled("done")[0]; m.Copies["sent"] != users || m.Reason != "" {
		t.Errorf("%v %q", m.Copies, m.Reason)
	}
	if n := len(g.outbox()); n != users {
		t.Errorf("%d mails", n)
	}
	d.with(func() {
		if d.throttle != 0 {
			t.Errorf("%d throttles were not met", d.throttle)
		}
	})
	g.stop()
}

// The gateway is killed again and again in mid-expansion: nobody twice, nobody
// skipped, and no page from the start again.
func TestKilledInMidExpansion(t *testing.T) {
	t.Parallel()
	const users, kills, segments, page = 3000, 4, 4, 60
	d := startDynamo(t)
	items := make([]item, users)
	for i := range items {
		items[i] = item{"Email": str(fmt.Sprintf("user%04d@example.net", i)), "Name": str("Kim"), "SubscriptionStatus": yes(true)}
	}
	d.put(t, items...)
	d.limit = page
	r := startRecorder(t)
	g := newGateway(t, d.config(segments)+smtpLane(r.addr))
	g.serve()
	// A placeholder without a fallback: nothing leaves before all are counted, so
	// no copy can be under way at a kill.
	g.mustSubmit("promo@lists.example.com", hello)
	for range kills {
		for range users / page / (kills + 2) {
			<-d.paged
		}
		g.kill()
		g.serve()
		if m := g.messages()[0]; m.State != "expanding" || m.Copies["sent"] != 0 {
			t.Fatalf("killed too late: %s %v", m.State, m.Copies)
		}
	}
	if m := g.settled("done")[0]; m.Copies["sent"] != users {
		t.Errorf("%v", m.Copies)
	}
	g.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for to, n := range r.to {
		if n != 1 {
			t.Errorf("%s got %d", to, n)
		}
	}
	if len(r.to) != users || r.err != nil {
		t.Errorf("%d of %d arrived, %v", len(r.to), users, r.err)
	}
	d.with(func() {
		if most := users/page + segments*2 + kills*segments*4; d.scans > most {
			t.Errorf("%d pages were read, at most %d were to be", d.scans, most)
		}
	})
}
