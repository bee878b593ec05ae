package admin

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Pages is what administrators see in a browser. Its fields are set before
// Handler is called.
type Pages struct {
	API   *API
	Users []User
	// URL is where the pages are, for the one-time link: "http://127.0.0.1:8080".
	URL func() string
	// Loopback: the pages are on loopback without a proxy; then only requests for
	// a loopback name are answered, which stops DNS rebinding.
	Loopback bool
	// BehindProxy: X-Forwarded-For is the proxy's.
	BehindProxy bool
	// Secure: browsers come by TLS, ours or the proxy's.
	Secure   bool
	Location *time.Location // of the times shown; nil is UTC

	sessions sessions
	attempts attempts
	hashing  chan struct{}
	dryRun   dryRun
	counting chan struct{} // who counts a list has put one in
	once     sync.Once
}

//go:embed pages
var files embed.FS

// maxForm bounds what a form may send, in octets.
const maxForm = 64 << 10

// Handler serves the pages, /healthz and, behind the same login, /api/.
func (p *Pages) Handler() http.Handler {
	p.once.Do(func() { p.hashing, p.counting = make(chan struct{}, 2), make(chan struct{}, 1) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /style.css", styleSheet)
	mux.HandleFunc("GET /login", p.loginForm)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("GET /login/{token}", p.linkForm)
	mux.HandleFunc("POST /login/{token}", p.useLink)
	mux.Handle("POST /logout", p.inside(p.logout))
	mux.Handle("GET /{$}", p.inside(p.listMessages))
	mux.Handle("GET /messages/{id}", p.inside(p.showMessage))
	mux.Handle("POST /messages/{id}/{action}", p.inside(p.actOn))
	mux.Handle("GET /messages/{id}/copies/{seq}", p.inside(p.showCopy))
	mux.Handle("GET /messages/{id}/copies/{seq}/html", p.inside(p.showHTML))
	mux.Handle("GET /messages/{id}/copies/{seq}/eml", p.inside(p.showEML))
	mux.Handle("POST /lanes/{name}/{action}", p.inside(p.actOnLane))
	mux.Handle("GET /lists", p.inside(p.forAdmins(p.showLists)))
	mux.Handle("POST /lists/{id}/count", p.inside(p.forAdmins(p.countList)))
	mux.Handle("GET /sessions", p.inside(p.forAdmins(p.showSessions)))
	mux.Handle("GET /sessions/{id}", p.inside(p.forAdmins(p.showSession)))
	mux.Handle("GET /suppressions", p.inside(p.showSuppressions))
	mux.Handle("GET /suppressions/{address}", p.inside(p.showSuppression))
	mux.Handle("POST /suppressions/{address}/lift", p.inside(p.liftSuppression))
	mux.Handle("GET /sync", p.inside(p.showSyncPage))
	mux.Handle("POST /sync", p.inside(p.startSyncPage))
	mux.Handle("GET /users", p.inside(p.forAdmins(p.findUser)))
	mux.Handle("GET /users/{email}", p.inside(p.forAdmins(p.showUser)))
	mux.Handle("POST /users/{email}/{action}", p.inside(p.forAdmins(p.moveUser)))
	mux.Handle("/api/", p.insideAPI(p.API.Handler()))
	mux.Handle("/", p.inside(func(w http.ResponseWriter, r *http.Request) {
		p.problem(w, r, http.StatusNotFound, "There is no such page.")
	}))
	return p.guard(http.NewCrossOriginProtection().Handler(mux))
}

// guard answers nobody who asks under a foreign name, and sets what every
// answer bears.
func (p *Pages) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-DNS-Prefetch-Control", "off")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if p.Secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if p.Loopback && !loopbackHost(r.Host) {
			http.Error(w, "This page answers to localhost only.", http.StatusMisdirectedRequest)
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackHost says whether a Host header names this machine.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

type sessionKey struct{}

func sessionOf(r *http.Request) session {
	s, _ := r.Context().Value(sessionKey{}).(session)
	return s
}

func withSession(r *http.Request, s session) *http.Request {
	ctx := context.WithValue(r.Context(), sessionKey{}, s)
	return r.WithContext(context.WithValue(ctx, actorKey{}, s.user))
}

// inside asks for a login, and for everything that changes something for the
// form's own token; a viewer changes nothing but their login.
func (p *Pages) inside(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := p.session(r)
		if !ok {
			to := "/login"
			if r.Method == http.MethodGet && r.URL.Path != "/" {
				to += "?next=" + url.QueryEscape(r.URL.RequestURI())
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
			return
		}
		r = withSession(r, s)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if !same(r.PostFormValue("csrf"), s.csrf) {
				p.problem(w, r, http.StatusForbidden, "This form is from an earlier login. Go back, load the page again and repeat what you did.")
				return
			}
			if !s.admin && r.URL.Path != "/logout" {
				p.problem(w, r, http.StatusForbidden, "You are logged in as a viewer, and a viewer changes nothing.")
				return
			}
		}
		next(w, r)
	})
}

// insideAPI lets sessions use the API. Browsers of other sites are kept out by
// the cookie (SameSite) and by the cross-origin check. A viewer reads messages,
// suppressions, lanes and the state of the sync; users, whole lists, backups and
// changes are for administrators.
func (p *Pages) insideAPI(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse := func(code int, text string) {
			answer(w, code, struct {
				Error string `json:"error"`
			}{text})
		}
		s, ok := p.session(r)
		reads := (r.Method == http.MethodGet || r.Method == http.MethodHead) && forViewers(r.URL.Path)
		switch {
		case !ok:
			refuse(http.StatusUnauthorized, "log in first, or ask through the control socket in data_dir")
		case r.URL.Path == "/api/login-link":
			refuse(http.StatusForbidden, "a login link is made on the gateway's own machine: `postern admin login`")
		case !s.admin && !reads:
			refuse(http.StatusForbidden, "a viewer reads messages, suppressions, lanes and the state of the sync, and changes nothing")
		default:
			next.ServeHTTP(w, withSession(r, s))
		}
	})
}

// forViewers says whether a viewer may read this path of the API.
func forViewers(path string) bool {
	switch path {
	case "/api/queue", "/api/lanes", "/api/suppressions", "/api/sync":
		return true
	case "/api/suppressions/export":
		return false
	}
	return strings.HasPrefix(path, "/api/queue/") || strings.HasPrefix(path, "/api/suppressions/")
}

func styleSheet(w http.ResponseWriter, _ *http.Request) {
	b, err := files.ReadFile("pages/style.css")
	if err != nil {
		http.Error(w, "missing", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b)
}

// frame is what every page gets beside its own data.
type frame struct {
	Syncs    bool     // there is a page of the sync
	Session  *session // nil before the login
	Data     any
	Now      time.Time
	Location *time.Location
}

// Admin says whether the page may have buttons.
func (f frame) Admin() bool { return f.Session != nil && f.Session.admin }

// User is the name of whoever is logged in.
func (f frame) User() string { return f.Session.user }

// CSRF is the token of the page's forms.
func (f frame) CSRF() string { return f.Session.csrf }

// Time shows a moment in the administrators' time zone.
func (f frame) Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(f.Location).Format("2006-01-02 15:04:05")
}

// layout holds every page's template, parsed once when the program starts.
var layout = parsePages()

func parsePages() map[string]*template.Template {
	pages := make(map[string]*template.Template)
	for _, name := range []string{"login", "link", "problem", "messages", "message", "copy", "sessions", "session", "suppressions", "suppression", "sync", "user", "lists"} {
		pages[name] = template.Must(template.New("layout.html").
			ParseFS(files, "pages/layout.html", "pages/"+name+".html"))
	}
	return pages
}

// show writes a page whole or not at all.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, code int, name string, data any) {
	f := frame{Syncs: p.API.SyncStatus != nil, Data: data, Now: time.Now(), Location: p.Location}
	if f.Location == nil {
		f.Location = time.UTC
	}
	if s := sessionOf(r); s.user != "" || s.csrf != "" {
		f.Session = &s
	}
	var b bytes.Buffer
	if err := layout[name].Execute(&b, f); err != nil {
		p.API.Log.Error("a page could not be made", "page", name, "err", err)
		http.Error(w, "This page could not be made; the gateway's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // a client that is gone is told nothing
	}
}

// problem shows a sentence instead of a page.
func (p *Pages) problem(w http.ResponseWriter, r *http.Request, code int, text string) {
	p.show(w, r, code, "problem", text)
}

// failed shows err as the API would say it.
func (p *Pages) failed(w http.ResponseWriter, r *http.Request, err error) {
	code := status(err)
	if code >= http.StatusInternalServerError {
		p.API.Log.Error("a page failed", "path", r.URL.Path, "status", code, "err", err)
	}
	p.problem(w, r, code, capital(sentence(err))+".")
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
