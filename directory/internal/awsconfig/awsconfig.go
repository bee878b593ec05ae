// Package awsconfig reads the AWS settings of the environment for the drivers that need
// them. It asks nobody: credentials are looked for by the first call.
package awsconfig

import (
	"context"
	"errors"
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
	"github.com/aws/smithy-go/logging"

	"postern/mail"
)

// ErrNoRegion says that no region is known, neither here nor in the environment.
var ErrNoRegion = errors.New("no AWS region is known")

// Load reads the settings for an endpoint, "" for Amazon's own, and a region, "" for the
// environment's. Where the endpoint is not Amazon's any credentials and any region will do.
// What the SDK says goes to log, at level debug. An error is [ErrNoRegion] or Permanent.
func Load(ctx context.Context, region, endpoint string, log *slog.Logger) (aws.Config, error) {
	emulator := endpoint != "" && !IsAmazon(endpoint)
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithRegion(region), awsconfig.WithLogger(logging.LoggerFunc(func(level logging.Classification, format string, a ...any) {
		log.Debug("AWS SDK: "+fmt.Sprintf(format, a...), "level", level)
	}))}
	if emulator && !hasCredentials() {
		options = append(options, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("emulator", "emulator", "")))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, &mail.Error{Class: mail.Permanent, Err: err, Public: "the AWS settings of the environment cannot be read"}
	}
	if cfg.Region == "" && emulator {
		cfg.Region = "us-east-1"
	}
	if cfg.Region == "" {
		return cfg, ErrNoRegion
	}
	return cfg, nil
}

// Client gives cfg a client for calls of so long, which keeps so many idle connections.
// The SDK's own keeps its connections to itself, and so nobody could close them.
func Client(cfg *aws.Config, timeout time.Duration, idle int) *http.Transport {
	transport := awshttp.NewBuildableClient().GetTransport()
	if its, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok { // with the authorities of AWS_CA_BUNDLE
		transport = its.GetTransport()
	}
	transport.MaxIdleConnsPerHost = idle
	cfg.HTTPClient = &http.Client{Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return transport
}

// IsURL says whether an endpoint is one.
func IsURL(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// IsAmazon says whether an endpoint is Amazon's own.
func IsAmazon(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && slices.ContainsFunc([]string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"}, func(suffix string) bool {
		return strings.HasSuffix(u.Hostname(), suffix)
	})
}

// hasCredentials says whether the environment names any; it does not ask the machine's
// metadata service, which an emulator's machine does not have.
func hasCredentials() bool {
	return slices.ContainsFunc([]string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"}, func(name string) bool { return os.Getenv(name) != "" })
}
