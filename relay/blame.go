package relay

import (
	"errors"
	"sync"

	"postern/mail"
)

// blame finds the copy that makes its upstream go away. An answer such as 421 is
// about the lane, spends nothing, and pauses all. Where upstream gives it for one
// copy alone, that copy would pause the lane again and again: each time others have
// passed in between it comes under more suspicion, and in the end such an answer
// counts as one about the copy, and spends its attempts.
type blame struct {
	mu      sync.Mutex
	passed  int // attempts of all copies that upstream has answered
	suspect map[string]suspicion
}

type suspicion struct {
	passed int // at the last time
	times  int // that others have passed since the time before, and the first
}

const (
	// enough such times convict a copy. A lane that loses every tenth session, and
	// so hits one copy so often by chance, costs that copy one of its attempts.
	enough = 10
	// maxSuspects bounds the memory; who is forgotten begins anew.
	maxSuspects = 10_000
)

// judge takes the error of an attempt of the copy with this tag and gives the one
// to act on.
func (b *blame) judge(tag string, err error) error {
	class := mail.ClassOf(err)
	b.mu.Lock()
	defer b.mu.Unlock()
	if class != mail.Unreachable || err == nil {
		if err == nil || class == mail.Temporary || class == mail.Permanent {
			b.passed++
			delete(b.suspect, tag)
		}
		return err
	}
	s, known := b.suspect[tag]
	if !known || b.passed > s.passed {
		s.times++
	}
	s.passed = b.passed
	if b.suspect == nil || len(b.suspect) >= maxSuspects && !known {
		b.suspect = map[string]suspicion{}
	}
	b.suspect[tag] = s
	if s.times < enough {
		return err
	}
	var e *mail.Error
	if errors.As(err, &e) {
		own := *e
		own.Class = mail.Temporary
		return &own
	}
	return err
}
