//go:build e2e

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"postern/internal/peer"
	"postern/relay/ses/sesfake"
)

// toxic is a proxy of toxiproxy in front of a server.
type toxic struct {
	t        *testing.T
	api, url string
}

// startToxic starts toxiproxy (https://github.com/Shopify/toxiproxy), which nobody on
// this project wrote, in front of a server.
func startToxic(t *testing.T, server string) *toxic {
	t.Helper()
	port, listen := peer.Port(t), fmt.Sprintf("127.0.0.1:%d", peer.Port(t))
	peer.Start(t, port, peer.Built(t, "toxiproxy"), "-host", "127.0.0.1", "-port", fmt.Sprint(port))
	x := &toxic{t: t, api: fmt.Sprintf("http://127.0.0.1:%d/proxies", port), url: "http://" + listen}
	x.ask("POST", "", map[string]any{"name": "ses", "listen": listen, "upstream": strings.TrimPrefix(server, "http://"), "enabled": true})
	return x
}

// ask uses toxiproxy's HTTP API.
func (x *toxic) ask(method, path string, body any) {
	x.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		x.t.Fatal(err)
	}
	q, err := http.NewRequest(method, x.api+path, bytes.NewReader(b))
	if err != nil {
		x.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode >= 300 {
		x.t.Fatalf("toxiproxy answers %s %s with %s: %s %v", method, path, resp.Status, said, err)
	}
}

// with lets a toxic work on new connections and, mostly, on those that there are.
func (x *toxic) with(kind, stream string, toxicity float64, attributes map[string]int) {
	x.t.Helper()
	x.ask("POST", "/ses/toxics", map[string]any{"name": kind + "-" + stream, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes})
}

func (x *toxic) without(kind, stream string) {
	x.t.Helper()
	x.ask("DELETE", "/ses/toxics/"+kind+"-"+stream, nil)
}

// TestASickNetworkLosesNobody: 500 copies go out while the network towards SES is slow,
// narrow, cut to pieces, or ends connections in the middle of requests and of answers.
// Everybody gets their mail, and twice only somebody whose copy was uncertain.
func TestASickNetworkLosesNobody(t *testing.T) {
	type attributes = map[string]int
	for _, c := range []struct {
		name, kind, stream string
		toxicity           float64
		attributes         attributes
		clean              bool // nothing breaks: nothing may be uncertain
	}{
		{"latency and jitter", "latency", "downstream", 1, attributes{"latency": 50, "jitter": 40}, true},
		{"a narrow line", "bandwidth", "upstream", 1, attributes{"rate": 300}, true},
		{"requests in small pieces", "slicer", "upstream", 1, attributes{"average_size": 64, "size_variation": 32, "delay": 50}, true},
		{"answers in small pieces", "slicer", "downstream", 1, attributes{"average_size": 8, "size_variation": 4, "delay": 50}, true},
		{"reset after a while", "reset_peer", "downstream", 0.7, attributes{"timeout": 40}, false},
		{"requests reset on their way", "reset_peer", "upstream", 0.7, attributes{"timeout": 40}, false},
		{"answers that do not come", "timeout", "downstream", 0.3, attributes{"timeout": 300}, false},
		{"requests that end in the middle", "limit_data", "upstream", 0.7, attributes{"bytes": 12_345}, false},
		{"answers that end in the middle", "limit_data", "downstream", 0.7, attributes{"bytes": 777}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sesPlan{copies: 500, concurrency: 10, perSecond: 5000, again: "1s"}
			r := &trial{t: t, sesPlan: p, fake: &sesfake.Fake{}}
			server := httptest.NewServer(r.fake)
			t.Cleanup(server.Close)
			x := startToxic(t, server.URL)
			r.gateway = newGateway(t, p.config(x.url, ""))
			r.users(p.copies)
			r.begin()
			r.accepted(10)
			x.with(c.kind, c.stream, c.toxicity, c.attributes)
			r.accepted(60)
			x.without(c.kind, c.stream)
			r.end()
			f := r.figures()
			t.Logf("%+v, %d uncertain, %d doubled", r.fake.Count(), f.uncertain, r.doubled)
			r.nobodyIsLeftOut()
			r.ledgerAgrees()
			if r.doubled > f.uncertain || c.clean && f.uncertain > 0 {
				t.Errorf("%d doubled, %d uncertain", r.doubled, f.uncertain)
			}
			if !c.clean && f.uncertain == 0 && !strings.Contains(r.log.String(), `msg="not sent"`) {
				t.Error("the network was not sick at all")
			}
		})
	}
}
