package optout

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"postern/directory"
	"postern/mail"
)

// The ways of leaving, as [directory.Evidence] names them.
const (
	HowOneClick = "one-click" // a mail reader's button, RFC 8058
	HowPage     = "page"      // the button on our page
)

// ListInfo is what a page says about a list.
type ListInfo struct {
	Name     string // for people
	Language string // "ko" or "en"
}

// Handler is the public page. Its fields are set before it serves.
type Handler struct {
	Keyring *Keyring
	// OptOut stores that user has left list ([directory.Index.OptOut]). It returns
	// nil only when that is on disk, and again nil when it was so before.
	OptOut func(ctx context.Context, user mail.Address, list string, ev directory.Evidence) error
	// Lists finds a configured list by its id; false when there is none.
	Lists func(id string) (ListInfo, bool)
	// TrustedProxies are believed when they name the client in X-Forwarded-For.
	TrustedProxies []netip.Prefix
	Log            *slog.Logger
}

const (
	// maxBody is what a POST may carry, in octets: RFC 8058 needs 26.
	maxBody = 16 << 10
	// storeWithin is how long a client waits for the disk before the 503.
	storeWithin = 15 * time.Second
	retryAfter  = 2 * time.Minute
)

//go:embed pages/style.css
var style string

//go:embed pages/page.html
var layout string

var pageTemplate = template.Must(template.New("page").Parse(layout))

// NewServer is an HTTP server for a public page: clients that dawdle are cut
// off after half a minute, headers are limited to 16 KB.
func NewServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// ServeHTTP answers /u/{token} and /p/{token}. It compares the path as it came: a ServeMux
// would redirect an unclean one, and a one-click POST is never redirected
// (RFC 8058 §3.1).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, "/u/")
	if !ok {
		token, ok = strings.CutPrefix(r.URL.Path, "/p/")
	}
	if !ok {
		h.show(w, r, http.StatusNotFound, pageMissing, Claim{})
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, HEAD, POST")
		h.show(w, r, http.StatusMethodNotAllowed, pageMethod, Claim{})
		return
	}
	claim, err := h.Keyring.Open(token)
	switch {
	case err != nil:
		h.show(w, r, http.StatusBadRequest, pageInvalid, Claim{})
	case r.Method == http.MethodPost:
		h.leave(w, r, claim)
	default:
		h.show(w, r, http.StatusOK, pageAsk, claim)
	}
}

// leave stores the opt-out and only then says so.
func (h *Handler) leave(w http.ResponseWriter, r *http.Request, c Claim) {
	how, err := howAsked(w, r)
	if err != nil {
		code := http.StatusBadRequest
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			code = http.StatusRequestEntityTooLarge
		}
		h.show(w, r, code, pageUnread, c)
		return
	}
	ev := directory.Evidence{At: time.Now(), How: how, Remote: h.client(r), Message: c.Message}
	// Who hangs up after asking has asked all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeWithin)
	defer cancel()
	log := h.Log.With("message", string(c.Message), "list", c.List, "how", how)
	if err := h.OptOut(ctx, c.User, c.List, ev); err != nil {
		log.Error("an opt-out could not be stored; the client was asked to try again", "err", err)
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		h.show(w, r, http.StatusServiceUnavailable, pageLater, c)
		return
	}
	log.Info("unsubscribed")
	h.show(w, r, http.StatusOK, pageDone, c)
}

// howAsked reads the body to its end. What it says does not matter, the token
// does; only our own page's button is told from all else.
func howAsked(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", err
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "application/x-www-form-urlencoded" {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("from") == "page" {
			return HowPage, nil
		}
	}
	return HowOneClick, nil
}

// client is the address of whoever asked: the last one in X-Forwarded-For that
// is not a trusted proxy, when a trusted proxy brought the request.
func (h *Handler) client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && h.trusted(host); i-- {
		ip, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		host = ip.String()
	}
	return host
}

func (h *Handler) trusted(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range h.TrustedProxies {
		if p.Contains(ip.Unmap()) {
			return true
		}
	}
	return false
}

// view is what the template sees.
type view struct {
	text
	Lang, Other, OtherName string
	Style                  template.CSS
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request, code int, p page, c Claim) {
	var list ListInfo
	if c.List != "" {
		list, _ = h.Lists(c.List)
	}
	v := view{Lang: pickLanguage(r.URL.Query().Get("lang"), r.Header.Get("Accept-Language"), list.Language), Style: template.CSS(style)}
	if list.Name == "" {
		list.Name = nameless(v.Lang)
	}
	fill := strings.NewReplacer("{list}", list.Name, "{who}", mask(c.User))
	t := texts(v.Lang, p)
	v.text = text{Title: fill.Replace(t.Title), Lead: fill.Replace(t.Lead), Button: t.Button, Hint: fill.Replace(t.Hint)}
	if p == pageAsk || p == pageInvalid {
		v.Other, v.OtherName = "ko", "한국어"
		if v.Lang == "ko" {
			v.Other, v.OtherName = "en", "English"
		}
	}
	setHeaders(w.Header())
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return
	}
	if err := pageTemplate.Execute(w, v); err != nil {
		h.Log.Debug("a page did not reach its reader", "err", err)
	}
}

// setHeaders allows our one style sheet and our one form, and nothing else. The
// address of the page is a capability, so it goes into no Referer and no cache.
func setHeaders(h http.Header) {
	sum := sha256.Sum256([]byte(style))
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Language")
}

// mask shows enough of an address for its owner to know it, and not enough for
// whoever was forwarded the mail: "m•••@example.com".
func mask(a mail.Address) string {
	_, n := utf8.DecodeRuneInString(a.Local())
	if n == len(a.Local()) {
		n = 0
	}
	return a.Local()[:n] + "•••@" + a.Domain()
}
