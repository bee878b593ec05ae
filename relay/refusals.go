package relay

import (
	"errors"
	"strings"
	"sync"

	"postern/mail"
)

// sameRefusals is how many first copies of a list's message may be refused for good in
// the same words before it is the message that is wrong, and not these copies.
const sameRefusals = 10

// maxRefused bounds the memory of refusals; what is forgotten begins anew.
const maxRefused = 1000

// refusals finds the message of which upstream refuses every copy in the same words: an
// attachment that it does not take, a header that it does not like.
type refusals struct {
	mu sync.Mutex
	of map[mail.ID]*refused
}

type refused struct {
	words string
	n     int
}

// judge takes how an attempt ended, and says when the message is to be paused.
func (r *refusals) judge(m *mail.Message, err error) (pause bool) {
	if m.List == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var e *mail.Error
	if !errors.As(err, &e) || e.Class != mail.Permanent || aboutRecipient(e) {
		if err == nil {
			delete(r.of, m.ID)
		}
		return false
	}
	words, _ := explain(err)
	have := r.of[m.ID]
	if have == nil || have.words != words {
		if r.of == nil || len(r.of) >= maxRefused {
			r.of = map[mail.ID]*refused{}
		}
		have = &refused{words: words}
		r.of[m.ID] = have
	}
	if have.n++; have.n < sameRefusals {
		return false
	}
	delete(r.of, m.ID)
	return true
}

// aboutRecipient says whether a refusal is about whom the copy is for (RFC 3463 §3.2
// and §3.3).
func aboutRecipient(e *mail.Error) bool {
	return strings.HasPrefix(e.Enhanced, "5.1.") || strings.HasPrefix(e.Enhanced, "5.2.")
}
