package templates_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	sestypes "github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"postern/expand/templates"
	"postern/internal/peer"
)

// world is what the old system had, in emulators that others wrote.
type world struct {
	config templates.Config
	ses    *sesv2.Client
	table  *dynamodb.Client
	s3     *s3.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	port := peer.Port(t)
	peer.Start(t, port, peer.Command(t, "node"), filepath.Join(peer.NodeModules(t), "aws-ses-v2-local", "dist", "cli.js"), "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	bucket := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(bucket.Close)
	w := &world{config: templates.Config{Region: "ap-northeast-2", SESEndpoint: fmt.Sprintf("http://127.0.0.1:%d", port), DynamoDBEndpoint: peer.Dynalite(t), S3Endpoint: bucket.URL,
		Table: "ImageAndTemplate", Bucket: "hosted/mail"}.Eager()}
	who := credentials.NewStaticCredentialsProvider("test", "test", "")
	w.ses = sesv2.New(sesv2.Options{Region: "ap-northeast-2", BaseEndpoint: &w.config.SESEndpoint, Credentials: who})
	w.table = dynamodb.New(dynamodb.Options{Region: "ap-northeast-2", BaseEndpoint: &w.config.DynamoDBEndpoint, Credentials: who})
	w.s3 = s3.New(s3.Options{Region: "ap-northeast-2", BaseEndpoint: &w.config.S3Endpoint, Credentials: who, UsePathStyle: true})
	for _, b := range []string{"pics", "mypics", "hosted"} {
		if _, err := w.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &b}); err != nil {
			t.Fatal(err)
		}
	}
	w.makeTable(t, w.config.Table, "TemplateID")
	return w
}

func (w *world) makeTable(t *testing.T, name, key string) {
	t.Helper()
	if _, err := w.table.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}}}); err != nil {
		t.Fatal(err)
	}
	err := dynamodb.NewTableExistsWaiter(w.table, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay, o.MaxDelay = 20e6, 50e6 }).
		Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}, 30e9)
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) open(t *testing.T, change ...func(*templates.Config)) *templates.SES {
	t.Helper()
	c := w.config
	for _, f := range change {
		f(&c)
	}
	s, err := templates.NewSES(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func linked(c *templates.Config) { c.Images = "link" }

func (w *world) template(t *testing.T, id, subject, html, text string) {
	t.Helper()
	c := &sestypes.EmailTemplateContent{Subject: &subject, Html: &html, Text: &text}
	if _, err := w.ses.CreateEmailTemplate(t.Context(), &sesv2.CreateEmailTemplateInput{TemplateName: &id, TemplateContent: c}); err != nil {
		t.Fatal(err)
	}
}

type item = map[string]types.AttributeValue

func (w *world) row(t *testing.T, id string, it item) {
	t.Helper()
	it["TemplateID"] = text(id)
	if _, err := w.table.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &w.config.Table, Item: it}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) rowOf(t *testing.T, id string) item {
	t.Helper()
	out, err := w.table.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &w.config.Table, Key: item{"TemplateID": text(id)}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

func text(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
func texts(vs ...string) types.AttributeValue {
	l := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
	for _, v := range vs {
		l.Value = append(l.Value, text(v))
	}
	return l
}

func (w *world) object(t *testing.T, bucket, key string, data []byte) {
	t.Helper()
	if _, err := w.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(data)}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) objectOf(t *testing.T, bucket, key string) (data []byte, kind string) {
	t.Helper()
	out, err := w.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if data, err = io.ReadAll(out.Body); err != nil {
		t.Fatal(err)
	}
	return data, aws.ToString(out.ContentType)
}
