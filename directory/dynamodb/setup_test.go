package dynamodb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory/dynamodb"
	"postern/internal/peer"
)

// table is a User table as the old system made it, in a DynamoDB emulator.
type table struct {
	endpoint string
	name     string
	client   *sdk.Client
}

func client(endpoint string) *sdk.Client {
	return sdk.New(sdk.Options{Region: "ap-northeast-2", BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
}

func makeTable(t *testing.T, endpoint, name, key string) table {
	t.Helper()
	tab := table{endpoint, name, client(endpoint)}
	_, err := tab.client.CreateTable(t.Context(), &sdk.CreateTableInput{TableName: &tab.name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}}})
	if err != nil {
		t.Fatal(err)
	}
	tab.wait(t)
	return tab
}

// wait asks until the table takes reads: the emulator makes it in the background.
func (tab table) wait(t *testing.T) {
	t.Helper()
	err := sdk.NewTableExistsWaiter(tab.client, func(o *sdk.TableExistsWaiterOptions) { o.MinDelay, o.MaxDelay = 20e6, 50e6 }).
		Wait(t.Context(), &sdk.DescribeTableInput{TableName: &tab.name}, 30e9)
	if err != nil {
		t.Fatal(err)
	}
}

func newTable(t *testing.T) table { return makeTable(t, peer.Dynalite(t), "User", "Email") }

func (tab table) put(t *testing.T, it map[string]types.AttributeValue) {
	t.Helper()
	if _, err := tab.client.PutItem(t.Context(), &sdk.PutItemInput{TableName: &tab.name, Item: it}); err != nil {
		t.Fatal(err)
	}
}

func (tab table) get(t *testing.T, key string) map[string]types.AttributeValue {
	t.Helper()
	out, err := tab.client.GetItem(t.Context(), &sdk.GetItemInput{TableName: &tab.name, Key: map[string]types.AttributeValue{"Email": s(key)}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

func (tab table) count(t *testing.T) int {
	t.Helper()
	out, err := tab.client.Scan(t.Context(), &sdk.ScanInput{TableName: &tab.name, Select: types.SelectCount})
	if err != nil {
		t.Fatal(err)
	}
	return int(out.Count)
}

// TestMain hides the machine's own AWS settings: an emulator needs none.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// impatient turns the SDK's own retries off, for tests of what comes after them.
func impatient(t *testing.T) { t.Setenv("AWS_MAX_ATTEMPTS", "1") }

func open(t *testing.T, c dynamodb.Config) *dynamodb.Store {
	t.Helper()
	store, err := dynamodb.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func s(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func n(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
func yes(v bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: v} }
func null() types.AttributeValue      { return &types.AttributeValueMemberNULL{Value: true} }
func ss(v ...string) types.AttributeValue {
	return &types.AttributeValueMemberSS{Value: v}
}
func l(v ...types.AttributeValue) types.AttributeValue {
	return &types.AttributeValueMemberL{Value: v}
}

// proxy stands between the store and the emulator; fault may answer in its place.
type proxy struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

type request struct {
	op   string // "Scan", "BatchGetItem", …
	body []byte
}

// answer is what a fault says: a status and a body. nil lets the request pass.
type answer struct {
	status int
	body   string
}

func awsError(status int, name, message string) *answer {
	return &answer{status, fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q}`, name, message)}
}

// newProxy asks fault for every request, the first is number 1.

func newProxy(t *testing.T, target string, fault func(number int, r request) *answer) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		req := request{op, body}
		p.mu.Lock()
		p.requests = append(p.requests, req)
		a := fault(len(p.requests), req)
		p.mu.Unlock()
		if a != nil {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte(a.body))))
			w.WriteHeader(a.status)
			_, _ = io.WriteString(w, a.body)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) count(op string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := 0
	for _, r := range p.requests {
		if op == "" || r.op == op {
			c++
		}
	}
	return c
}

// keysAsked is how many keys a BatchGetItem names, each table's together.
func (r request) keysAsked(t *testing.T) int {
	var in struct {
		RequestItems map[string]struct{ Keys []json.RawMessage }
	}
	if err := json.Unmarshal(r.body, &in); err != nil {
		t.Error(err)
	}
	c := 0
	for _, k := range in.RequestItems {
		c += len(k.Keys)
	}
	return c
}
