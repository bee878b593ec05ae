package main_test

import (
	"strings"
	"testing"

	main "postern/cmd/postern"
	"postern/relay"
)

func TestALaneIsExplainedWithAllThatWaits(t *testing.T) {
	l := relay.LaneStatus{Name: "seoul", Reason: "the reason", Remedy: "the remedy", BulkHeld: "held by the breaker", BulkWaits: "waits for quota", Account: "is in the sandbox", Events: "no queue"}
	var b strings.Builder
	if err := main.ExplainLane(&b, &l); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{l.Reason, l.Remedy, l.BulkHeld, l.BulkWaits, l.Account, "events do not come in: " + l.Events} {
		if !strings.Contains(b.String(), "seoul: "+words) {
			t.Errorf("%q is not said:\n%s", words, &b)
		}
	}
}

func TestARateIsReadable(t *testing.T) {
	for rate, want := range map[float64]string{0: "-", 14: "14/s", 0.2: "0.2/s", 9.07478160677778: "9.07/s", 99.999: "100/s", 1234.5678: "1235/s", 10_000: "10000/s", 0.05: "0.05/s"} {
		if got := main.PerSecond(rate); got != want {
			t.Errorf("%v is %q, want %q", rate, got, want)
		}
	}
}
