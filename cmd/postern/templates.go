package main

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"strings"

	"postern/expand"
	"postern/expand/hosting"
	"postern/expand/templates"
)

// templateSource is where the configuration has its templates. What it gives must be
// closed, where it can be.
func (c *Config) templateSource(log *slog.Logger) (templates.Source, error) {
	if c.Templates.Driver != "ses" {
		return templates.Files{Path: c.Templates.Path}, nil
	}
	return c.sesTemplates(c.Templates.Images, log)
}

// sesTemplates are those in SES, whatever the driver; pictures are fetched or only
// linked, as images says.
func (c *Config) sesTemplates(images string, log *slog.Logger) (*templates.SES, error) {
	t := &c.Templates
	region, sesAt := c.sesPlace()
	return templates.NewSES(context.Background(), templates.Config{
		Region: region, SESEndpoint: sesAt, DynamoDBEndpoint: cmp.Or(t.DynamoDBEndpoint, c.Directory.DynamoDB.Endpoint), S3Endpoint: t.S3Endpoint,
		Table: t.Table, Images: images, Bucket: t.HostBucket, Log: log,
	})
}

// sesPlace is the region of the templates, and where SES is.
func (c *Config) sesPlace() (region, endpoint string) {
	region, endpoint = c.Templates.Region, c.Templates.SESEndpoint
	for _, l := range c.Lanes {
		if l.Driver == "ses" {
			region, endpoint = cmp.Or(region, l.SES.Region), cmp.Or(endpoint, l.SES.Endpoint)
			break
		}
	}
	return cmp.Or(region, c.Directory.DynamoDB.Region), endpoint
}

// pictureHost puts large pictures of list mail where they can be linked; nil without
// `host_images_over`.
func (c *Config) pictureHost() (*hosting.Bucket, error) {
	t := &c.Templates
	if t.HostImagesOver == 0 {
		return nil, nil
	}
	region, _ := c.sesPlace()
	bucket, prefix, _ := strings.Cut(strings.Trim(t.HostBucket, "/"), "/") // as `templates push` reads it
	if prefix != "" {
		prefix += "/"
	}
	return hosting.New(context.Background(), hosting.Config{Bucket: bucket, Prefix: prefix, BaseURL: t.HostBaseURL, Region: region, Endpoint: t.S3Endpoint})
}

// lookup is the templates of cache, as the intake wants them.
func lookup(cache *templates.Cache) func(context.Context, string) (*expand.Template, error) {
	return func(ctx context.Context, id string) (*expand.Template, error) {
		found, err := cache.Get(ctx, id)
		return found.Template, err
	}
}

func closeSource(s templates.Source) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
