package ses

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"postern/mail"
)

// The SDK makes the request's JSON from slices: the mail would be joined, encoded into
// a buffer that grows by doubling, and thrown away. A mail of 100 KB would be copied
// five times. So the SDK is given a stand-in for the mail, and what it has written is put
// around the mail's base64 in a buffer of the right size, into which the segments that all
// copies share are encoded directly.

// standIn is what the SDK sees in place of the mail.
func standIn() []byte { return []byte("postern puts the mail in here") }

// withContent puts the mail into one request.
func withContent(c mail.Content) func(*sesv2.Options) {
	return sesv2.WithAPIOptions(func(s *middleware.Stack) error {
		return s.Serialize.Add(middleware.SerializeMiddlewareFunc("PosternContent",
			func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
				request, ok := in.Request.(*smithyhttp.Request)
				if !ok {
					return middleware.SerializeOutput{}, middleware.Metadata{}, fmt.Errorf("a request of type %T", in.Request)
				}
				body, err := insert(request.GetStream(), c)
				if err == nil {
					request, err = request.SetStream(bytes.NewReader(body))
				}
				if err != nil {
					return middleware.SerializeOutput{}, middleware.Metadata{}, err
				}
				in.Request = request
				return next.HandleSerialize(ctx, in)
			}), middleware.After)
	})
}

// insert is the request with the mail in place of its stand-in.
func insert(request io.Reader, c mail.Content) ([]byte, error) {
	if request == nil {
		return nil, errors.New("the request has no body")
	}
	written, err := io.ReadAll(request)
	if err != nil {
		return nil, err
	}
	before, after, found := bytes.Cut(written, []byte(base64.StdEncoding.EncodeToString(standIn())))
	if !found {
		return nil, errors.New("the request has no place for the mail")
	}
	var b bytes.Buffer
	b.Grow(len(written) + base64.StdEncoding.EncodedLen(int(c.Size())))
	b.Write(before)
	encoder := base64.NewEncoder(base64.StdEncoding, &b)
	if _, err := c.WriteTo(encoder); err != nil {
		return nil, err
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	b.Write(after)
	return b.Bytes(), nil
}
