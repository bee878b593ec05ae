package staging

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"postern/directory"
	"postern/directory/internal/awsconfig"
	"postern/directory/mysqlsync"
	"postern/mail"
)

const (
	ending      = ".json.gz"
	emptyNames  = "empty" // the metadata with the attributes that are empty somewhere in the chunk
	callTimeout = 2 * time.Minute
	idleConns   = 8
)

// Table is what a directory imports into; *dynamodb.Store is one.
type Table interface {
	// Missing says that there is no table, and Import would make it.
	Missing(ctx context.Context) (bool, error)
	// Import makes the table of what the bucket has below prefix, the latest of it written at
	// the time staged. It does what mysqlsync.Staging says.
	Import(ctx context.Context, bucket, prefix string, staged time.Time, progress func(items int64)) (bool, error)
}

// Config says which bucket, and what is made of it.
type Config struct {
	Bucket   string // or BUCKET/FOLDER
	Region   string // "": from the environment, as with every AWS tool
	Endpoint string // a URL, for emulators and other makers' S3; "": AWS
	Table    Table  // nil: the directory imports nothing, such as the embedded one
	Log      *slog.Logger
}

// Bucket is a folder of a bucket in S3. It implements [mysqlsync.Staging] and is used from
// many goroutines. Errors are [mail.Error]s, Temporary but for a chunk that is gone or
// damaged, which is Permanent.
type Bucket struct {
	client      *s3.Client
	transport   *http.Transport
	credentials aws.CredentialsProvider
	name        string
	folder      string // "" or with a slash at its end
	table       Table  // may be nil
	log         *slog.Logger
}

var _ mysqlsync.Staging = (*Bucket)(nil)

// New prepares the client; the bucket is first asked by the first call. Errors are
// Permanent: they are about the configuration.
func New(ctx context.Context, c Config) (*Bucket, error) {
	name, in, _ := strings.Cut(strings.Trim(c.Bucket, "/"), "/")
	if name == "" {
		return nil, mail.Refuse(0, "", "sync.s3_bucket is %q; it must be a bucket, or BUCKET/FOLDER", c.Bucket)
	}
	if c.Endpoint != "" && !awsconfig.IsURL(c.Endpoint) {
		return nil, mail.Refuse(0, "", "the endpoint of the bucket is %q; it must be a URL such as http://127.0.0.1:9000", c.Endpoint)
	}
	log := cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	endpoint := cmp.Or(c.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	cfg, err := awsconfig.Load(ctx, c.Region, endpoint, log)
	if errors.Is(err, awsconfig.ErrNoRegion) {
		return nil, mail.Refuse(0, "", "no AWS region is known for the bucket %s: set directory.dynamodb.region, or AWS_REGION in the environment", name)
	}
	if err != nil {
		return nil, err
	}
	b := &Bucket{transport: awsconfig.Client(&cfg, callTimeout, idleConns), credentials: cfg.Credentials, name: name, table: c.Table, log: log}
	if in != "" {
		b.folder = in + "/"
	}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
		o.UsePathStyle = o.BaseEndpoint != nil && !awsconfig.IsAmazon(*o.BaseEndpoint)
	})
	return b, nil
}

// Close lets idle connections go.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// String names the bucket and the folder, for people.
func (b *Bucket) String() string { return strings.TrimSuffix("bucket "+b.name+"/"+b.folder, "/") }

func (b *Bucket) key(name string) *string { return aws.String(b.folder + name + ending) }

// Stage writes a chunk, whole or not at all, over one of the same name. A user that no
// directory can hold is a Permanent error.
func (b *Bucket) Stage(ctx context.Context, name string, users []directory.User) error {
	data, empty, err := encode(users)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	in := &s3.PutObjectInput{Bucket: &b.name, Key: b.key(name), Body: bytes.NewReader(data),
		ContentType: aws.String("application/gzip"), ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:]))}
	if empty != "" {
		in.Metadata = map[string]string{emptyNames: empty}
	}
	if _, err := b.client.PutObject(ctx, in); err != nil {
		return b.explain(ctx, err)
	}
	b.log.Debug("staged a chunk", "bucket", b.name, "chunk", name, "users", len(users), "octets", len(data))
	return nil
}

// Chunk reads a chunk back: what Put is to be given, in its order.
func (b *Bucket) Chunk(ctx context.Context, name string) ([]directory.User, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: b.key(name)})
	var missing *types.NoSuchKey
	if errors.As(err, &missing) {
		return nil, &mail.Error{Class: mail.Permanent, Err: err, Public: fmt.Sprintf("the %s has no chunk %s: somebody has removed it", b, name)}
	}
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	whole := err == nil || int64(len(data)) == aws.ToInt64(out.ContentLength) // the SDK compares checksums at the end
	if !whole {
		return nil, b.explain(ctx, err)
	}
	var users []directory.User
	if err == nil {
		users, err = decode(data, out.Metadata[emptyNames])
	}
	if err != nil {
		return nil, &mail.Error{Class: mail.Permanent, Err: err, Public: fmt.Sprintf("the chunk %s in the %s is damaged", name, b)}
	}
	return users, nil
}

// Missing says that the directory's table is not there, and Import would make it.
func (b *Bucket) Missing(ctx context.Context) (bool, error) {
	if b.table == nil {
		return false, nil
	}
	return b.table.Missing(ctx)
}

// Import makes the directory's table of all chunks whose names begin with prefix; false when
// there is a table, or the directory imports nothing.
func (b *Bucket) Import(ctx context.Context, prefix string, progress func(items int64)) (bool, error) {
	if b.table == nil {
		return false, nil
	}
	chunks := 0
	var last time.Time
	for page, err := range b.plain(ctx, prefix) {
		if err != nil {
			return false, err
		}
		for _, o := range page {
			chunks++
			if o.at.After(last) {
				last = o.at
			}
		}
	}
	if chunks == 0 {
		return false, &mail.Error{Class: mail.Permanent, Public: fmt.Sprintf("the %s has no chunks %s*: somebody has removed them", b, prefix)}
	}
	return b.table.Import(ctx, b.name, b.folder+prefix, last, progress)
}
