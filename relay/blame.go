package relay

import (
	"errors"
	"sync"
	"time"

	"postern/mail"
)

// blame finds the copy that is itself the reason for an answer about its lane. Such
// an answer (421, "too fast", "quota exceeded", "log in first") spends nothing and
// slows or pauses the lane for all. Where upstream gives it to one copy alone, that
// copy would stop the lane again and again.
//
// A copy comes under suspicion each time others have passed since it was last turned
// away. From the third time on the lane is not paused for it any more: it waits by
// itself, longer each time, and still spends nothing. From the tenth time on such an
// answer counts as one about the copy, and spends its attempts.
//
// While nobody passes, and while upstream turns away half of what it is given, nobody
// is suspected: then it is the lane.
type blame struct {
	mu      sync.Mutex
	passed  int     // attempts that upstream has answered
	away    float64 // the share that it turned away, of about the last fifty
	suspect map[string]suspicion
}

type suspicion struct {
	passed int // at the last time
	times  int // that others have passed since the time before, and the first
}

// finding is what blame says of an attempt.
type finding int

const (
	innocent  finding = iota
	suspected         // the copy alone is concerned, and spends nothing
	convicted         // the copy alone is concerned
)

const (
	suspectFrom = 3
	convictFrom = 10
	weight      = 0.02 // of one attempt in away
	// maxSuspects bounds the memory; who is forgotten begins anew.
	maxSuspects = 10_000
	longestOwn  = 15 * time.Minute
)

// judge takes the end of an attempt of the copy with this tag. wait is how long a
// suspected copy waits by itself.
func (b *blame) judge(tag string, err error) (f finding, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	class := mail.ClassOf(err)
	switch {
	case err == nil || class == mail.Temporary || class == mail.Permanent:
		b.passed++
		b.away -= weight * b.away
		delete(b.suspect, tag)
		return innocent, 0
	case class == mail.Uncertain || class == mail.MessageWide:
		return innocent, 0
	}
	s, known := b.suspect[tag]
	again := known && b.passed > s.passed
	if again || !known { // the same copy alone, over and over, tells nothing new
		s.times++
		b.away += weight * (1 - b.away)
	}
	s.passed = b.passed
	if b.suspect == nil || len(b.suspect) >= maxSuspects && !known {
		b.suspect = map[string]suspicion{}
	}
	b.suspect[tag] = s
	switch {
	case !again || b.away > 0.5 || s.times < suspectFrom:
		return innocent, 0
	case s.times < convictFrom:
		return suspected, min(time.Second<<s.times, longestOwn)
	}
	return convicted, 0
}

// ofTheCopy is an error about the lane as one about the copy.
func ofTheCopy(err error) error {
	var e *mail.Error
	if !errors.As(err, &e) {
		return err
	}
	own := *e
	own.Class = mail.Temporary
	return &own
}
