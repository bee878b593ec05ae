package hosting

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
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
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/singleflight"

	"postern/expand"
	"postern/mail"
)

// Config says which bucket, and how readers reach it.
type Config struct {
	Bucket   string
	BaseURL  string // what stands before the key in a picture's address; http or https
	Region   string // "": from the environment, as with every AWS tool
	Endpoint string // a URL, for emulators and S3's like; "": AWS
	Prefix   string // of every key, such as "mail/"; "" for none
}

// callTimeout is for one call with its retries: somebody waits for the answer to
// DATA.
const callTimeout = 10 * time.Second

// Bucket is where pictures are put. It is safe for many goroutines.
type Bucket struct {
	client      *s3.Client
	transport   *http.Transport
	credentials aws.CredentialsProvider
	name        string
	base        string // without a slash at its end
	prefix      string
	timeout     time.Duration
	flight      singleflight.Group // by key
	known       *keys
}

// New prepares the client; the bucket is first asked by the first Put. Errors are
// Permanent: they are about the configuration.
func New(ctx context.Context, c Config) (*Bucket, error) {
	if c.Bucket == "" {
		return nil, mail.Refuse(0, "", "templates.host_bucket is empty; name the bucket for large pictures")
	}
	if !isWeb(c.BaseURL) {
		return nil, mail.Refuse(0, "", "templates.host_base_url is %q; it must be the URL at which readers find what is in the bucket, such as https://images.example.com", c.BaseURL)
	}
	if c.Endpoint != "" && !isWeb(c.Endpoint) {
		return nil, mail.Refuse(0, "", "the endpoint of the bucket is %q; it must be a URL such as http://127.0.0.1:9000", c.Endpoint)
	}
	cfg, err := load(ctx, c)
	if err != nil {
		return nil, err
	}
	// The SDK's own client keeps its connections to itself, and so nobody could close them.
	transport := awshttp.NewBuildableClient().GetTransport()
	if its, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok { // with the authorities of AWS_CA_BUNDLE
		transport = its.GetTransport()
	}
	cfg.HTTPClient = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	b := &Bucket{
		transport: transport, credentials: cfg.Credentials, name: c.Bucket, base: strings.TrimRight(c.BaseURL, "/"),
		prefix: strings.TrimLeft(c.Prefix, "/"), timeout: callTimeout, known: &keys{seen: map[string]time.Time{}},
	}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = aws.String(c.Endpoint), true
		} else if o.BaseEndpoint != nil && !isAmazon(*o.BaseEndpoint) { // from the environment
			o.UsePathStyle = true
		}
	})
	return b, nil
}

// Close lets idle connections go.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

func isWeb(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") && u.RawQuery == "" && u.Fragment == ""
}

// load reads the AWS settings of the environment. Where the endpoint is not Amazon's
// any credentials and any region will do.
func load(ctx context.Context, c Config) (aws.Config, error) {
	endpoint := cmp.Or(c.Endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	emulator := endpoint != "" && !isAmazon(endpoint)
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithRegion(c.Region)}
	if emulator && !hasCredentials() {
		options = append(options, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("emulator", "emulator", "")))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	switch {
	case err != nil:
		return cfg, &mail.Error{Class: mail.Permanent, Err: err, Public: "the AWS settings of the environment cannot be read"}
	case cfg.Region == "" && emulator:
		cfg.Region = "us-east-1"
	case cfg.Region == "":
		return cfg, mail.Refuse(0, "", "no AWS region is known for the bucket %s: set AWS_REGION in the environment", c.Bucket)
	}
	return cfg, nil
}

func isAmazon(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && slices.ContainsFunc([]string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"}, func(suffix string) bool {
		return strings.HasSuffix(u.Hostname(), suffix)
	})
}

// hasCredentials says whether the environment names any; it does not ask the
// machine's metadata service, which an emulator's machine does not have.
func hasCredentials() bool {
	return slices.ContainsFunc([]string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}, func(name string) bool { return os.Getenv(name) != "" })
}

// Put gives the address of a picture and makes sure that it is there. It returns when
// ctx ends; what it has begun goes on for others that wait for the same picture.
func (b *Bucket) Put(ctx context.Context, m expand.Image) (string, error) {
	kind := http.DetectContentType(m.Data)
	ending := extension(kind)
	if ending == "" {
		return "", mail.Refuse(0, "", "it is called a picture and is %s: only PNG, JPEG, GIF and WebP are put into the bucket", kind)
	}
	sum := sha256.Sum256(m.Data)
	key := b.prefix + hex.EncodeToString(sum[:16]) + ending
	address := b.base + "/" + (&url.URL{Path: key}).EscapedPath()
	if b.known.has(key, time.Now()) {
		return address, nil
	}
	result := b.flight.DoChan(key, func() (any, error) {
		if b.known.has(key, time.Now()) { // since it was asked
			return nil, nil
		}
		return nil, b.put(context.WithoutCancel(ctx), key, kind, m.Data, sum)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return "", r.Err
		}
		return address, nil
	case <-ctx.Done():
		return "", &mail.Error{Err: ctx.Err(), Public: "the bucket " + b.name + " was not waited for"}
	}
}

// extension is that of a type of pictures which all mail readers show; "" for others.
func extension(kind string) string {
	switch kind {
	case "image/png":
		return ".png"
	case "image/jpeg":
		return ".jpg"
	case "image/gif":
		return ".gif"
	case "image/webp":
		return ".webp"
	}
	return ""
}

// put stores what is not there yet.
func (b *Bucket) put(ctx context.Context, key, kind string, data []byte, sum [sha256.Size]byte) error {
	there, err := b.there(ctx, key)
	if err != nil {
		return err
	}
	if !there {
		if err := b.store(ctx, key, kind, data, sum); err != nil {
			return err
		}
	}
	b.known.add(key, time.Now())
	return nil
}

// there asks for the key. An answer that says neither yes nor no has no words, as an
// answer to HEAD has no body: then the picture is sent, and that answer is heard.
func (b *Bucket) there(ctx context.Context, key string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	_, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(b.name), Key: aws.String(key)})
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil && answer.HTTPStatusCode() >= 300 && answer.HTTPStatusCode() < 500 {
		return false, nil
	}
	if err != nil {
		return false, b.explain(ctx, err)
	}
	return true, nil
}

func (b *Bucket) store(ctx context.Context, key, kind string, data []byte, sum [sha256.Size]byte) error {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	_, err := b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(b.name), Key: aws.String(key), Body: bytes.NewReader(data),
		ContentType: aws.String(kind), CacheControl: aws.String("public, max-age=31536000, immutable"),
		ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	})
	if err != nil {
		return b.explain(ctx, err)
	}
	return nil
}
