package dynamodb

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
	"github.com/aws/smithy-go/logging"

	"postern/directory"
	"postern/mail"
)

const (
	maxSegments = 64
	writers     = 32 // UpdateItems at the same time in one Put
	callTimeout = 20 * time.Second
)

// Config says which table, and where.
type Config struct {
	Table    string // default "User"
	Region   string // "": from the environment, as with every AWS tool
	Endpoint string // a URL, for emulators and private endpoints; "": AWS
	Segments int    // of a scan, 1 to 64; 0 is 1
	// Fields are attributes and their types, as directory.NewForms has them: what is written
	// under such a name takes the place of the same name in another case.
	Fields map[string]string
	Log    *slog.Logger
}

// Store is the directory in a DynamoDB table. It implements [directory.Store].
type Store struct {
	client      *dynamodb.Client
	credentials aws.CredentialsProvider
	transport   *awshttp.BuildableClient
	table       *string
	place       string // endpoint or region, for people
	segments    int
	forms       *directory.Forms
	log         *slog.Logger
}

// New prepares the client; the table is first asked by the first call. Errors
// are Permanent: they are about the configuration.
func New(ctx context.Context, c Config) (*Store, error) {
	if c.Segments < 0 || c.Segments > maxSegments {
		return nil, mail.Refuse(0, "", "directory.dynamodb.segments is %d; it must be 1 to %d", c.Segments, maxSegments)
	}
	transport := awshttp.NewBuildableClient().WithTimeout(callTimeout).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = max(writers, c.Segments)
	})
	log := cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithRegion(c.Region), awsconfig.WithHTTPClient(transport),
		awsconfig.WithLogger(logging.LoggerFunc(func(level logging.Classification, format string, a ...any) {
			log.Debug("AWS SDK: "+fmt.Sprintf(format, a...), "level", level)
		}))}
	emulator, err := isEmulator(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if emulator && !hasCredentials() {
		options = append(options, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("emulator", "emulator", "")))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, &mail.Error{Class: mail.Permanent, Err: err, Public: "the AWS settings of the environment cannot be read"}
	}
	if cfg.Region == "" && emulator {
		cfg.Region = "us-east-1"
	}
	if cfg.Region == "" {
		return nil, mail.Refuse(0, "", "no AWS region is known: set directory.dynamodb.region, or AWS_REGION in the environment")
	}
	s := &Store{
		credentials: cfg.Credentials, transport: transport, segments: max(c.Segments, 1),
		table: aws.String(cmp.Or(c.Table, "User")), place: cmp.Or(c.Endpoint, "region "+cfg.Region),
		forms: directory.NewForms(c.Fields), log: log,
	}
	s.client = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	})
	return s, nil
}

// isEmulator says whether the endpoint is somebody else's than Amazon's, where
// any credentials will do.
func isEmulator(endpoint string) (bool, error) {
	if endpoint == "" {
		return false, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false, mail.Refuse(0, "", "directory.dynamodb.endpoint is %q; it must be a URL such as http://127.0.0.1:8000", endpoint)
	}
	amazon := func(suffix string) bool { return strings.HasSuffix(u.Hostname(), suffix) }
	return !slices.ContainsFunc([]string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"}, amazon), nil
}

// hasCredentials says whether the environment names any; it does not ask the
// machine's metadata service, which an emulator's machine does not have.
func hasCredentials() bool {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// Close lets idle connections go.
func (s *Store) Close() error {
	s.transport.GetTransport().CloseIdleConnections()
	return nil
}

// String names the table and its place, for people.
func (s *Store) String() string { return fmt.Sprintf("DynamoDB table %s (%s)", *s.table, s.place) }
