package templates

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/time/rate"
)

// Over makes the driver talk to c instead of the network.
func (c Config) Over(client aws.HTTPClient) Config {
	c.http = client
	return c
}

// Eager takes the limit off that real SES needs and an emulator does not.
func (c Config) Eager() Config {
	c.limit = rate.NewLimiter(rate.Inf, 1)
	return c
}
