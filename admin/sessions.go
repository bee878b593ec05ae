package admin

import (
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"postern/smtpd/dialogue"
)

// sessionFilter is which SMTP sessions are asked for.
type sessionFilter struct {
	Address string // as it was asked for; "" is every one
	Failed  bool
	clients netip.Prefix
}

// readSessionFilter reads ?address=&failed=. The address may be one, or a network
// such as 10.0.0.0/24.
func readSessionFilter(q url.Values) (sessionFilter, error) {
	f := sessionFilter{Address: strings.TrimSpace(q.Get("address"))}
	switch q.Get("failed") {
	case "", "0", "false":
	case "1", "true":
		f.Failed = true
	default:
		return f, bad("failed=%q is neither true nor false", q.Get("failed"))
	}
	if f.Address == "" {
		return f, nil
	}
	if a, err := netip.ParseAddr(strings.Trim(f.Address, "[]")); err == nil {
		a = a.Unmap().WithZone("")
		f.clients = netip.PrefixFrom(a, a.BitLen())
		return f, nil
	}
	p, err := netip.ParsePrefix(f.Address)
	if err != nil {
		return f, bad("%q is no IP address, such as 10.0.0.17, and no network, such as 10.0.0.0/24", f.Address)
	}
	f.clients = p
	return f, nil
}

func (f sessionFilter) fits(s *dialogue.Session) bool {
	if f.Failed && !s.Outcome.Bad() {
		return false
	}
	if f.Address == "" {
		return true
	}
	a, err := netip.ParseAddrPort(s.Remote)
	return err == nil && f.clients.Contains(a.Addr().Unmap().WithZone(""))
}

// sessionsThat fit a filter, newest first.
func (a *API) sessionsThat(f sessionFilter) (iter.Seq[dialogue.Session], error) {
	if a.Sessions == nil {
		return nil, &conflict{"no gateway is running here, and sessions are kept in its memory only: start it with `postern serve` and let the device try again"}
	}
	all := a.Sessions()
	return func(yield func(dialogue.Session) bool) {
		for s := range all {
			if f.fits(&s) && !yield(s) {
				return
			}
		}
	}, nil
}

// listSessions is GET /api/sessions?address=&failed=. One session at a time is in
// memory.
func (a *API) listSessions(w http.ResponseWriter, r *http.Request) error {
	f, err := readSessionFilter(r.URL.Query())
	if err != nil {
		return err
	}
	sessions, err := a.sessionsThat(f)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	between := "["
	for s := range sessions {
		text, err := json.Marshal(s)
		if err == nil {
			_, err = w.Write(append([]byte(between), text...))
		}
		if err != nil {
			broken(r, a.Log, err)
		}
		between = ",\n"
	}
	if between == "[" {
		between = "[]\n"
	} else {
		between = "]\n"
	}
	_, _ = io.WriteString(w, between) // a client that is gone is told nothing
	return nil
}

type sessionsView struct {
	sessionFilter
	Sessions []dialogue.Session // without their lines
	More     bool
}

// sessionsPerPage is more than a person reads; who seeks filters.
const sessionsPerPage = 200

// showSessions is GET /sessions?address=&failed=.
func (p *Pages) showSessions(w http.ResponseWriter, r *http.Request) {
	f, err := readSessionFilter(r.URL.Query())
	if err != nil {
		p.failed(w, r, err)
		return
	}
	sessions, err := p.API.sessionsThat(f)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	v := sessionsView{sessionFilter: f}
	for s := range sessions {
		if len(v.Sessions) == sessionsPerPage {
			v.More = true
			break
		}
		s.Lines = nil
		v.Sessions = append(v.Sessions, s)
	}
	p.show(w, r, http.StatusOK, "sessions", v)
}

type sessionView struct {
	dialogue.Session
	Address string // of Remote
}

// showSession is GET /sessions/{id}.
func (p *Pages) showSession(w http.ResponseWriter, r *http.Request) {
	sessions, err := p.API.sessionsThat(sessionFilter{})
	if err != nil {
		p.failed(w, r, err)
		return
	}
	for s := range sessions {
		if s.ID != r.PathValue("id") {
			continue
		}
		v := sessionView{Session: s}
		if a, err := netip.ParseAddrPort(s.Remote); err == nil {
			v.Address = a.Addr().Unmap().WithZone("").String()
		}
		p.show(w, r, http.StatusOK, "session", v)
		return
	}
	p.problem(w, r, http.StatusNotFound, "This session is not remembered any more: of each address the last few are. Let the device try again, and look at the list.")
}

// forAdmins keeps a page from viewers.
func (p *Pages) forAdmins(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !sessionOf(r).admin {
			p.problem(w, r, http.StatusForbidden, "You are logged in as a viewer; who connects to the gateway, and what a person receives, is for administrators.")
			return
		}
		next(w, r)
	}
}
