package templates_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"postern/expand/templates"
)

func TestEveryWayToWriteAPicturesAddress(t *testing.T) {
	type u = templates.ImageURL
	for raw, want := range map[string]u{
		"s3://pics/spring/logo.png":                                              {Bucket: "pics", Key: "spring/logo.png"},
		" S3://pics/a.png ":                                                      {Bucket: "pics", Key: "a.png"},
		"s3://pics/%EB%B4%84%201.png?versionId=3#x":                              {Bucket: "pics", Key: "봄 1.png"},
		"s3://pics/봄+1.png":                                                      {Bucket: "pics", Key: "봄+1.png"},
		"s3://pics/50%off.png":                                                   {Bucket: "pics", Key: "50%off.png"},
		"s3://pics//a.png":                                                       {Bucket: "pics", Key: "/a.png"},
		"https://pics.s3.ap-northeast-2.amazonaws.com/a%20b.png":                 {"pics", "a b.png", "ap-northeast-2", "https://pics.s3.ap-northeast-2.amazonaws.com/a%20b.png"},
		"https://pics.s3.ap-northeast-2.amazonaws.com/a+b%2Bc.png":               {"pics", "a b+c.png", "ap-northeast-2", "https://pics.s3.ap-northeast-2.amazonaws.com/a+b%2Bc.png"},
		"https://PICS.S3.ap-northeast-2.amazonaws.com/A.png":                     {"pics", "A.png", "ap-northeast-2", "https://pics.s3.ap-northeast-2.amazonaws.com/A.png"},
		"https://pics.s3.ap-northeast-2.amazonaws.com/a.png?X-Amz-Signature=1#x": {"pics", "a.png", "ap-northeast-2", "https://pics.s3.ap-northeast-2.amazonaws.com/a.png"},
		"https://my.pics.s3.us-gov-west-1.amazonaws.com/d/a.png":                 {"my.pics", "d/a.png", "us-gov-west-1", "https://my.pics.s3.us-gov-west-1.amazonaws.com/d/a.png"},
		"https://pics.s3.amazonaws.com/d/a.png":                                  {"pics", "d/a.png", "", "https://pics.s3.amazonaws.com/d/a.png"},
		"https://s3.ap-northeast-2.amazonaws.com/pics/d/a%2fb.png":               {"pics", "d/a/b.png", "ap-northeast-2", "https://s3.ap-northeast-2.amazonaws.com/pics/d/a%2fb.png"},
		"https://s3-ap-northeast-2.amazonaws.com/pics/a.png":                     {"pics", "a.png", "ap-northeast-2", "https://s3-ap-northeast-2.amazonaws.com/pics/a.png"},
		"https://pics.s3-eu-west-1.amazonaws.com/a.png":                          {"pics", "a.png", "eu-west-1", "https://pics.s3-eu-west-1.amazonaws.com/a.png"},
		"https://pics.s3.dualstack.eu-west-1.amazonaws.com/a.png":                {"pics", "a.png", "eu-west-1", "https://pics.s3.dualstack.eu-west-1.amazonaws.com/a.png"},
		"https://pics.s3.cn-north-1.amazonaws.com.cn/a.png":                      {"pics", "a.png", "cn-north-1", "https://pics.s3.cn-north-1.amazonaws.com.cn/a.png"},
		"https://s3.amazonaws.com/pics/a.png":                                    {"pics", "a.png", "", "https://s3.amazonaws.com/pics/a.png"},
		"https://cdn.example.com/a.png?w=600#x":                                  {Link: "https://cdn.example.com/a.png?w=600"},
		"https://cdn.example.com:8443/봄.png":                                     {Link: "https://cdn.example.com:8443/%EB%B4%84.png"},
		"https://pics.s3.amazonaws.com.evil.example/a.png":                       {Link: "https://pics.s3.amazonaws.com.evil.example/a.png"},
		"https://d111.cloudfront.net/pics/a.png":                                 {Link: "https://d111.cloudfront.net/pics/a.png"},
	} {
		if got, err := templates.ParseImageURL(raw); err != nil || got != want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", raw, got, err, want)
		}
	}
	for raw, want := range map[string]string{"s3://pics/d/봄 1.png": "봄 1.png", "https://cdn.example.com/a/%EB%B4%84.png?x=1": "봄.png"} {
		if u, err := templates.ParseImageURL(raw); err != nil || u.Name() != want {
			t.Errorf("%s is named %q, %v", raw, u.Name(), err)
		}
	}
}

func TestWhatIsNoAddressOfAPicture(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                       "no address",
		"logo.png":                               "no address",
		"//example.com/a.png":                    "no address",
		"ftp://example.com/a.png":                "no address",
		"data:image/png;base64,AAAA":             "no address",
		"http://pics.s3.amazonaws.com/a.png":     "https://",
		"https:///a.png":                         "no https address",
		"https://example.com/%zz.png":            "two digits",
		"https://example.com":                    "no file name",
		"https://example.com/dir/":               "no file name",
		"https://user:pw@example.com/a.png":      "password",
		"https://s3.amazonaws.com/a.png":         "no file name",
		"https://pics.s3.amazonaws.com/":         "no file name",
		"https://b_%00.s3.amazonaws.com/a.png":   "no https address",
		"s3://pics":                              "no file name",
		"s3://pics/dir/":                         "no file name",
		"s3:///a.png":                            "no bucket",
		"s3://pi cs/a.png":                       "no bucket",
		"s3://pics/%00.png":                      "control",
		"s3://pics/%ff.png":                      "UTF-8",
		"s3://pics/\xff.png":                     "UTF-8",
		"https://example.com/a.png\r\nX: y":      "control",
		"s3://pics/" + strings.Repeat("a", 1025): "too long",
		"s3://pics/" + strings.Repeat("a", 4000): "too long",
	} {
		if _, err := templates.ParseImageURL(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %q", raw, err, want)
		} else if strings.Contains(err.Error(), "user:pw") {
			t.Errorf("%v repeats the address", err)
		}
	}
}

func FuzzParseImageURL(f *testing.F) {
	for _, s := range []string{"s3://pics/a%20b.png?x", "https://pics.s3.ap-northeast-2.amazonaws.com/a+b%2B.png?X-Amz-Signature=1", "https://s3.amazonaws.com/pics/a.png", "https://my.pics.s3-eu-west-1.amazonaws.com/d/..",
		"https://cdn.example.com/a.png?w=1#f", "http://x/y", "https://user:pw@h/x", "s3://b", "https://[::1]/a.png", "https://s3.dualstack.eu-west-1.amazonaws.com/b//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := templates.ParseImageURL(raw)
		if err != nil {
			if u != (templates.ImageURL{}) {
				t.Fatalf("%q: %+v beside %v", raw, u, err)
			}
			return
		}
		if (u.Bucket == "") != (u.Key == "") || u.Bucket == "" && u.Link == "" || strings.ContainsAny(u.Bucket, "/?#%\x00 ") {
			t.Fatalf("%q: %+v", raw, u)
		}
		if strings.ContainsFunc(u.Key, unicode.IsControl) || !utf8.ValidString(u.Key) || u.Name() == "" || strings.HasSuffix(u.Key, "/") {
			t.Fatalf("%q: key %q, name %q", raw, u.Key, u.Name())
		}
		if u.Link == "" {
			return
		}
		l, err := url.Parse(u.Link)
		if err != nil || l.Scheme != "https" || l.Host == "" || l.User != nil || l.Fragment != "" || u.Bucket != "" && l.RawQuery != "" {
			t.Fatalf("%q: link %q, %v", raw, u.Link, err)
		}
		if again, err := templates.ParseImageURL(u.Link); err != nil || again != u {
			t.Fatalf("%q: %+v is read again as %+v, %v", raw, u, again, err)
		}
	})
}
