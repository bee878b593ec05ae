package staging_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/directory/dynamodb"
	"postern/directory/embedded"
	"postern/directory/staging"
	"postern/internal/peer"
)

// The lines of a chunk make the same table as Put, and so does Put of the chunk: into
// an empty directory, and over people who are there.
func TestAnImportAndPutMakeTheSame(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, staging.Config{})
	stage(t, b, "0001", odd()...)
	chunk, err := b.Chunk(t.Context(), "0001")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := peer.Dynalite(t)
	there := []directory.User{{Email: "no@example.com", Subscribed: true, Attributes: map[string]any{"Name": "old", "Other": "kept"}},
		{Email: "kept@example.com", Subscribed: true, OptOut: []string{"promo"}}}
	tables := 0
	for name, open := range map[string]func() directory.Store{
		"dynamodb": func() directory.Store {
			tables++
			return newTable(t, endpoint, fmt.Sprint("User", tables))
		},
		"embedded": func() directory.Store {
			e, err := embedded.Open(t.TempDir() + "/directory.db")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Close() })
			return e
		},
	} {
		for _, before := range [][]directory.User{nil, there} {
			var all [2]map[string]directory.User
			for i, users := range [][]directory.User{odd(), chunk} {
				store := open()
				put(t, store, before)
				put(t, store, users)
				all[i] = everybody(t, store)
			}
			if len(all[0]) != 5 || !reflect.DeepEqual(all[0], all[1]) {
				t.Errorf("%s, over %d people: Put makes\n%+v\nPut of the chunk\n%+v", name, len(before), all[0], all[1])
			}
		}
	}
	// As ImportTable does it: each line's item, as it is.
	direct, imported := newTable(t, endpoint, "Direct"), newTable(t, endpoint, "Imported")
	put(t, direct, odd())
	data, _ := s.object(t, "first/0001.json.gz")
	for lines := bufio.NewScanner(strings.NewReader(unzip(t, data))); lines.Scan(); {
		var line struct{ Item json.RawMessage }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		putItem(t, endpoint, "Imported", line.Item)
	}
	if d, i := everybody(t, direct), everybody(t, imported); !reflect.DeepEqual(d, i) {
		t.Errorf("Put makes\n%+v\nthe import\n%+v", d, i)
	}
}

func put(t *testing.T, s directory.Store, users []directory.User) {
	t.Helper()
	if err := s.Put(t.Context(), users); err != nil {
		t.Fatal(err)
	}
}

func everybody(t *testing.T, s directory.Store) map[string]directory.User {
	t.Helper()
	all := map[string]directory.User{}
	for key, u := range directorytest.All(t, s) {
		all[string(key)] = u
	}
	return all
}

// newTable makes an empty User table of another name.
func newTable(t *testing.T, endpoint, name string) directory.Store {
	t.Helper()
	client := sdk.New(sdk.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("x", "x", "")})
	_, err := client.CreateTable(t.Context(), &sdk.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("Email"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("Email"), KeyType: types.KeyTypeHash}}})
	if err == nil {
		err = sdk.NewTableExistsWaiter(client, func(o *sdk.TableExistsWaiterOptions) { o.MinDelay, o.MaxDelay = 20e6, 50e6 }).
			Wait(t.Context(), &sdk.DescribeTableInput{TableName: &name}, 30e9)
	}
	if err != nil {
		t.Fatal(err)
	}
	store, err := dynamodb.New(t.Context(), dynamodb.Config{Table: name, Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// putItem stores an item as the JSON has it, past the SDK.
func putItem(t *testing.T, endpoint, table string, item json.RawMessage) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"TableName": table, "Item": item})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest("POST", endpoint, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.PutItem")
	r.Header.Set("X-Amz-Date", "20261126T000000Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=x, Signature=x")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", item, resp.Status)
	}
}
