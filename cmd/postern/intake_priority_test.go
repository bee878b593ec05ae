package main_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"postern/relay/ses/sesfake"
)

// Whoever may send orders first, as a network may by default, does not send campaigns
// first: the reserves of transactional mail would be theirs, and no breaker would hold them.
func TestMailToAListIsBulkWhoeverSendsIt(t *testing.T) {
	fake := &sesfake.Fake{}
	var account sesfake.Account
	account.SendQuota.Max24HourSend, account.SendQuota.MaxSendRate = 20, 100
	account.SendingEnabled, account.ProductionAccessEnabled = true, true
	fake.SetAccount(account)
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	c := sesPlan{concurrency: 5, again: "5m"}
	g := newGateway(t, c.config(server.URL, ""))
	g.users(30)
	g.serve()
	g.mustSubmit("promo@lists.example.com", hello) // by the network of this machine
	g.until("foreseen", func(m message) bool { return m.Reason != "" && m.Copies["sent"] == 18 })
	g.mustSubmit("shop@elsewhere.example", "From: erp@example.com\nTo: shop@elsewhere.example\nSubject: order\n\nx\n")
	g.until("out within the reserve", func(m message) bool { return m.List == "" && m.State == "done" })
	if mails := fake.Mails(); len(mails) != 19 {
		t.Errorf("%d mails are out", len(mails))
	}
	var lanes []struct{ State string }
	if err := json.Unmarshal([]byte(g.run("lane", "list", "--json")), &lanes); err != nil || lanes[0].State != "running" {
		t.Errorf("%+v, %v", lanes, err)
	}
	g.stop()
}
