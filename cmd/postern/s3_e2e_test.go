//go:build e2e

package main_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"postern/directory"
	"postern/directory/staging"
	"postern/expand"
	"postern/expand/hosting"
	"postern/internal/peer"
	"postern/mail"
)

// versity starts an S3 that checks signatures, as gofakes3 does not, and gives its
// address and the folder of its buckets.
func versity(t *testing.T, key, secret string) (address, folder string) {
	t.Helper()
	port, dir := peer.Port(t), t.TempDir()
	peer.Start(t, port, peer.Built(t, "versitygw"), "--access", key, "--secret", secret, "--region", "ap-northeast-2", "--port", fmt.Sprintf("127.0.0.1:%d", port), "posix", dir)
	return fmt.Sprintf("http://127.0.0.1:%d", port), dir
}

// keysOfTheShop are those that the program finds in its environment.
func keysOfTheShop(t *testing.T, secret string) {
	t.Setenv("AWS_ACCESS_KEY_ID", "shopkey")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
}

func TestTemplatesLiveInAnS3ThatChecksSignatures(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	address, _ := versity(t, "shopkey", "shopsecret")
	w := newWatchedSystemWith(t, address, "shopkey", "shopsecret")
	keysOfTheShop(t, "shopsecret")
	sampleInto(t, root, "templates", "winter")
	carry(t, 0, "push")
	if all := w.written(); len(all) != 5 {
		t.Errorf("the push wrote %q", all)
	}
	carry(t, 0, "push")
	if all := w.written(); all != nil {
		t.Errorf("the second push wrote %q", all)
	}
	carry(t, 0, "pull", "--to", "pulled")
	sameFiles(t, "pulled", "templates")
	keysOfTheShop(t, "wrong")
	if _, said := carry(t, 1, "pull", "--to", "again"); !strings.Contains(said, "shop") || strings.Contains(said, "wrong") {
		t.Errorf("with a wrong key: %s", said)
	}
}

func TestPicturesAreHostedInAnS3ThatChecksSignatures(t *testing.T) {
	address, folder := versity(t, "shopkey", "shopsecret")
	if err := os.Mkdir(filepath.Join(folder, "img"), 0o755); err != nil {
		t.Fatal(err)
	}
	keysOfTheShop(t, "shopsecret")
	puts := 0
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	counting := newGate(t, http.HandlerFunc(httputil.NewSingleHostReverseProxy(to).ServeHTTP))
	picture := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 300<<10)...)
	if _, err := rand.Read(picture[8:]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a restart between them
		b, err := hosting.New(t.Context(), hosting.Config{Bucket: "img", BaseURL: "https://img.example.com", Region: "ap-northeast-2", Endpoint: counting.URL})
		if err != nil {
			t.Fatal(err)
		}
		at, err := b.Put(t.Context(), expand.Image{Name: "a.png", Type: "image/png", Data: picture})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := os.ReadFile(filepath.Join(folder, "img", strings.TrimPrefix(at, "https://img.example.com/")))
		if err != nil || string(stored) != string(picture) {
			t.Errorf("%s: %d octets are stored, %v", at, len(stored), err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if puts = counting.count("PUT", "/img/"); puts != 1 {
			t.Errorf("%d uploads", puts)
		}
	}
	keysOfTheShop(t, "wrong")
	b, err := hosting.New(t.Context(), hosting.Config{Bucket: "img", BaseURL: "https://img.example.com", Region: "ap-northeast-2", Endpoint: address})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if at, err := b.Put(t.Context(), expand.Image{Name: "b.png", Type: "image/png", Data: picture[:len(picture)-1]}); err == nil {
		t.Errorf("with a wrong key it is at %s", at)
	}
}

func TestAFirstLoadIsStagedInAnS3ThatChecksSignatures(t *testing.T) {
	address, folder := versity(t, "shopkey", "shopsecret")
	if err := os.Mkdir(filepath.Join(folder, "load"), 0o755); err != nil {
		t.Fatal(err)
	}
	keysOfTheShop(t, "shopsecret")
	open := func() *staging.Bucket {
		b, err := staging.New(t.Context(), staging.Config{Bucket: "load/shop", Region: "ap-northeast-2", Endpoint: address})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		return b
	}
	b := open()
	kim := directory.User{Email: "kim@example.com", Subscribed: true, Attributes: map[string]any{"Name": "김민", "Gender": nil}}
	for _, name := range []string{"1/0001", "1/0002", "1/0001", "2/0001"} {
		if err := b.Stage(t.Context(), name, []directory.User{kim}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := open().Chunk(t.Context(), "1/0001")
	if err != nil || !reflect.DeepEqual(got, []directory.User{kim}) {
		t.Errorf("read back: %+v, %v", got, err)
	}
	if err := b.Drop(t.Context(), "1/"); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(folder, "load", "shop", "*", "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "0001.json.gz" {
		t.Errorf("left: %q, %v", left, err)
	}
	keysOfTheShop(t, "wrong")
	if err := open().Stage(t.Context(), "1/0001", []directory.User{kim}); mail.ClassOf(err) != mail.AccountWide {
		t.Errorf("with a wrong key: %v", err)
	}
}
