package peer_test

import (
	"testing"

	"postern/internal/peer"
)

// A gateway takes several ports at once, and is restarted on them: two tests that got the
// same one would fail now and then.
func TestNoPortIsGivenTwiceWhileATestRuns(t *testing.T) {
	given := map[int]bool{}
	for range 2000 {
		p := peer.Port(t)
		if given[p] {
			t.Fatalf("port %d is given twice", p)
		}
		given[p] = true
	}
}
