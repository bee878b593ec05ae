package templates

import (
	"bytes"
	"context"
	"crypto/md5" // the ETag of S3, to see a difference
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	sestypes "github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go"

	"postern/expand"
	"postern/mail"
)

// hashKey is the metadata of an object that holds the SHA-256 of its content:
// the ETag is no hash when the bucket encrypts with a key of its own.
const hashKey = "sha256"

// Put makes SES, table and bucket hold t: it reads what is there and writes only
// what differs, pictures first and the texts in SES last. A picture that the row
// names already is replaced where it lies; a new one goes into Config.Bucket.
// Pictures that t no longer has leave the row and stay in S3, because mails that
// were sent may link them. It says what it did, one sentence each.
func (s *SES) Put(ctx context.Context, t *expand.Template) ([]string, error) {
	steps, err := s.plan(ctx, t)
	if err != nil {
		return nil, err
	}
	return take(ctx, steps)
}

// DryRun says what Put would do, and writes nothing.
func (s *SES) DryRun(ctx context.Context, t *expand.Template) ([]string, error) {
	steps, err := s.plan(ctx, t)
	return sentences(steps), err
}

func (s *SES) plan(ctx context.Context, given *expand.Template) ([]step, error) {
	t, err := checked(given)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.Contains(t.ID, "."):
		return nil, mail.Refuse(550, "5.1.1", "SES takes no dot in the name of a template: rename %s", t.ID)
	case s.config.Table == "" && (t.Purpose != "" || len(t.Images) > 0):
		return nil, broken(t.ID, "it has a purpose or pictures, and there is no table for them; set table in [templates]")
	}
	old, err := s.content(ctx, t.ID)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return nil, err
	}
	r, err := s.row(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	steps, urls, err := s.planImages(ctx, t, r)
	if err != nil {
		return nil, err
	}
	steps = append(steps, s.planRow(t, r, urls)...)
	switch {
	case old == nil:
		steps = append(steps, step{t.ID + ": the template is made in SES", func(ctx context.Context) error { return s.create(ctx, t) }})
	case old.Subject != t.Subject || old.HTML != t.HTML || old.Text != t.Text:
		says := fmt.Sprintf("%s: in SES %s", t.ID, differences(old, t))
		steps = append(steps, step{says, func(ctx context.Context) error { return s.update(ctx, t) }})
	}
	return steps, nil
}

func differences(old, t *expand.Template) string {
	var names []string
	for _, p := range []struct{ name, old, new string }{{"subject", old.Subject, t.Subject}, {"HTML", old.HTML, t.HTML}, {"text", old.Text, t.Text}} {
		switch {
		case p.old == p.new:
		case p.new == "":
			names = append(names, "the "+p.name+" is removed")
		default:
			names = append(names, "the "+p.name+" is replaced")
		}
	}
	return strings.Join(names, ", ")
}

// planImages finds a place for each picture, and gives the row's new list.
func (s *SES) planImages(ctx context.Context, t *expand.Template, r row) (steps []step, urls []string, err error) {
	for _, img := range t.Images {
		at := slices.IndexFunc(r.images, func(e entry) bool { return nameOf(e.url.Name()) == img.Name })
		if img.Data == nil {
			raw := img.URL
			if at >= 0 && s.link(r.images[at].url) == img.URL {
				raw = r.images[at].raw
			}
			if _, err := ParseImageURL(raw); err != nil {
				return nil, nil, broken(t.ID, "the address of the picture %s cannot be used: %v", shown(img.Name), err)
			}
			urls = append(urls, raw)
			continue
		}
		var e entry
		if at >= 0 && r.images[at].url.Bucket != "" {
			e = r.images[at]
		} else if e, err = s.newPlace(t.ID, img.Name); err != nil {
			return nil, nil, err
		}
		urls = append(urls, e.raw)
		same, err := s.holds(ctx, e.url, img.Data)
		if err != nil {
			return nil, nil, err
		}
		if !same {
			says := fmt.Sprintf("%s: the picture %s (%d KB) is put to s3://%s/%s", t.ID, shown(img.Name), (len(img.Data)+1023)>>10, e.url.Bucket, shown(e.url.Key))
			steps = append(steps, step{says, func(ctx context.Context) error { return s.upload(ctx, t.ID, e.url, img) }})
		}
	}
	return steps, urls, nil
}

// splitBucket takes "bucket/prefix" apart.
func splitBucket(s string) (bucket, prefix string) {
	bucket, prefix, _ = strings.Cut(strings.Trim(s, "/"), "/")
	return bucket, prefix
}

// newPlace is PREFIX/ID/NAME in the configured bucket. The row gets its https
// address, which others who read the table can use too.
func (s *SES) newPlace(id, name string) (entry, error) {
	bucket, prefix := splitBucket(s.config.Bucket)
	if bucket == "" {
		return entry{}, broken(id, "the picture %s is new, and no bucket is known to put it into; set host_bucket in [templates]", shown(name))
	}
	key := path.Join(prefix, id, name)
	raw := s3Link(bucket, key, s.region)
	if s.config.S3Endpoint != "" {
		raw = "s3://" + bucket + "/" + escapeKey(key)
	}
	u, err := ParseImageURL(raw)
	if err != nil {
		return entry{}, broken(id, "the picture %s gets no address in S3: %v; look at host_bucket and the picture's name", shown(name), err)
	}
	return entry{raw, u}, nil
}

// holds says whether an object has this content. Where S3 does not tell (it
// denies what is not there to whoever may not list) it is written.
func (s *SES) holds(ctx context.Context, u ImageURL, data []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &u.Bucket, Key: &u.Key}, in(u))
	if err != nil {
		var answer *awshttp.ResponseError
		if errors.As(err, &answer) && (answer.HTTPStatusCode() == http.StatusNotFound || answer.HTTPStatusCode() == http.StatusForbidden) {
			return false, nil
		}
		return false, explain(ctx, s.bucket(u), err)
	}
	if aws.ToInt64(out.ContentLength) != int64(len(data)) {
		return false, nil
	}
	if known := out.Metadata[hashKey]; known != "" {
		return known == hash(data), nil
	}
	sum := md5.Sum(data)
	return strings.Trim(aws.ToString(out.ETag), `"`) == hex.EncodeToString(sum[:]), nil
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (s *SES) upload(ctx context.Context, id string, u ImageURL, img expand.Image) error {
	ctx, cancel := context.WithTimeout(ctx, totalTimeout) // 5 MB over a slow line
	defer cancel()
	_, err := s.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &u.Bucket, Key: &u.Key, Body: bytes.NewReader(img.Data), ContentLength: aws.Int64(int64(len(img.Data))),
		ContentType: &img.Type, Metadata: map[string]string{hashKey: hash(img.Data)}}, in(u))
	var api smithy.APIError
	if errors.As(err, &api) && (api.ErrorCode() == "AccessDenied" || api.ErrorCode() == "Forbidden") {
		return &mail.Error{Class: mail.AccountWide, Err: err, Public: fmt.Sprintf("S3 denies us to write into the bucket %s: the role needs s3:PutObject", u.Bucket)}
	}
	if err != nil {
		return s.explainS3(ctx, id, "the picture "+shown(img.Name), u, err)
	}
	return nil
}

// planRow changes purpose and pictures, and leaves what else the row has. A
// template that has neither needs no row.
func (s *SES) planRow(t *expand.Template, r row, urls []string) []step {
	var old []string
	for _, e := range r.images {
		old = append(old, e.raw)
	}
	if r.purpose == t.Purpose && slices.Equal(old, urls) {
		return nil
	}
	verb := "is changed"
	if !r.there {
		verb = "is made"
	}
	says := fmt.Sprintf("%s: its row in the table %s %s: the purpose is %q, %d pictures", t.ID, s.config.Table, verb, t.Purpose, len(urls))
	return []step{{says, func(ctx context.Context) error { return s.writeRow(ctx, t, urls) }}}
}

// writeRow names the attributes: PutItem would lose those that others added.
func (s *SES) writeRow(ctx context.Context, t *expand.Template, urls []string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list := &dynamotypes.AttributeValueMemberL{Value: []dynamotypes.AttributeValue{}}
	for _, u := range urls {
		list.Value = append(list.Value, &dynamotypes.AttributeValueMemberS{Value: u})
	}
	in := &dynamodb.UpdateItemInput{TableName: &s.config.Table, Key: rowKey(t.ID), UpdateExpression: aws.String("SET " + imagesAttr + " = :i REMOVE " + purposeAttr),
		ExpressionAttributeValues: map[string]dynamotypes.AttributeValue{":i": list}}
	if t.Purpose != "" {
		in.UpdateExpression = aws.String("SET " + imagesAttr + " = :i, " + purposeAttr + " = :p")
		in.ExpressionAttributeValues[":p"] = &dynamotypes.AttributeValueMemberS{Value: t.Purpose}
	}
	if _, err := s.table.UpdateItem(ctx, in); err != nil {
		return s.explainTable(ctx, "UpdateItem", err)
	}
	return nil
}

func sesContent(t *expand.Template) *sestypes.EmailTemplateContent {
	c := &sestypes.EmailTemplateContent{}
	for _, p := range []struct {
		text string
		to   **string
	}{{t.Subject, &c.Subject}, {t.HTML, &c.Html}, {t.Text, &c.Text}} {
		if p.text != "" {
			*p.to = &p.text
		}
	}
	return c
}

func (s *SES) create(ctx context.Context, t *expand.Template) error {
	short, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := s.ses.CreateEmailTemplate(short, &sesv2.CreateEmailTemplateInput{TemplateName: &t.ID, TemplateContent: sesContent(t)})
	var exists *sestypes.AlreadyExistsException
	if errors.As(err, &exists) { // by another, or by a try of the SDK whose answer was lost
		return s.update(ctx, t)
	}
	return s.explainWrite(short, "CreateEmailTemplate", t.ID, err)
}

func (s *SES) update(ctx context.Context, t *expand.Template) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := s.ses.UpdateEmailTemplate(ctx, &sesv2.UpdateEmailTemplateInput{TemplateName: &t.ID, TemplateContent: sesContent(t)})
	return s.explainWrite(ctx, "UpdateEmailTemplate", t.ID, err)
}

// explainWrite adds why SES refuses a template that we would take: it reads what
// is in braces as Handlebars.
func (s *SES) explainWrite(ctx context.Context, call, id string, err error) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	var answer *awshttp.ResponseError
	if errors.As(err, &api) && (api.ErrorCode() == "BadRequestException" || errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusBadRequest && api.ErrorCode() == "UnknownError") {
		return &mail.Error{Class: mail.Permanent, Code: 550, Enhanced: "5.3.5", Err: err,
			Public: fmt.Sprintf("SES does not take the template %s (%s); it reads what is in braces as Handlebars, which knows no {{Name|fallback}}: such templates live in files", id, api.ErrorMessage())}
	}
	return s.explainSES(ctx, call, err)
}
