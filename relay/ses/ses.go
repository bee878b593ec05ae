package ses

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go"

	"postern/mail"
	"postern/relay"
	"postern/relay/events"
)

// TagName is the name of the EmailTag whose value is the copy's tag.
const TagName = events.TagName

// Config is a lane's way to SES. Credentials come from where every AWS tool
// finds them (environment, shared files, instance role).
type Config struct {
	Region           string        // "": from the environment
	Endpoint         string        // "": that of the region; else a URL, for emulators and VPC end points
	ConfigurationSet string        // "": the identity's own, or none
	Concurrency      int           // how many Sends go on at once: the size of the connection pool; 10
	Timeout          time.Duration // of one Send, or one Account; 45 s
}

// Sender is one SES account in one region.
type Sender struct {
	cfg       Config
	api       *sesv2.Client
	transport *http.Transport
}

var _ relay.Sender = (*Sender)(nil)

// New finds region and credentials; it asks SES nothing. Whether the
// credentials are good shows at the first Send or [Sender.Account].
func New(ctx context.Context, cfg Config) (*Sender, error) {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 10
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 45 * time.Second
	}
	emulator, err := isEmulator(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	aws, err := config.LoadDefaultConfig(ctx, loadOptions(cfg, emulator)...)
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration of this machine (environment, shared files) cannot be read: %w", err)
	}
	if aws.Region == "" {
		if !emulator {
			return nil, errors.New("no AWS region is known: set region, or AWS_REGION in the environment")
		}
		aws.Region = "us-east-1"
	}
	s := &Sender{cfg: cfg, transport: newTransport(cfg.Concurrency)}
	s.api = sesv2.NewFromConfig(aws, func(o *sesv2.Options) {
		// Only this API's calls: how the SDK fetches credentials stays its own.
		o.HTTPClient = watchedClient{&http.Client{Transport: s.transport, CheckRedirect: noRedirect}}
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
	})
	return s, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// isEmulator says whether the end point is somebody else's than Amazon's.
func isEmulator(endpoint string) (bool, error) {
	if endpoint == "" {
		return false, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return false, fmt.Errorf("endpoint %q is not a URL such as http://127.0.0.1:8005", endpoint)
	}
	host := strings.ToLower(u.Hostname())
	return !strings.HasSuffix(host, ".amazonaws.com") && !strings.HasSuffix(host, ".amazonaws.com.cn") && !strings.HasSuffix(host, ".api.aws"), nil
}

func loadOptions(cfg Config, emulator bool) []func(*config.LoadOptions) error {
	var o []func(*config.LoadOptions) error
	if cfg.Region != "" {
		o = append(o, config.WithRegion(cfg.Region))
	}
	// An emulator takes any credentials; asking an instance role for some would
	// only cost time, and sending real ones there would be wrong.
	if emulator && os.Getenv("AWS_ACCESS_KEY_ID") == "" && os.Getenv("AWS_PROFILE") == "" {
		o = append(o, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("emulator", "emulator", "")))
	}
	return o
}

// newTransport is the SDK's own with a pool that keeps a connection for each
// worker; the SDK keeps ten.
func newTransport(concurrency int) *http.Transport {
	t := awshttp.NewBuildableClient().GetTransport()
	t.MaxIdleConnsPerHost = max(concurrency, t.MaxIdleConnsPerHost)
	t.MaxIdleConns = max(2*concurrency, t.MaxIdleConns)
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	return t
}

// Idempotent is false: SES takes the same copy twice.
func (s *Sender) Idempotent() bool { return false }

// EightBit is false: SES asks for 7-bit text in lines of at most 998 octets, and
// may change other mail after it was signed. See
// https://docs.aws.amazon.com/ses/latest/dg/send-email-raw.html.
func (s *Sender) EightBit() bool { return false }

// LongLines is false.
func (s *Sender) LongLines() bool { return false }

// Close drops the kept connections. A Send that is at work goes on.
func (s *Sender) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Send hands d to SES. The receipt's ID is SES's MessageId, without the
// "@region.amazonses.com" of the header.
func (s *Sender) Send(ctx context.Context, d *relay.Delivery) (relay.Receipt, error) {
	to, err := d.To.ASCII()
	if err != nil {
		return relay.Receipt{}, err
	}
	if to == "" {
		return relay.Receipt{}, mail.Refuse(553, "5.1.3", "the copy has no recipient")
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var p progress
	out, err := s.api.SendEmail(p.watch(ctx), s.input(d, to), oneTry, withContent(d.Content))
	if err != nil {
		return relay.Receipt{}, classify(err, p.stage())
	}
	id := aws.ToString(out.MessageId)
	return relay.Receipt{ID: id, Text: "accepted by Amazon SES as " + id}, nil
}

func oneTry(o *sesv2.Options) { o.Retryer = aws.NopRetryer{} }

func (s *Sender) input(d *relay.Delivery, to string) *sesv2.SendEmailInput {
	in := &sesv2.SendEmailInput{
		Content:     &types.EmailContent{Raw: &types.RawMessage{Data: standIn()}},
		Destination: &types.Destination{ToAddresses: []string{to}},
		ConfigurationOverrides: &types.ConfigurationOverrides{Tracking: &types.TrackingConfigurationOverrides{
			ClickTrackingEnabled: types.FeatureStatusDisabled,
			OpenTrackingEnabled:  types.FeatureStatusDisabled,
		}},
	}
	if d.Tag != "" {
		in.EmailTags = []types.MessageTag{{Name: aws.String(TagName), Value: &d.Tag}}
	}
	if s.cfg.ConfigurationSet != "" {
		in.ConfigurationSetName = &s.cfg.ConfigurationSet
	}
	return in
}

// Account asks GetAccount, once. SES answers such calls about once a second, to all
// who use the account, so ask no more than once a minute. It changes nothing, so that
// no error is Uncertain. An answer without a quota, as some emulators give it, is an
// error.
func (s *Sender) Account(ctx context.Context) (relay.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	var p progress
	out, err := s.api.GetAccount(p.watch(ctx), &sesv2.GetAccountInput{}, oneTry)
	if err != nil {
		return relay.Account{}, unasked(classify(err, p.stage()))
	}
	q := out.SendQuota
	if q == nil || q.MaxSendRate == 0 && q.Max24HourSend == 0 || !plausible(q.MaxSendRate) || !plausible(q.Max24HourSend) || !plausible(q.SentLast24Hours) {
		return relay.Account{}, &mail.Error{Public: "the answer to GetAccount holds no sending quota"}
	}
	return relay.Account{Rate: q.MaxSendRate, Max24: q.Max24HourSend, Sent24: q.SentLast24Hours,
		Sandbox: !out.ProductionAccessEnabled, Paused: !out.SendingEnabled, Enforcement: aws.ToString(out.EnforcementStatus)}, nil
}

// plausible is false for what no account has: the protocol also carries NaN and infinity.
func plausible(n float64) bool { return n >= -1 && n <= 1e12 }

// unasked is why GetAccount did not answer, and what to do.
func unasked(e *mail.Error) *mail.Error {
	var api smithy.APIError
	switch {
	case e.Class == mail.Uncertain:
		e.Class, e.Public = mail.Unreachable, "Amazon SES does not say what the account may send"
	case errors.As(e, &api) && strings.HasPrefix(api.ErrorCode(), "AccessDenied"):
		e.Public = "the permission ses:GetAccount is missing: allow it to the credentials of this lane in IAM, beside ses:SendEmail (" + words(api) + ")"
	}
	return e
}
