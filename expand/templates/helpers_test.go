package templates_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

// TestMain hides the machine's own AWS settings: an emulator needs none.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_ENDPOINT_URL": "", "AWS_MAX_ATTEMPTS": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func encoded(encode func(*bytes.Buffer, image.Image) error) []byte {
	img := image.NewPaletted(image.Rect(0, 0, 3, 2), color.Palette{color.Black, color.White})
	var b bytes.Buffer
	if err := encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func aPNG() []byte {
	return encoded(func(b *bytes.Buffer, i image.Image) error { return png.Encode(b, i) })
}
func aJPEG() []byte {
	return encoded(func(b *bytes.Buffer, i image.Image) error { return jpeg.Encode(b, i, nil) })
}
func aGIF() []byte {
	return encoded(func(b *bytes.Buffer, i image.Image) error { return gif.Encode(b, i, nil) })
}

// sized is a PNG with something behind it.
func sized(n int) []byte {
	return append(aPNG(), make([]byte, n-len(aPNG()))...)
}

// webp is the head of a WebP, all that its type is told by.
const webp = "RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"

// tree writes files below a new folder.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// says holds that an error is of a class and its public sentence has every part.
func says(t testing.TB, err error, class mail.Class, parts ...string) {
	t.Helper()
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != class {
		t.Errorf("got %v, want a %s error", err, class)
		return
	}
	for _, p := range parts {
		if !strings.Contains(e.Public, p) {
			t.Errorf("%q does not say %q", e.Public, p)
		}
	}
}

func equal(t testing.TB, got, want *expand.Template) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", brief(got), brief(want))
	}
}

func brief(t *expand.Template) string {
	if t == nil {
		return "nothing"
	}
	var b strings.Builder
	for _, f := range []string{t.ID, t.Purpose, t.Subject, t.HTML, t.Text} {
		b.WriteString("[" + f[:min(len(f), 200)] + "] ")
	}
	for _, i := range t.Images {
		b.WriteString("(" + i.Name + " " + i.Type + " " + i.URL + " " + string(i.Data[:min(len(i.Data), 8)]) + ") ")
	}
	return b.String()
}

func named(infos []templates.Info) (all []string) {
	for _, i := range infos {
		all = append(all, i.ID+"="+i.Purpose)
	}
	return all
}

// writer is the writing side of both drivers.
type writer interface {
	templates.Source
	Put(context.Context, *expand.Template) ([]string, error)
	DryRun(context.Context, *expand.Template) ([]string, error)
}

// put holds that DryRun says what Put then does, and that a second Put has
// nothing to do.
func put(t testing.TB, w writer, tmpl *expand.Template) []string {
	t.Helper()
	plan, err := w.DryRun(t.Context(), tmpl)
	if err != nil {
		t.Fatal(err)
	}
	done, err := w.Put(t.Context(), tmpl)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(plan, done) {
		t.Errorf("DryRun says\n%s\nPut did\n%s", strings.Join(plan, "\n"), strings.Join(done, "\n"))
	}
	if again, err := w.Put(t.Context(), tmpl); err != nil || len(again) != 0 {
		t.Errorf("the second Put did %q, %v", again, err)
	}
	return done
}
