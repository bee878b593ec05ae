package relay

import (
	"fmt"
	"runtime"
	"sync"

	"postern/mail"
)

// signers make signatures, no more at a time than there are processors: each keeps
// one busy for about a millisecond, and what is accepted, stored and sent meanwhile
// would wait behind those that are only getting ready.
//
// Those of bulk mail are made on threads of their own, to which the operating system
// prefers all others. So a campaign uses every processor that nobody else wants, and
// a transactional mail does not notice it.
type signers struct {
	sign   func(mail.Content, mail.Address) (mail.Content, error)
	places chan struct{}  // of transactional mail, which is signed where it is
	bulk   chan signature // to the threads
	wg     sync.WaitGroup
}

type signature struct {
	content mail.Content
	from    mail.Address
	made    chan<- signed
}

type signed struct {
	content mail.Content
	err     error
}

// newSigners starts the threads; n of each kind.
func newSigners(n int, sign func(mail.Content, mail.Address) (mail.Content, error)) *signers {
	s := &signers{sign: sign, places: make(chan struct{}, n), bulk: make(chan signature)}
	for range n {
		s.wg.Go(s.thread)
	}
	return s
}

// thread signs until stop. It is never unlocked, so that its thread, whose priority
// cannot be raised again, ends with it.
func (s *signers) thread() {
	runtime.LockOSThread()
	lowerPriority()
	for j := range s.bulk {
		c, err := s.make(j.content, j.from)
		j.made <- signed{c, err}
	}
}

// make keeps a panic from ending the gateway.
func (s *signers) make(c mail.Content, from mail.Address) (out mail.Content, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("signing it failed: %v", p)
		}
	}()
	return s.sign(c, from)
}

// of signs a mail of the given priority.
func (s *signers) of(p mail.Priority, c mail.Content, from mail.Address) (mail.Content, error) {
	if p == mail.Transactional {
		s.places <- struct{}{}
		defer func() { <-s.places }()
		return s.make(c, from)
	}
	made := make(chan signed, 1)
	s.bulk <- signature{c, from, made}
	done := <-made
	return done.content, done.err
}

// stop ends the threads. Nobody may sign any more.
func (s *signers) stop() {
	close(s.bulk)
	s.wg.Wait()
}
