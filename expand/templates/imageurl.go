package templates

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ImageURL is one entry of ImageURLs: an object in S3, or any other https
// address, which can only be linked.
type ImageURL struct {
	Bucket, Key string // "" for what is not in S3
	Region      string // where the address names it
	Link        string // https, without what a query may hold of a signature; "" for s3://
}

// Name is what {{image:NAME}} calls the picture: the last segment.
func (u ImageURL) Name() string {
	if u.Bucket != "" {
		return u.Key[strings.LastIndex(u.Key, "/")+1:]
	}
	link, err := url.Parse(u.Link)
	if err != nil {
		return ""
	}
	return path.Base(link.Path)
}

// s3Host knows the names under which S3 answers: with the bucket before or in the
// path, with the region or without, in its older and dual-stack forms too.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
var s3Host = regexp.MustCompile(`^(?:(.+)\.)?s3(?:\.dualstack)?(?:[.-]([a-z]{2}(?:-[a-z]+)+-[0-9]+))?\.amazonaws\.com(?:\.cn)?$`)

// ParseImageURL reads an entry of ImageURLs: s3://bucket/key, the https forms of
// an object in S3, or another https address. Percent-encoding is undone in keys,
// queries and fragments are cut off where the object is in S3. Its errors do not
// repeat the entry, which may hold a signature.
func ParseImageURL(raw string) (ImageURL, error) {
	if len(raw) > 2048 || !utf8.ValidString(raw) || strings.ContainsFunc(raw, unicode.IsControl) {
		return ImageURL{}, errors.New("it is too long, not UTF-8 or holds control characters")
	}
	scheme, rest, ok := strings.Cut(strings.TrimSpace(raw), "://")
	switch {
	case ok && strings.EqualFold(scheme, "s3"):
		return parseS3(rest)
	case ok && strings.EqualFold(scheme, "https"):
		return parseHTTPS("https://" + rest)
	case ok && strings.EqualFold(scheme, "http"):
		return ImageURL{}, errors.New("it begins with http://, and mail programs warn of such pictures; write https://")
	}
	return ImageURL{}, errors.New("it is no address; write s3://bucket/key or https://…")
}

func parseS3(rest string) (ImageURL, error) {
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if k, err := url.PathUnescape(key); err == nil { // else the % is one of the key's own
		key = k
	}
	return object(ImageURL{Bucket: bucket, Key: key})
}

func parseHTTPS(raw string) (ImageURL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return ImageURL{}, errors.New("it is no https address that can be read; write https://host/path with every % followed by two digits")
	}
	if u.User != nil {
		return ImageURL{}, errors.New("it holds a user name or password; every reader of the mail would see it, so leave it out")
	}
	u.Host = strings.ToLower(u.Host)
	u.Fragment, u.RawFragment = "", ""
	m := s3Host.FindStringSubmatch(u.Hostname())
	if m == nil {
		if base := path.Base(u.Path); base == "." || base == "/" || strings.HasSuffix(u.Path, "/") {
			return ImageURL{}, errors.New("it ends in no file name; write the whole address of the picture")
		}
		return ImageURL{Link: u.String()}, nil
	}
	u.RawQuery, u.ForceQuery = "", false
	// In a path S3 reads + as a blank, as the addresses of its console have it.
	p, err := url.PathUnescape(strings.ReplaceAll(strings.TrimPrefix(u.EscapedPath(), "/"), "+", "%20"))
	if err != nil {
		return ImageURL{}, errors.New("a % in it is not followed by two digits")
	}
	i := ImageURL{Bucket: m[1], Key: p, Region: m[2], Link: u.String()}
	if i.Bucket == "" {
		i.Bucket, i.Key, _ = strings.Cut(p, "/")
	}
	return object(i)
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{2,254}$`) // the oldest ones may be long and have capitals

func object(i ImageURL) (ImageURL, error) {
	switch {
	case !bucketName.MatchString(i.Bucket):
		return ImageURL{}, errors.New("it names no bucket that S3 could have; write s3://bucket/key")
	case i.Key == "" || strings.HasSuffix(i.Key, "/"):
		return ImageURL{}, errors.New("it ends in no file name; write the whole key of the picture")
	case len(i.Key) > 1024 || !utf8.ValidString(i.Key) || strings.ContainsFunc(i.Key, unicode.IsControl):
		return ImageURL{}, errors.New("its key is too long, not UTF-8 or holds control characters")
	}
	return i, nil
}

// s3Link is the https address of an object. A bucket with dots goes into the
// path: Amazon's certificate does not cover it in the name.
func s3Link(bucket, key, region string) string {
	host := "s3." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		host += ".cn"
	}
	if strings.Contains(bucket, ".") || strings.ContainsAny(bucket, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") {
		return "https://" + host + "/" + bucket + "/" + escapeKey(key)
	}
	return "https://" + bucket + "." + host + "/" + escapeKey(key)
}

// escapeKey escapes a key for a path, the + included, which S3 takes for a blank.
func escapeKey(key string) string {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		segments[i] = strings.ReplaceAll(url.PathEscape(s), "+", "%2B")
	}
	return strings.Join(segments, "/")
}
