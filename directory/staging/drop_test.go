package staging_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"

	"postern/directory/staging"
	"postern/mail"
)

// list counts what a bucket that keeps versions has of any key.
func (s *store) versions(t *testing.T) (n int) {
	t.Helper()
	list, err := s.backend.ListBucketVersions("shop", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Versions)
}

func (s *store) keepVersions(t *testing.T, status gofakes3.VersioningStatus) {
	t.Helper()
	if err := s.backend.SetVersioningConfiguration("shop", gofakes3.VersioningConfiguration{Status: status}); err != nil {
		t.Fatal(err)
	}
}

func TestDropRemovesTheChunksAndNothingElse(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, staging.Config{})
	const chunks = 1100 // more than a page of the list
	data := zip(t, "")
	for i := range chunks {
		s.put(t, fmt.Sprintf("first/load-1/%04d.json.gz", i), data, nil)
	}
	others := []string{"first/load-1/notes.txt", "first/load-2/0001.json.gz", "first/load.json.gz", "load-1/0001.json.gz"}
	left := []string{others[0], others[3]} // of another ending, and not in the folder
	for _, key := range others {
		s.put(t, key, data, nil)
	}
	for range 2 {
		if err := b.Drop(t.Context(), "load-1/"); err != nil {
			t.Fatal(err)
		}
		if keys := s.keys(t); !slices.Equal(keys, others) {
			t.Fatalf("%d keys are left, %.10q", len(keys), keys)
		}
	}
	if err := b.Drop(t.Context(), ""); err != nil { // all of the folder
		t.Fatal(err)
	}
	if keys := s.keys(t); !slices.Equal(keys, left) {
		t.Errorf("left: %q", keys)
	}
	sentence(t, "no folder", s.bucket(t, staging.Config{Bucket: "shop"}).Drop(t.Context(), ""), mail.Permanent, "all of the bucket shop would be removed")
}

// Chunks are personal data: a bucket that keeps versions keeps none of them.
func TestDropRemovesAllVersions(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, staging.Config{})
	stage(t, b, "load-1/before", odd()...) // versions are kept
	s.keepVersions(t, gofakes3.VersioningEnabled)
	stage(t, b, "load-1/0001", odd()...)
	stage(t, b, "load-1/0001", odd()...)
	stage(t, b, "load-1/0002", odd()...)
	stage(t, b, "load-2/0001", odd()...)
	if _, err := s.backend.DeleteObject("shop", "first/load-1/0002.json.gz"); err != nil { // by hand: hidden
		t.Fatal(err)
	}
	if err := b.Drop(t.Context(), "load-1/"); err != nil {
		t.Fatal(err)
	}
	if n := s.versions(t); n != 1 || len(s.keys(t)) != 1 {
		t.Errorf("%d versions are left, of %q", n, s.keys(t))
	}
}

// Who may not see versions removes what there is, and is told when that only hid it.
func TestDropWithoutTheRightToVersions(t *testing.T) {
	for _, denial := range []func(http.ResponseWriter, *http.Request) bool{refuse(403, "AccessDenied"), refuse(501, "NotImplemented")} {
		s := newStore(t)
		b := s.bucket(t, staging.Config{})
		s.answers(func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Has("versions") && denial(w, r)
		})
		stage(t, b, "0001", odd()...)
		if err := b.Drop(t.Context(), "0"); err != nil || len(s.keys(t)) != 0 {
			t.Fatalf("%v, left %q", err, s.keys(t))
		}
		stage(t, b, "0001", odd()...)
		s.answers(func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Has("versions") && denial(w, r) || s.hides(t, w, r)
		})
		sentence(t, "hidden", b.Drop(t.Context(), "0"), mail.Temporary, "keeps versions", "such as first/0001.json.gz", "s3:DeleteObjectVersion")
	}
}

// hides is S3 that keeps versions: who names none only hides an object. gofakes3 knows no null.
func (s *store) hides(t *testing.T, w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	if strings.Contains(string(body), "<VersionId>null</VersionId>") {
		if _, err := s.backend.DeleteObject("shop", "first/0001.json.gz"); err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprint(w, `<?xml version="1.0"?><DeleteResult><Deleted><Key>first/0001.json.gz</Key><VersionId>null</VersionId></Deleted></DeleteResult>`)
		return true
	}
	_, _ = fmt.Fprint(w, `<?xml version="1.0"?><DeleteResult><Deleted><Key>first/0001.json.gz</Key><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>1</DeleteMarkerVersionId></Deleted></DeleteResult>`)
	return true
}

// What was written before a bucket kept versions is named as such.
func TestDropOfWhatIsOlderThanVersions(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, staging.Config{})
	stage(t, b, "0001", odd()...)
	s.answers(func(w http.ResponseWriter, r *http.Request) bool { return s.hides(t, w, r) })
	if err := b.Drop(t.Context(), "0"); err != nil || len(s.keys(t)) != 0 {
		t.Errorf("%v, left %q", err, s.keys(t))
	}
}

func TestWhatCannotBeRemovedIsSaid(t *testing.T) {
	s := newStore(t)
	b := s.bucket(t, staging.Config{})
	stage(t, b, "0001", odd()...)
	s.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		_, _ = fmt.Fprint(w, `<?xml version="1.0"?><DeleteResult><Error><Key>first/0001.json.gz</Key><Code>AccessDenied</Code></Error></DeleteResult>`)
		return true
	})
	err := b.Drop(t.Context(), "0")
	sentence(t, "refused", err, mail.Temporary, "did not remove 1 chunks", "0001.json.gz (AccessDenied)", "s3:DeleteObject")
	if strings.Contains(fmt.Sprint(err), "kim@") {
		t.Error("the error names people")
	}
}
