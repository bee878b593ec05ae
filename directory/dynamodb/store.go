package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"postern/directory"
	"postern/directory/internal/awsconfig"
	"postern/mail"
)

const (
	maxSegments = 64
	writers     = 32 // UpdateItems at the same time in one Put
	callTimeout = 20 * time.Second
	importPoll  = 5 * time.Second
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
	transport   *http.Transport
	table       *string
	place       string // endpoint or region, for people
	segments    int
	poll        time.Duration // of an import
	forms       *directory.Forms
	log         *slog.Logger
}

// New prepares the client; the table is first asked by the first call. Errors
// are Permanent: they are about the configuration.
func New(ctx context.Context, c Config) (*Store, error) {
	if c.Segments < 0 || c.Segments > maxSegments {
		return nil, mail.Refuse(0, "", "directory.dynamodb.segments is %d; it must be 1 to %d", c.Segments, maxSegments)
	}
	if c.Endpoint != "" && !awsconfig.IsURL(c.Endpoint) {
		return nil, mail.Refuse(0, "", "directory.dynamodb.endpoint is %q; it must be a URL such as http://127.0.0.1:8000", c.Endpoint)
	}
	log := cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	cfg, err := awsconfig.Load(ctx, c.Region, c.Endpoint, log)
	if errors.Is(err, awsconfig.ErrNoRegion) {
		return nil, mail.Refuse(0, "", "no AWS region is known: set directory.dynamodb.region, or AWS_REGION in the environment")
	}
	if err != nil {
		return nil, err
	}
	s := &Store{
		credentials: cfg.Credentials, transport: awsconfig.Client(&cfg, callTimeout, max(writers+batchers, c.Segments)), segments: max(c.Segments, 1), poll: importPoll,
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

// Close lets idle connections go.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// String names the table and its place, for people.
func (s *Store) String() string { return fmt.Sprintf("DynamoDB table %s (%s)", *s.table, s.place) }
