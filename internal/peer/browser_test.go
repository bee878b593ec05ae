package peer_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"postern/internal/peer"
)

func TestBrowserForPagesReachesNoNetworkAndRunsNoScript(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the browser asked for %s", r.URL)
	}))
	defer server.Close()
	page := filepath.Join(t.TempDir(), "page.html")
	html := `<title>quiet</title><link rel="stylesheet" href="` + server.URL + `/style"><img src="` + server.URL + `/picture"><img src="` + server.URL + `/other" onerror="document.title='loud'">
<script>document.title = "loud"; fetch("` + server.URL + `/script")</script>`
	if err := os.WriteFile(page, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	b := peer.NewBrowser(t, 800)
	b.Open(t, "file://"+page)
	var title string
	if b.Eval(t, "document.title", &title); title != "quiet" {
		t.Errorf("the title is %q", title)
	}
}
