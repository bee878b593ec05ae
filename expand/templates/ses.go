package templates

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/smithy-go/logging"
	"golang.org/x/time/rate"

	"postern/expand"
	"postern/mail"
)

const (
	callTimeout  = 10 * time.Second // of one call, the SDK's tries included
	totalTimeout = 30 * time.Second // of one template with all that belongs to it
	// SES answers most calls that are not for sending once a second, and all who
	// use the account share that. A little more, so that no two meet in one.
	sesInterval = 1050 * time.Millisecond
	sesBurst    = 2
)

// Config says where the parts of the templates are. Credentials come from where
// every AWS tool finds them.
type Config struct {
	Region string // "": from the environment
	// URLs for emulators and private end points; "": AWS.
	SESEndpoint, DynamoDBEndpoint, S3Endpoint string
	Table                                     string // "": no table is asked, so there are neither pictures nor purposes
	Images                                    string // "inline" (also ""): pictures are fetched; "link": only their addresses are given
	Bucket                                    string // "bucket" or "bucket/prefix" for new pictures; only Put needs it
	Log                                       *slog.Logger

	// In tests; nil: the network, and once a second.
	http  aws.HTTPClient
	limit *rate.Limiter
}

// SES are templates as the old system kept them: the texts in Amazon SES, the
// row of their pictures in DynamoDB, the pictures in S3.
type SES struct {
	config    Config
	region    string
	ses       *sesv2.Client
	table     *dynamodb.Client
	s3        *s3.Client
	transport *http.Transport
}

var _ Source = (*SES)(nil)

// NewSES prepares the clients; nothing is asked yet. Errors are Permanent: they
// are about the configuration.
func NewSES(ctx context.Context, c Config) (*SES, error) {
	c.Images, c.Log = cmp.Or(c.Images, "inline"), cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Images != "inline" && c.Images != "link" {
		return nil, mail.Refuse(0, "", "templates.images is %q; it must be inline or link", c.Images)
	}
	if bucket, _ := splitBucket(c.Bucket); c.Bucket != "" && !bucketName.MatchString(bucket) {
		return nil, mail.Refuse(0, "", "templates.host_bucket is %q; it must be the name of a bucket, or bucket/prefix", c.Bucket)
	}
	s := &SES{config: c, transport: awshttp.NewBuildableClient().GetTransport()}
	cfg, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	s.region = cfg.Region
	client := c.http
	if client == nil {
		client = &http.Client{Transport: s.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	s.ses = sesv2.NewFromConfig(cfg, func(o *sesv2.Options) {
		o.HTTPClient = slowly{client, cmp.Or(c.limit, rate.NewLimiter(rate.Every(sesInterval), sesBurst))}
		o.BaseEndpoint = place(c.SESEndpoint, o.BaseEndpoint)
		o.Credentials = credentialsFor(o.BaseEndpoint, o.Credentials)
	})
	s.table = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.HTTPClient = client
		o.BaseEndpoint = place(c.DynamoDBEndpoint, o.BaseEndpoint)
		o.Credentials = credentialsFor(o.BaseEndpoint, o.Credentials)
	})
	s.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = client
		o.BaseEndpoint = place(c.S3Endpoint, o.BaseEndpoint)
		o.Credentials = credentialsFor(o.BaseEndpoint, o.Credentials)
		if c.S3Endpoint != "" || isEmulator(aws.ToString(o.BaseEndpoint)) { // others than Amazon know buckets in the path, and not all know its newer checksums
			o.UsePathStyle = true
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
	})
	return s, nil
}

func (s *SES) load(ctx context.Context) (aws.Config, error) {
	c := s.config
	emulators := 0
	for key, endpoint := range map[string]string{"lane.ses.endpoint": c.SESEndpoint, "directory.dynamodb.endpoint": c.DynamoDBEndpoint, "the endpoint of S3": c.S3Endpoint,
		"AWS_ENDPOINT_URL_SESV2": found(c.SESEndpoint, "SESV2"), "AWS_ENDPOINT_URL_DYNAMODB": found(c.DynamoDBEndpoint, "DYNAMODB"), "AWS_ENDPOINT_URL_S3": found(c.S3Endpoint, "S3")} {
		if endpoint == "" {
			continue
		}
		if u, err := url.Parse(endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return aws.Config{}, mail.Refuse(0, "", "%s is %q; it must be a URL such as http://127.0.0.1:8000", key, endpoint)
		}
		if isEmulator(endpoint) {
			emulators++
		}
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(c.Region),
		awsconfig.WithLogger(logging.LoggerFunc(func(level logging.Classification, format string, a ...any) {
			c.Log.Debug("AWS SDK: "+fmt.Sprintf(format, a...), "level", level)
		})))
	if err != nil {
		return cfg, &mail.Error{Class: mail.Permanent, Err: err, Public: "the AWS settings of the environment cannot be read"}
	}
	if cfg.Region == "" && emulators == 3 {
		cfg.Region = "us-east-1"
	}
	if cfg.Region == "" {
		return cfg, mail.Refuse(0, "", "no AWS region is known for the templates: set the region of the lane, or AWS_REGION in the environment")
	}
	return cfg, nil
}

// found is an endpoint that the SDK finds in the environment; "" where the
// configuration has one.
func found(configured, service string) string {
	if configured != "" {
		return ""
	}
	return cmp.Or(os.Getenv("AWS_ENDPOINT_URL_"+service), os.Getenv("AWS_ENDPOINT_URL"))
}

// isEmulator says whether an endpoint is somebody else's than Amazon's.
func isEmulator(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" {
		return false
	}
	amazon := func(suffix string) bool { return strings.HasSuffix(strings.ToLower(u.Hostname()), suffix) }
	return !slices.ContainsFunc([]string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"}, amazon)
}

// credentialsFor gives an emulator credentials of its own when the environment
// names none: asking the machine's role would only cost time.
func credentialsFor(endpoint *string, own aws.CredentialsProvider) aws.CredentialsProvider {
	named := slices.ContainsFunc([]string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI"}, func(name string) bool { return os.Getenv(name) != "" })
	if isEmulator(aws.ToString(endpoint)) && !named {
		return credentials.NewStaticCredentialsProvider("emulator", "emulator", "")
	}
	return own
}

// place is the endpoint as the SDK wants it: the configuration's, else what the SDK
// has found in the environment (AWS_ENDPOINT_URL and its like); nil is Amazon's.
func place(endpoint string, found *string) *string {
	if endpoint == "" {
		return found
	}
	return &endpoint
}

// slowly lets one request a second through, the SDK's second tries included.
type slowly struct {
	client aws.HTTPClient
	limit  *rate.Limiter
}

func (c slowly) Do(q *http.Request) (*http.Response, error) {
	if err := c.limit.Wait(q.Context()); err != nil {
		return nil, crowded{err}
	}
	return c.client.Do(q)
}

// crowded says that too many calls to SES wait already. The SDK does not try
// again after an error with CanceledError.
type crowded struct{ error }

func (crowded) CanceledError() bool { return true }
func (e crowded) Unwrap() error     { return e.error }

// Close lets idle connections go.
func (s *SES) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Template fetches the texts, then the row, then the pictures.
func (s *SES) Template(ctx context.Context, id string) (*expand.Template, error) {
	if CheckID(id) != nil {
		return nil, unknown(id)
	}
	ctx, cancel := context.WithTimeout(ctx, totalTimeout)
	defer cancel()
	t, err := s.content(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := s.row(ctx, id)
	if err != nil {
		return nil, err
	}
	t.Purpose = r.purpose
	if err := tidy(t, sesParts()); err != nil {
		return nil, err
	}
	t.Images, err = s.images(ctx, id, r.images)
	return t, err
}

func sesParts() parts {
	return parts{"the HTML part in SES", "the text part in SES", "the subject part in SES", "TemplateName in the table"}
}

// content asks SES. A name with a dot, which SES has not, is not asked for.
func (s *SES) content(ctx context.Context, id string) (*expand.Template, error) {
	if strings.Contains(id, ".") {
		return nil, unknown(id)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.ses.GetEmailTemplate(ctx, &sesv2.GetEmailTemplateInput{TemplateName: &id})
	if err != nil {
		if notFound(err) {
			return nil, unknown(id)
		}
		return nil, s.explainSES(ctx, "GetEmailTemplate", err)
	}
	t := &expand.Template{ID: id}
	if c := out.TemplateContent; c != nil {
		t.Subject, t.HTML, t.Text = aws.ToString(c.Subject), aws.ToString(c.Html), aws.ToString(c.Text)
	}
	return t, nil
}

// List names all templates of the account in the region, a hundred a second,
// and reads their purposes.
func (s *SES) List(ctx context.Context) ([]Info, error) {
	var all []Info
	pages := sesv2.NewListEmailTemplatesPaginator(s.ses, &sesv2.ListEmailTemplatesInput{PageSize: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := s.listPage(ctx, pages)
		if err != nil {
			return all, err
		}
		for _, m := range page.TemplatesMetadata {
			all = append(all, Info{ID: aws.ToString(m.TemplateName)})
		}
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return all, s.purposes(ctx, all)
}

func (s *SES) listPage(ctx context.Context, pages *sesv2.ListEmailTemplatesPaginator) (*sesv2.ListEmailTemplatesOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := pages.NextPage(ctx)
	if err != nil {
		return nil, s.explainSES(ctx, "ListEmailTemplates", err)
	}
	return page, nil
}
