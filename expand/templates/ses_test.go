package templates_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

var (
	_ writer = (*templates.SES)(nil)
	_ writer = templates.Files{}
)

func TestWhatTheOldSystemKeptIsRead(t *testing.T) {
	w := newWorld(t)
	w.template(t, "spring", "봄 세일 ", "<p>{{Name}}</p>\r\n", "{{Name}}\n")
	w.object(t, "pics", "d/봄 1.png", aPNG())
	w.object(t, "pics", "b.jpg", aJPEG())
	w.object(t, "mypics", "c.gif", aGIF())
	w.object(t, "pics", "e.png", []byte(webp))
	w.row(t, "spring", item{"TemplateName": text("봄 할인"), "ImageURLs": texts("s3://pics/d/%EB%B4%84%201.png", "https://pics.s3.ap-northeast-2.amazonaws.com/b.jpg?X-Amz-Signature=secret",
		"https://s3.eu-west-1.amazonaws.com/mypics/c.gif", "https://pics.s3.amazonaws.com/e.png")})
	want := &expand.Template{ID: "spring", Purpose: "봄 할인", Subject: "봄 세일", HTML: "<p>{{Name}}</p>\r\n", Text: "{{Name}}\n", Images: []expand.Image{
		{Name: "봄 1.png", Type: "image/png", Data: aPNG()},
		{Name: "b.jpg", Type: "image/jpeg", Data: aJPEG(), URL: "https://pics.s3.ap-northeast-2.amazonaws.com/b.jpg"},
		{Name: "c.gif", Type: "image/gif", Data: aGIF(), URL: "https://s3.eu-west-1.amazonaws.com/mypics/c.gif"},
		{Name: "e.png", Type: "image/webp", Data: []byte(webp), URL: "https://pics.s3.amazonaws.com/e.png"}}}
	got, err := w.open(t).Template(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)

	t.Run("linked", func(t *testing.T) {
		w.row(t, "spring", item{"ImageURLs": texts("https://pics.s3.ap-northeast-2.amazonaws.com/absent.png?X-Amz-Signature=secret", "https://cdn.example.com/x.png?w=600")})
		got, err := w.open(t, linked).Template(t.Context(), "spring")
		if err != nil {
			t.Fatal(err)
		}
		if want := []expand.Image{{Name: "absent.png", URL: "https://pics.s3.ap-northeast-2.amazonaws.com/absent.png"}, {Name: "x.png", URL: "https://cdn.example.com/x.png?w=600"}}; !reflect.DeepEqual(got.Images, want) {
			t.Errorf("got %+v", got.Images)
		}
		_, err = w.open(t).Template(t.Context(), "spring")
		says(t, err, mail.Permanent, "absent.png", "not in the bucket pics")
	})
	t.Run("without a row", func(t *testing.T) {
		w.template(t, "plain", "", "", "only text")
		for _, change := range []func(*templates.Config){func(*templates.Config) {}, func(c *templates.Config) { c.Table = "" }} {
			got, err := w.open(t, change).Template(t.Context(), "plain")
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, &expand.Template{ID: "plain", Text: "only text"})
		}
	})
	t.Run("unknown", func(t *testing.T) {
		for _, id := range []string{"none", "no.dots", "../spring", ""} {
			if _, err := w.open(t).Template(t.Context(), id); !errors.Is(err, templates.ErrUnknown) {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
	t.Run("a row without pictures", func(t *testing.T) {
		for _, row := range []item{{"TemplateName": text("p")}, {"ImageURLs": &types.AttributeValueMemberNULL{Value: true}}} {
			w.row(t, "plain", row)
			if got, err := w.open(t).Template(t.Context(), "plain"); err != nil || len(got.Images) > 0 {
				t.Errorf("%v: %v, %v", row, got, err)
			}
		}
	})
	t.Run("list", func(t *testing.T) {
		w.row(t, "plain", item{"TemplateName": text("a plain one"), "ImageURLs": texts()})
		infos, err := w.open(t).List(t.Context())
		if err != nil || !slices.Equal(named(infos), []string{"plain=a plain one", "spring="}) {
			t.Errorf("%v, %v", named(infos), err)
		}
		for i := range 205 { // three pages
			w.template(t, fmt.Sprintf("t%03d", i), "s", "", "x")
		}
		infos, err = w.open(t).List(t.Context())
		if err != nil || len(infos) != 207 || infos[206].ID != "t204" {
			t.Errorf("%d templates, %v", len(infos), err)
		}
		infos, err = w.open(t, func(c *templates.Config) { c.Table = "Absent" }).List(t.Context())
		says(t, err, mail.Temporary, "Absent does not exist")
		if len(infos) != 207 {
			t.Errorf("%d templates although only the purposes are missing", len(infos))
		}
	})
	t.Run("another table", func(t *testing.T) {
		_, err := w.open(t, func(c *templates.Config) { c.Table = "Absent" }).Template(t.Context(), "plain")
		says(t, err, mail.Temporary, "the DynamoDB table Absent does not exist", "table in [templates]")
		w.makeTable(t, "Other", "Email")
		_, err = w.open(t, func(c *templates.Config) { c.Table = "Other" }).Template(t.Context(), "plain")
		says(t, err, mail.Temporary, "TemplateID, of type S")
	})
}

func TestOddRowsAreReadClosedAndNamed(t *testing.T) {
	w := newWorld(t)
	w.template(t, "x", "s", "<p>", "")
	w.object(t, "pics", "a.png", aPNG())
	w.object(t, "pics", "d/a.png", aPNG())
	w.object(t, "pics", "big.png", sized(templates.MaxImage+1))
	w.object(t, "pics", "half1.png", sized(templates.MaxImage))
	w.object(t, "pics", "half2.png", sized(templates.MaxImage))
	w.object(t, "pics", "page.png", []byte("<html>"))
	w.object(t, "pics", "empty.png", nil)
	var many []string
	for range templates.MaxCount + 1 {
		many = append(many, fmt.Sprintf("https://cdn.example.com/%d.png", len(many)))
	}
	list := func(v ...types.AttributeValue) types.AttributeValue { return &types.AttributeValueMemberL{Value: v} }
	for name, c := range map[string]struct {
		it     item
		change func(*templates.Config)
		want   []string
	}{
		"a text":            {item{"ImageURLs": text("s3://pics/a.png")}, nil, []string{"ImageURLs is a single text (S)"}},
		"a set":             {item{"ImageURLs": &types.AttributeValueMemberSS{Value: []string{"s3://pics/a.png"}}}, nil, []string{"ImageURLs is a set (SS)"}},
		"a map":             {item{"ImageURLs": &types.AttributeValueMemberM{Value: item{}}}, nil, []string{"a map"}},
		"a number":          {item{"ImageURLs": list(text("s3://pics/a.png"), &types.AttributeValueMemberN{Value: "1"})}, nil, []string{"entry 2 of ImageURLs is a number (N)"}},
		"purpose":           {item{"ImageURLs": texts(), "TemplateName": &types.AttributeValueMemberN{Value: "1"}}, nil, []string{"TemplateName is a number"}},
		"purpose of lines":  {item{"ImageURLs": texts(), "TemplateName": text("a\nb")}, nil, []string{"TemplateName in the table", "one line"}},
		"http":              {item{"ImageURLs": texts("s3://pics/a.png", "http://example.com/a.png")}, linked, []string{"entry 2 of ImageURLs", "https://"}},
		"same name":         {item{"ImageURLs": texts("s3://pics/a.png", "s3://pics/d/a.png")}, nil, []string{"picture 2", "another picture has the name a.png"}},
		"same name, linked": {item{"ImageURLs": texts("https://example.com/a.png", "https://example.com/d/a.png")}, linked, []string{"picture 2", "another picture has the name a.png"}},
		"elsewhere":         {item{"ImageURLs": texts("https://cdn.example.com/x.png?token=secret")}, nil, []string{"x.png", "not in S3", `images = "link"`}},
		"no https":          {item{"ImageURLs": texts("s3://pics/a.png")}, linked, []string{"a.png", `images = "inline"`}},
		"too large":         {item{"ImageURLs": texts("s3://pics/big.png")}, nil, []string{"big.png", "5 MB"}},
		"together":          {item{"ImageURLs": texts("s3://pics/half1.png", "s3://pics/half2.png", "s3://pics/a.png")}, nil, []string{"a.png", "10 MB"}},
		"too many":          {item{"ImageURLs": texts(many...)}, linked, []string{"100 pictures"}},
		"no picture":        {item{"ImageURLs": texts("s3://pics/page.png")}, nil, []string{"page.png", "is no picture"}},
		"empty picture":     {item{"ImageURLs": texts("s3://pics/empty.png")}, nil, []string{"empty.png", "is empty"}},
		"no object":         {item{"ImageURLs": texts("s3://pics/none.png")}, nil, []string{"none.png", "not in the bucket pics"}},
		"no bucket":         {item{"ImageURLs": texts("s3://absent/a.png")}, nil, []string{"there is no bucket absent"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.row(t, "x", c.it)
			change := c.change
			if change == nil {
				change = func(*templates.Config) {}
			}
			_, err := w.open(t, change).Template(t.Context(), "x")
			says(t, err, mail.Permanent, append(c.want, "the template x cannot be used")...)
		})
	}
}

func TestFilesGoToSESAndBack(t *testing.T) {
	w := newWorld(t)
	ses := w.open(t)
	from := templates.Files{Path: t.TempDir()}
	want := sample()
	put(t, from, want)
	read, err := from.Template(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	did := put(t, ses, read)
	if !slices.Equal(did, []string{"spring: the picture a+b.gif (1 KB) is put to s3://hosted/mail/spring/a+b.gif", "spring: the picture 로고 1.png (1 KB) is put to s3://hosted/mail/spring/로고 1.png",
		`spring: its row in the table ImageAndTemplate is made: the purpose is "봄 할인", 2 pictures`, "spring: the template is made in SES"}) {
		t.Errorf("Put did %q", did)
	}
	if data, kind := w.objectOf(t, "hosted", "mail/spring/로고 1.png"); kind != "image/png" || !slices.Equal(data, aPNG()) {
		t.Errorf("the object is %s of %d octets", kind, len(data))
	}
	pulled, err := ses.Template(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	to := templates.Files{Path: filepath.Join(t.TempDir(), "pulled")}
	put(t, to, pulled)
	back, err := to.Template(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, back, want)
	if did, err := ses.Put(t.Context(), back); err != nil || len(did) != 0 {
		t.Errorf("pushing what was pulled did %q, %v", did, err)
	}
}

// What others put into a row stays, a picture is replaced where it lies, and one
// that the template lost stays in S3.
func TestPutChangesTheLeast(t *testing.T) {
	w := newWorld(t)
	ses := w.open(t)
	w.template(t, "spring", "old", "<p>{{Name}}</p>", "text")
	w.object(t, "pics", "a+b.gif", aGIF()) // without the hash that we write
	w.object(t, "pics", "old/logo.png", aJPEG())
	w.object(t, "pics", "gone.png", aPNG())
	w.row(t, "spring", item{"TemplateName": text("봄 할인"), "Owner": text("kim"), "ImageURLs": texts("s3://pics/a%2Bb.gif", "https://pics.s3.ap-northeast-2.amazonaws.com/old/logo.png?x=1", "s3://pics/gone.png")})
	want := &expand.Template{ID: "spring", Purpose: "봄 할인", Subject: "old", HTML: "<p>{{Name}}!</p>", Images: []expand.Image{
		{Name: "a+b.gif", Type: "image/gif", Data: aGIF()}, {Name: "logo.png", Type: "image/png", Data: aPNG()}, {Name: "new.png", Type: "image/png", Data: aPNG()}}}
	did := put(t, ses, want)
	if !slices.Equal(did, []string{"spring: the picture logo.png (1 KB) is put to s3://pics/old/logo.png", "spring: the picture new.png (1 KB) is put to s3://hosted/mail/spring/new.png",
		`spring: its row in the table ImageAndTemplate is changed: the purpose is "봄 할인", 3 pictures`, "spring: in SES the HTML is replaced, the text is removed"}) {
		t.Errorf("Put did %q", did)
	}
	row := w.rowOf(t, "spring")
	if want := (item{"TemplateID": text("spring"), "TemplateName": text("봄 할인"), "Owner": text("kim"),
		"ImageURLs": texts("s3://pics/a%2Bb.gif", "https://pics.s3.ap-northeast-2.amazonaws.com/old/logo.png?x=1", "s3://hosted/mail/spring/new.png")}); !reflect.DeepEqual(row, want) {
		t.Errorf("the row is %v", row)
	}
	if data, _ := w.objectOf(t, "pics", "gone.png"); !slices.Equal(data, aPNG()) {
		t.Error("a picture that old mails may link was changed")
	}
	got, err := ses.Template(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Images {
		got.Images[i].URL = ""
	}
	equal(t, got, want)

	// The same length, another content.
	other := aPNG()
	other[len(other)-1] ^= 1
	want.Images[2].Data = other
	if did := put(t, ses, want); !slices.Equal(did, []string{"spring: the picture new.png (1 KB) is put to s3://hosted/mail/spring/new.png"}) {
		t.Errorf("Put did %q", did)
	}
	want.Purpose, want.Images = "", nil
	put(t, ses, want)
	if row := w.rowOf(t, "spring"); !reflect.DeepEqual(row, item{"TemplateID": text("spring"), "Owner": text("kim"), "ImageURLs": texts()}) {
		t.Errorf("the row is %v", row)
	}
	// A template with neither purpose nor pictures needs no row.
	if did := put(t, ses, &expand.Template{ID: "plain", Text: "x"}); len(did) != 1 || w.rowOf(t, "plain") != nil {
		t.Errorf("Put did %q", did)
	}
}

func TestLinkedPicturesAreWrittenAsTheirAddresses(t *testing.T) {
	w := newWorld(t)
	ses := w.open(t, linked)
	want := &expand.Template{ID: "x", HTML: "<p>", Images: []expand.Image{{Name: "a.png", URL: "https://cdn.example.com/a.png?w=1"}, {Name: "b.png", URL: "https://pics.s3.eu-west-1.amazonaws.com/b.png"}}}
	put(t, ses, want)
	got, err := ses.Template(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
}

func TestPutIntoSESRefuses(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		tmpl   *expand.Template
		change func(*templates.Config)
		want   string
	}{
		"a dot":       {&expand.Template{ID: "a.b", Text: "x"}, nil, "SES takes no dot"},
		"no bucket":   {sample(), func(c *templates.Config) { c.Bucket = "" }, "host_bucket"},
		"no table":    {sample(), func(c *templates.Config) { c.Table = "" }, "set table in [templates]"},
		"no content":  {&expand.Template{ID: "a"}, nil, "no content"},
		"a fallback":  {&expand.Template{ID: "a", Text: "{{Name|고객}}"}, nil, "Handlebars"},
		"bad address": {&expand.Template{ID: "a", Text: "x", Images: []expand.Image{{Name: "a.png", URL: "http://example.com/a.png"}}}, nil, "the address of the picture a.png"},
	} {
		t.Run(name, func(t *testing.T) {
			change := c.change
			if change == nil {
				change = func(*templates.Config) {}
			}
			did, err := w.open(t, change).Put(t.Context(), c.tmpl)
			says(t, err, mail.Permanent, c.want)
			if len(did) != 0 {
				t.Errorf("it did %q", did)
			}
		})
	}
}

func TestTheConfigurationIsChecked(t *testing.T) {
	for want, c := range map[string]templates.Config{
		"templates.images":            {Region: "x", Images: "both"},
		"templates.host_bucket":       {Region: "x", Bucket: "s3://b"},
		"lane.ses.endpoint":           {Region: "x", SESEndpoint: "127.0.0.1:8000"},
		"directory.dynamodb.endpoint": {Region: "x", DynamoDBEndpoint: "ftp://x"},
		"the endpoint of S3":          {Region: "x", S3Endpoint: "x"},
		"no AWS region":               {SESEndpoint: "http://127.0.0.1:1"},
	} {
		_, err := templates.NewSES(t.Context(), c)
		says(t, err, mail.Permanent, want)
	}
}

// The endpoints that every AWS tool finds in the environment are found here too, and
// buckets are in the path there.
func TestEndpointsFromTheEnvironment(t *testing.T) {
	w := newWorld(t)
	w.template(t, "winter", "s", "<p>{{Body}}</p>", "")
	w.row(t, "winter", item{"ImageURLs": texts("https://pics.s3.ap-northeast-2.amazonaws.com/a.png")})
	w.object(t, "pics", "a.png", aPNG())
	for name, value := range map[string]string{"SESV2": w.config.SESEndpoint, "DYNAMODB": w.config.DynamoDBEndpoint, "S3": w.config.S3Endpoint} {
		t.Setenv("AWS_ENDPOINT_URL_"+name, value)
	}
	s := w.open(t, func(c *templates.Config) { c.Region, c.SESEndpoint, c.DynamoDBEndpoint, c.S3Endpoint = "", "", "", "" })
	got, err := s.Template(t.Context(), "winter")
	if err != nil || len(got.Images) != 1 || string(got.Images[0].Data) != string(aPNG()) {
		t.Errorf("%s, %v", brief(got), err)
	}
}
