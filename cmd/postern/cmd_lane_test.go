package main_test

import (
	"strings"
	"testing"

	main "postern/cmd/postern"
	"postern/relay"
)

func TestALaneIsExplainedWithAllThatWaits(t *testing.T) {
	l := relay.LaneStatus{Name: "seoul", Reason: "the reason", Remedy: "the remedy", BulkHeld: "held by the breaker", BulkWaits: "waits for quota", Events: "no events"}
	var b strings.Builder
	if err := main.ExplainLane(&b, &l); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{l.Reason, l.Remedy, l.BulkHeld, l.BulkWaits, l.Events} {
		if !strings.Contains(b.String(), "seoul: "+words) {
			t.Errorf("%q is not said:\n%s", words, &b)
		}
	}
}
