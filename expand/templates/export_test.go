package templates

import "github.com/aws/aws-sdk-go-v2/aws"

// Over makes the driver talk to c instead of the network.
func (c Config) Over(client aws.HTTPClient) Config {
	c.http = client
	return c
}

// Distance is the measure of the names' nearness.
var Distance = distance
