package staging

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"postern/mail"
)

// object is a chunk in the bucket, or one of its versions.
type object struct {
	id types.ObjectIdentifier
	at time.Time // when it was written
}

// Drop removes the chunks whose names begin with prefix, with all their versions.
func (b *Bucket) Drop(ctx context.Context, prefix string) error {
	if b.folder+prefix == "" {
		return mail.Refuse(0, "", "all of the %s would be removed", b)
	}
	kept, err := b.remove(ctx, b.versions(ctx, prefix, false))
	if noVersions(err) {
		kept, err = b.remove(ctx, b.plain(ctx, prefix))
	} else if err == nil && kept != "" { // versions are kept now and were not before, or the other way round
		kept, err = b.remove(ctx, b.versions(ctx, prefix, true))
	}
	if err == nil && kept != "" {
		return b.fail(nil, "keeps versions, and so the chunks of the first load are still in it, such as %s: they are personal data, remove them; the role needs s3:ListBucketVersions and s3:DeleteObjectVersion", kept)
	}
	return err
}

// noVersions says that S3 does not tell us of versions: the role lacks the right, or the
// maker knows none.
func noVersions(err error) bool {
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.HTTPStatusCode() {
	case http.StatusForbidden, http.StatusNotImplemented, http.StatusMethodNotAllowed, http.StatusBadRequest:
		return true
	}
	return false
}

// remove deletes page after page, each in one call. kept is a key that the bucket has only
// hidden.
func (b *Bucket) remove(ctx context.Context, pages iter.Seq2[[]object, error]) (kept string, err error) {
	for page, err := range pages {
		if err != nil {
			return kept, err
		}
		if len(page) == 0 {
			continue
		}
		ids := make([]types.ObjectIdentifier, len(page))
		for i, o := range page {
			ids[i] = o.id
		}
		out, err := b.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.name, Delete: &types.Delete{Objects: ids}})
		if err != nil {
			return kept, b.explain(ctx, err)
		}
		if len(out.Errors) > 0 {
			e := out.Errors[0]
			return kept, b.fail(nil, "did not remove %d chunks of the first load, such as %s (%s): they are personal data, remove them; the role needs s3:DeleteObject, and s3:DeleteObjectVersion where versions are kept",
				len(out.Errors), aws.ToString(e.Key), aws.ToString(e.Code))
		}
		for _, d := range out.Deleted {
			if aws.ToBool(d.DeleteMarker) && aws.ToString(d.VersionId) == "" {
				kept = aws.ToString(d.Key)
			}
		}
	}
	return kept, nil
}

// plain lists the chunks whose names begin with prefix, as they are now.
func (b *Bucket) plain(ctx context.Context, prefix string) iter.Seq2[[]object, error] {
	return func(yield func([]object, error) bool) {
		pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: aws.String(b.folder + prefix)})
		for pages.HasMorePages() {
			out, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, b.explain(ctx, err))
				return
			}
			var page []object
			for _, o := range out.Contents {
				if isChunk(o.Key) {
					page = append(page, object{types.ObjectIdentifier{Key: o.Key}, aws.ToTime(o.LastModified)})
				}
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

// versions lists all that there ever was of them. "null" is the version of a bucket that keeps
// none: it is named only when that is asked for, because who names it needs another right.
func (b *Bucket) versions(ctx context.Context, prefix string, null bool) iter.Seq2[[]object, error] {
	return func(yield func([]object, error) bool) {
		pages := s3.NewListObjectVersionsPaginator(b.client, &s3.ListObjectVersionsInput{Bucket: &b.name, Prefix: aws.String(b.folder + prefix)})
		for pages.HasMorePages() {
			out, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, b.explain(ctx, err))
				return
			}
			var page []object
			add := func(key, version *string) {
				if aws.ToString(version) == "null" && !null {
					version = nil
				}
				if isChunk(key) {
					page = append(page, object{id: types.ObjectIdentifier{Key: key, VersionId: version}})
				}
			}
			for _, v := range out.Versions {
				add(v.Key, v.VersionId)
			}
			for _, m := range out.DeleteMarkers {
				add(m.Key, m.VersionId)
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

func isChunk(key *string) bool { return strings.HasSuffix(aws.ToString(key), ending) }

func (b *Bucket) fail(err error, format string, a ...any) error {
	return &mail.Error{Err: err, Public: "the " + b.String() + " " + fmt.Sprintf(format, a...)}
}
