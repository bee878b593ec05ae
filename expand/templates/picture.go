package templates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"postern/expand"
)

// images makes the pictures of a row: fetched, or only linked when the
// configuration says so.
func (s *SES) images(ctx context.Context, id string, entries []entry) ([]expand.Image, error) {
	p := pictures{id: id}
	for i, e := range entries {
		img := expand.Image{Name: e.url.Name(), URL: s.link(e.url)}
		from := fmt.Sprintf("picture %d of %s (%s)", i+1, imagesAttr, shown(img.Name))
		switch {
		case s.config.Images == "link" && img.URL == "":
			return nil, broken(id, "%s has no https address at which readers could see it; set images = \"inline\" in [templates]", from)
		case s.config.Images == "link":
		case e.url.Bucket == "":
			return nil, broken(id, "%s is not in S3, so it cannot be put into the mail; put it into a bucket, or set images = \"link\" in [templates]", from)
		default:
			var err error
			if img.Data, err = s.object(ctx, id, e.url, from); err != nil {
				return nil, err
			}
		}
		if err := p.add(img, from); err != nil {
			return nil, err
		}
	}
	return p.images, nil
}

// link is the https address of a picture. With an endpoint of somebody else's S3
// it is there; a plain http endpoint has none.
func (s *SES) link(u ImageURL) string {
	switch endpoint := strings.TrimSuffix(s.config.S3Endpoint, "/"); {
	case u.Link != "":
		return u.Link
	case endpoint == "":
		return s3Link(u.Bucket, u.Key, s.region)
	case strings.HasPrefix(endpoint, "https://"):
		return endpoint + "/" + u.Bucket + "/" + escapeKey(u.Key)
	}
	return ""
}

// in is where the address says that the bucket is.
func in(u ImageURL) func(*s3.Options) {
	return func(o *s3.Options) {
		if u.Region != "" {
			o.Region = u.Region
		}
	}
}

// object reads a picture, and no more of a larger one than shows that it is.
func (s *SES) object(ctx context.Context, id string, u ImageURL, from string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &u.Bucket, Key: &u.Key}, in(u))
	if err != nil {
		return nil, s.explainS3(ctx, id, from, u, err)
	}
	defer out.Body.Close()
	if aws.ToInt64(out.ContentLength) > MaxImage {
		return nil, broken(id, "%s %v", from, tooLarge())
	}
	data, err := io.ReadAll(io.LimitReader(out.Body, MaxImage+1))
	switch {
	case len(data) > MaxImage:
		return nil, broken(id, "%s %v", from, tooLarge())
	case err == nil && out.ContentLength != nil && int64(len(data)) < *out.ContentLength:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, s.explainS3(ctx, id, from, u, errors.Join(errors.New("the answer broke off"), err))
	}
	return data, nil
}
