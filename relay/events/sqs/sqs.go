package sqs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// The limits of SQS and what is made of them.
const (
	perReceive  = 10               // messages of one receive, and of one delete
	maxReceives = 5                // of a message that is no event, where no redrive policy takes it
	maxWidth    = 10               // receives of a full round
	longPoll    = 20 * time.Second // how long SQS waits for a message to come
	minBackOff  = time.Second
	maxBackOff  = time.Minute
)

// Config is a queue and how to read it. Credentials come from where every AWS tool
// finds them (environment, shared files, instance role).
type Config struct {
	QueueURL   string        // https://sqs.REGION.amazonaws.com/ACCOUNT/NAME; another host than Amazon's is an emulator's
	Region     string        // where QueueURL does not say it; "": from the environment
	Visibility time.Duration // how long a message that was received is hidden from other readers, in whole seconds; 2 min
	Log        *slog.Logger  // nil: the default one
}

// Reader reads one queue.
type Reader struct {
	cfg       Config
	log       *slog.Logger
	api       *sqs.Client
	transport *http.Transport

	mu     sync.Mutex
	status status
}

// New finds region and credentials; it asks the queue nothing.
func New(ctx context.Context, cfg Config) (*Reader, error) {
	host, err := parseURL(cfg.QueueURL)
	if err != nil {
		return nil, err
	}
	if host.region != "" { // SNS brings events to queues of other regions too
		cfg.Region = host.region
	}
	if cfg.Visibility <= 0 {
		cfg.Visibility = 2 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	aws, err := config.LoadDefaultConfig(ctx, loadOptions(cfg.Region, host.emulator)...)
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration of this machine (environment, shared files) cannot be read: %w", err)
	}
	if aws.Region == "" {
		if !host.emulator {
			return nil, fmt.Errorf("no AWS region is known for the queue %s: set region, or AWS_REGION in the environment", cfg.QueueURL)
		}
		aws.Region = "us-east-1"
	}
	r := &Reader{cfg: cfg, log: cfg.Log, transport: newTransport(), status: status{words: "the queue has not been read yet"}}
	r.api = sqs.NewFromConfig(aws, func(o *sqs.Options) {
		o.HTTPClient = &http.Client{Transport: r.transport, CheckRedirect: noRedirect}
		if host.endpoint != "" {
			o.BaseEndpoint = &host.endpoint
		}
	})
	return r, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newTransport() *http.Transport {
	t := awshttp.NewBuildableClient().GetTransport()
	t.MaxIdleConnsPerHost = maxWidth
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	return t
}

func loadOptions(region string, emulator bool) []func(*config.LoadOptions) error {
	var o []func(*config.LoadOptions) error
	if region != "" {
		o = append(o, config.WithRegion(region))
	}
	// As for SES: an emulator takes any credentials and gets no real ones.
	if emulator && os.Getenv("AWS_ACCESS_KEY_ID") == "" && os.Getenv("AWS_PROFILE") == "" {
		o = append(o, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("emulator", "emulator", "")))
	}
	return o
}

// place is what a queue's URL says of where it is.
type place struct {
	region   string // "": it does not say
	endpoint string // "": the SDK's own for the region
	emulator bool
}

// The hosts of SQS: of a region, of its end points with FIPS and IPv6, of a VPC end
// point, and the old ones. See https://docs.aws.amazon.com/general/latest/gr/sqs-service.html.
var (
	regional = regexp.MustCompile(`^(?:.+\.)?sqs(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com|amazonaws\.com\.cn|api\.aws)$`)
	old      = regexp.MustCompile(`^(?:([a-z0-9-]+)\.)?queue\.amazonaws\.com$`)
)

func parseURL(queue string) (place, error) {
	u, err := url.Parse(queue)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") == "" || u.User != nil {
		return place{}, fmt.Errorf("%q is not the URL of a queue, such as https://sqs.ap-northeast-2.amazonaws.com/123456789012/postern-events", queue)
	}
	host := strings.ToLower(u.Hostname())
	p := place{endpoint: u.Scheme + "://" + u.Host}
	if m := old.FindStringSubmatch(host); m != nil {
		p.endpoint = "" // those do not speak the protocol of today
		if p.region = m[1]; p.region == "" {
			p.region = "us-east-1"
		}
	} else if m := regional.FindStringSubmatch(host); m != nil {
		p.region = m[1]
	} else {
		p.emulator = true
		// Names below localhost are this machine (RFC 6761 §6.3), which not every
		// resolver knows.
		if strings.HasSuffix(host, ".localhost") {
			p.endpoint = u.Scheme + "://" + net.JoinHostPort("localhost", portOf(u))
		}
	}
	if !p.emulator && u.Scheme != "https" {
		return place{}, errors.New("the URL of a queue of Amazon begins with https://")
	}
	return p, nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// seconds is a length of time as SQS takes it.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
