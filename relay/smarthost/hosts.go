package smarthost

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"postern/mail"
)

// rest is how long a host that could not be used is left alone while there is
// another one. It is short against the minutes that a restart takes and long
// against a dial that waits for nobody.
const rest = time.Minute

// host is one of the servers of the upstream.
type host struct {
	addr     string      // host:port
	tls      *tls.Config // with the name that its certificate must bear
	noChunks atomic.Bool // it offers CHUNKING and does not know BDAT

	// until is zero while the host works, as far as is known; else it is left alone
	// until then. Sender.mu guards it.
	until time.Time
}

// hosts are in the order of the configuration: an earlier one is the better one.
type hosts []*host

// order is how a Send is to try the hosts at now: those that do not rest, then
// those that do, because a mail is better late than not tried.
//
// Probe says that the first of them has just rested. This Send is to dial it, and
// for all others it goes on resting, so that a host which is still away keeps one
// Send waiting and not all of them.
func (hs hosts) order(now time.Time) (tried hosts, probe bool) {
	if len(hs) == 1 || hs.allWork() {
		return hs, false
	}
	tried = make(hosts, 0, len(hs))
	for _, h := range hs {
		if !now.Before(h.until) {
			tried = append(tried, h)
		}
	}
	for _, h := range hs {
		if now.Before(h.until) {
			tried = append(tried, h)
		}
	}
	first := tried[0]
	probe = !first.until.IsZero() && !now.Before(first.until)
	if probe {
		first.until = now.Add(rest)
	}
	return tried, probe
}

func (hs hosts) allWork() bool {
	for _, h := range hs {
		if !h.until.IsZero() {
			return false
		}
	}
	return true
}

// elsewhere says whether another host may help where this error came from. A
// refused login is the account's trouble and not the host's: asking everywhere
// with it would only lock it.
func elsewhere(err error) bool {
	switch mail.ClassOf(err) {
	case mail.Unreachable, mail.Throttled:
		return true
	}
	return false
}

// noHost joins what the hosts said, in the order in which they were asked. The
// last one ended the search: with a class of its own, or because no other is
// left.
func noHost(failures []error) error {
	last := failures[len(failures)-1]
	if len(failures) == 1 {
		return last
	}
	said := make([]string, len(failures))
	for i, err := range failures {
		said[i] = words(err)
	}
	e := &mail.Error{Class: mail.Unreachable, Err: errors.Join(causes(failures)...),
		Public: "nothing was sent, as no host could be used: " + strings.Join(said, "; ")}
	var of *mail.Error
	if !elsewhere(last) && errors.As(last, &of) {
		e.Class, e.Code, e.Enhanced = of.Class, of.Code, of.Enhanced
		n := len(said) - 1
		e.Public = of.Public + "; asked before it: " + strings.Join(said[:n], "; ")
	}
	return e
}

// words is an error for people, its codes included.
func words(err error) string {
	var e *mail.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if e.Code == 0 {
		return e.Public
	}
	return fmt.Sprintf("%s (%s)", e.Public, strings.TrimSpace(fmt.Sprint(e.Code, " ", e.Enhanced)))
}

func causes(failures []error) (found []error) {
	for _, err := range failures {
		if cause := errors.Unwrap(err); cause != nil {
			found = append(found, cause)
		}
	}
	return found
}
