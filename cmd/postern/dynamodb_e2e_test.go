//go:build e2e

package main_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/directory"
	"postern/directory/directorytest"
	"postern/directory/dynamodb"
	"postern/internal/peer"
	"postern/mail"
)

// Amazon's own emulator keeps rules that dynalite does not: the limits of expressions and
// batches, the types of sets, empty values.
func TestTheDirectoryInAmazonsOwnEmulator(t *testing.T) {
	endpoint := peer.DynamoDBLocal(t)
	client := sdk.New(sdk.Options{Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	tables := 0
	open := func(t *testing.T) (directory.Store, string) {
		tables++
		name := fmt.Sprint("User", tables)
		_, err := client.CreateTable(t.Context(), &sdk.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("Email"), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("Email"), KeyType: types.KeyTypeHash}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = client.DeleteTable(context.Background(), &sdk.DeleteTableInput{TableName: &name})
		})
		store, err := dynamodb.New(t.Context(), dynamodb.Config{Table: name, Endpoint: endpoint, Segments: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store, name
	}
	directorytest.Run(t, func(t *testing.T) directory.Store {
		s, _ := open(t)
		return s
	})
	t.Run("ten thousand users come and go", func(t *testing.T) {
		s, name := open(t)
		users := make([]directory.User, 10_000)
		keys := make([]mail.Address, len(users))
		for i := range users {
			keys[i] = mail.Address(fmt.Sprintf("user%05d@example.com", i))
			users[i] = directory.User{Email: keys[i], Subscribed: true, KeepStatus: i%10 == 0, OptOut: []string{"promo"}, Attributes: map[string]any{"Name": "김민"}}
		}
		for range 2 { // the second time all are there
			if err := s.Put(t.Context(), users); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(directorytest.All(t, s)); n != len(users) {
			t.Errorf("%d users", n)
		}
		if err := s.Delete(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		out, err := client.Scan(t.Context(), &sdk.ScanInput{TableName: &name, Select: types.SelectCount})
		if err != nil || out.Count != 0 {
			t.Errorf("%d users are left, %v", out.Count, err)
		}
	})
}
