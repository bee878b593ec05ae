package optout_test

import (
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/mail"
	"postern/optout"
)

// from sends a request of a client.
func (p *page) from(client, method, path, agent string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = client
	if agent != "" {
		r.Header.Set("User-Agent", agent)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestLinksThatDoNotWorkAreLimitedByNetworkAndThoseThatWorkAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage(t)
		good := "/u/" + p.Keyring.Seal(0, claim)
		const v4, v6 = "203.0.113.5:99", "[2001:db8:1:2::1]:99"
		for _, client := range []string{v4, v6} {
			n := 0
			for p.from(client, "GET", fmt.Sprintf("/u/x%d", n), "").Code == 400 {
				if n++; n > 1000 {
					t.Fatal("no limit")
				}
			}
			if n < 10 {
				t.Errorf("the limit is %d: a person who copies a link in pieces would meet it", n)
			}
		}
		w := p.from("[2001:db8:1:2:ffff::9]:1", "POST", "/p/x?lang=en", "")
		if s, _ := strconv.Atoi(w.Header().Get("Retry-After")); w.Code != 429 || s < 1 || s > 61 || !strings.Contains(w.Body.String(), "wait a minute") {
			t.Errorf("the same /64: %d %v %s", w.Code, w.Header(), w.Body)
		}
		if w := p.from(v4, "GET", "/c/x?lang=ko", ""); w.Code != 429 || !strings.Contains(w.Body.String(), "1분 뒤에") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, client := range []string{"203.0.113.6:99", "[2001:db8:1:3::1]:99"} {
			if w := p.from(client, "GET", "/u/x", ""); w.Code != 400 {
				t.Errorf("%s, another network: %d", client, w.Code)
			}
		}
		for range 500 { // a large mail provider, from the very same address
			if w := p.from(v4, "POST", good, ""); w.Code != 200 {
				t.Fatalf("a link that works: %d", w.Code)
			}
		}
		if w := p.from(v4, "GET", "/favicon.ico", ""); w.Code != 404 {
			t.Errorf("%d", w.Code)
		}
		<-time.After(time.Minute)
		if w := p.from(v4, "GET", "/u/x", ""); w.Code != 400 {
			t.Errorf("a minute later: %d", w.Code)
		}
	})
}

func TestManyNetworksDoNotFillTheMemory(t *testing.T) {
	p := newPage(t)
	for i := range 10000 {
		p.from(fmt.Sprintf("[2001:db8:%x::1]:9", i), "HEAD", "/u/x", "")
	}
	if n := p.LimitedNetworks(); n > 8192 {
		t.Errorf("%d networks are remembered", n)
	}
}

func TestBurstOfLookingIsToldOnceByDomainAndChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage(t)
		link := func(route string, i int, domain string) string {
			return route + p.Keyring.Seal(0, optout.Claim{List: "promo", User: mail.Address(fmt.Sprintf("user%d@%s", i, domain)), Message: claim.Message})
		}
		for i := range 40 {
			p.from(fmt.Sprintf("198.51.100.%d:5", i), "GET", link("/u/", i, "Scanned.example"), "Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/140.0 Safari/537.36")
			p.from("[2001:db8:7:8::1]:5", "HEAD", link("/p/", i, "scanned.example"), "evil\nagent\x1b[31m")
			p.from("203.0.113.1:5", "GET", link("/u/", i, "people.example"), "Chrome")
			p.from("203.0.113.1:5", "POST", link("/u/", i, "people.example"), "Chrome")
			<-time.After(time.Second)
		}
		for range 100 { // one person who looks again and again
			p.from("203.0.113.1:5", "GET", link("/u/", 1, "eager.example"), "Chrome")
		}
		if strings.Contains(p.log.String(), "scanner") {
			t.Error("told while it goes on")
		}
		<-time.After(5 * time.Minute)
		synctest.Wait()
		log := p.log.String()
		if n := strings.Count(log, "scanner seems"); n != 1 {
			t.Fatalf("told %d times:\n%s", n, log)
		}
		for _, want := range []string{"domain=scanned.example", "pages=80", "buttons=0", `agents="chrome other"`, `networks="198.51.100.0/24 2001:db8:7::/48"`} {
			if !strings.Contains(log, want) {
				t.Errorf("%s is missing:\n%s", want, log)
			}
		}
		if strings.Contains(log, "evil") || len(p.all) != 40 {
			t.Errorf("%d left; %s", len(p.all), log)
		}
		// The next burst is another one.
		for i := range 30 {
			p.from("198.51.100.1:5", "GET", link("/u/", i, "scanned.example"), "")
		}
		<-time.After(5 * time.Minute)
		synctest.Wait()
		if n := strings.Count(p.log.String(), "scanner seems"); n != 2 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestBurstThatGoesOnIsToldEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage(t)
		for i := range 3 * 60 * 3 {
			p.from("198.51.100.1:5", "GET", "/u/"+p.Keyring.Seal(0, optout.Claim{List: "promo", User: mail.Address(fmt.Sprintf("user%d@scanned.example", i))}), "")
			<-time.After(20 * time.Second)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if n := strings.Count(p.log.String(), "scanner seems"); n < 3 || n > 4 {
			t.Errorf("told %d times in three hours", n)
		}
	})
}

func TestManyDomainsDoNotFillTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage(t)
		for i := range 2000 {
			p.from("198.51.100.1:5", "HEAD", "/u/"+p.Keyring.Seal(0, optout.Claim{List: "promo", User: mail.Address(fmt.Sprintf("a@d%d.example", i))}), fmt.Sprint("agent", i))
		}
		if n := p.WatchedDomains(); n > 256 {
			t.Errorf("%d domains are counted", n)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if n := p.WatchedDomains(); n != 0 {
			t.Errorf("%d domains are still counted", n)
		}
	})
}
