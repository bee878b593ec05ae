package hosting

import (
	"sync"
	"time"
)

const (
	maxKeys = 10_000    // a key takes 100 octets
	maxAge  = time.Hour // what somebody deletes is found to be missing
)

// keys are those that were in the bucket a short while ago.
type keys struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (k *keys) has(key string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.seen[key]
	return ok && now.Sub(at) < maxAge
}

func (k *keys) add(key string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.seen) >= maxKeys { // it costs one question for each to begin anew
		clear(k.seen)
	}
	k.seen[key] = now
}
