package optout_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"postern/internal/peer"
	"postern/optout"
)

func TestRule4BrowserThatOnlyLooksChangesNothing(t *testing.T) {
	p := newPage(t)
	ts := httptest.NewServer(p)
	defer ts.Close()
	sale := p.Keyring.Seal(0, optout.Claim{List: "sale", User: "minji@example.com", Message: claim.Message})
	for name, c := range map[string]struct{ path, want string }{
		"ask-ko":     {"/u/" + sale + "?lang=ko", "수신거부"},
		"ask-en":     {"/u/" + p.Keyring.Seal(0, claim) + "?lang=en", "Unsubscribe from"},
		"invalid-ko": {"/u/broken?lang=ko", "이 링크는"},
	} {
		dom, log := peer.Browse(t, name, peer.Phone, ts.URL+c.path)
		if !strings.Contains(dom, c.want) {
			t.Errorf("%s: %s", name, dom)
		}
		if strings.Contains(log, "Content Security Policy") {
			t.Errorf("%s: %s", name, log)
		}
	}
	if len(p.all) != 0 {
		t.Errorf("left: %q", p.all)
	}
}
