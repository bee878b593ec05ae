package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// User may log in to the pages.
type User struct {
	Name         string
	PasswordHash string // bcrypt; empty never logs in
	Admin        bool   // else a viewer, who changes nothing
}

// LoginLink makes a link that logs an administrator in, once, within ten
// minutes. While any user has a password there is none.
func (p *Pages) LoginLink() (string, error) {
	if p.hasPasswords() {
		return "", &conflict{"there is a user with a password: log in with it (`postern passwd` makes a new hash for the configuration)"}
	}
	return strings.TrimSuffix(p.URL(), "/") + "/login/" + p.sessions.newLink(time.Now()), nil
}

func (p *Pages) hasPasswords() bool {
	for _, u := range p.Users {
		if u.PasswordHash != "" {
			return true
		}
	}
	return false
}

// loginForm is GET /login.
func (p *Pages) loginForm(w http.ResponseWriter, r *http.Request) {
	if _, ok := p.session(r); ok {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	p.show(w, r, http.StatusOK, "login", loginView{Next: ownPath(r.URL.Query().Get("next")), Passwords: p.hasPasswords()})
}

type loginView struct {
	Name, Next, Error string
	Passwords         bool
}

// login is POST /login.
func (p *Pages) login(w http.ResponseWriter, r *http.Request) {
	now, client := time.Now(), p.client(r)
	v := loginView{Name: r.PostFormValue("username"), Next: ownPath(r.PostFormValue("next")), Passwords: p.hasPasswords()}
	if wait := p.attempts.wait(client, now); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		v.Error = fmt.Sprintf("Too many wrong passwords. Wait %s and try again.", wait.Round(time.Second)+time.Second)
		p.show(w, r, http.StatusTooManyRequests, "login", v)
		return
	}
	p.attempts.begin(client, now)
	user, err := p.verify(r.Context(), v.Name, r.PostFormValue("password"))
	if err != nil {
		p.API.Log.Warn("a login failed", "client", client)
		v.Error = "This name and password do not belong together."
		p.show(w, r, http.StatusUnauthorized, "login", v)
		return
	}
	p.attempts.succeeded(client)
	p.welcome(w, r, user.Name, user.Admin)
	http.Redirect(w, r, v.Next, http.StatusSeeOther)
}

var errPassword = errors.New("wrong name or password")

// verify compares with one hash whoever asks. At most two comparisons run at a
// time: each takes a core for some 60 ms.
func (p *Pages) verify(ctx context.Context, name, password string) (User, error) {
	select {
	case p.hashing <- struct{}{}:
		defer func() { <-p.hashing }()
	case <-ctx.Done():
		return User{}, ctx.Err()
	}
	found, hash := User{}, ""
	for _, u := range p.Users {
		if u.PasswordHash == "" {
			continue
		}
		if hash == "" {
			hash = u.PasswordHash // an unknown name takes as long as a known one
		}
		if same(u.Name, name) {
			found, hash = u, u.PasswordHash
		}
	}
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil || found.PasswordHash == "" {
		return User{}, errPassword
	}
	return found, nil
}

// linkForm is GET /login/{token}: it shows a button and uses nothing up.
func (p *Pages) linkForm(w http.ResponseWriter, r *http.Request) {
	if !p.sessions.link(r.PathValue("token"), false, time.Now()) {
		p.oldLink(w, r)
		return
	}
	p.show(w, r, http.StatusOK, "link", nil)
}

// useLink is POST /login/{token}.
func (p *Pages) useLink(w http.ResponseWriter, r *http.Request) {
	if p.hasPasswords() || !p.sessions.link(r.PathValue("token"), true, time.Now()) {
		p.oldLink(w, r)
		return
	}
	name := "admin"
	for _, u := range p.Users {
		if u.Admin {
			name = u.Name
			break
		}
	}
	p.welcome(w, r, name, true)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (p *Pages) oldLink(w http.ResponseWriter, r *http.Request) {
	p.problem(w, r, http.StatusForbidden, "This link was used already or is older than ten minutes. Run `postern admin login` for a new one.")
}

// welcome begins a session. A token that came with the request is never kept.
func (p *Pages) welcome(w http.ResponseWriter, r *http.Request, name string, admin bool) {
	if c, err := r.Cookie(p.cookieName()); err == nil {
		p.sessions.end(c.Value)
	}
	p.API.Log.Info("somebody logged in to the pages", "user", name, "client", p.client(r))
	http.SetCookie(w, p.cookie(p.sessions.begin(name, admin, time.Now()), 0))
}

// logout is POST /logout.
func (p *Pages) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(p.cookieName()); err == nil {
		p.sessions.end(c.Value)
	}
	http.SetCookie(w, p.cookie("", -1))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (p *Pages) cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: p.cookieName(), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: p.Secure, SameSite: http.SameSiteStrictMode}
}

// cookieName bears the prefix that ties a cookie to its host, where TLS lets it.
func (p *Pages) cookieName() string {
	if p.Secure {
		return "__Host-postern"
	}
	return "postern"
}

func (p *Pages) session(r *http.Request) (session, bool) {
	c, err := r.Cookie(p.cookieName())
	if err != nil {
		return session{}, false
	}
	return p.sessions.find(c.Value, time.Now())
}

// client is who a try to log in is counted for: an address, or an IPv6 /64,
// which one customer has. Behind a proxy it is what the proxy adds last.
func (p *Pages) client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if p.BehindProxy {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if last := strings.TrimSpace(hops[len(hops)-1]); last != "" {
			host = last
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		if net, err := ip.Prefix(64); err == nil {
			return net.String()
		}
	}
	return ip.String()
}

// ownPath keeps a redirect on this site.
func ownPath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsAny(s, "\\\r\n\t") {
		return "/"
	}
	return u.RequestURI()
}
