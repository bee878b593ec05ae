package optout

import (
	"context"
	"errors"
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
	"unicode"
	"unicode/utf8"

	"postern/directory"
	"postern/mail"
)

// The ways of asking, as the ledger names them.
const (
	HowOneClick = "one-click"    // a mail reader's button, RFC 8058
	HowPage     = "page"         // a button on our page
	HowConfirm  = "confirmation" // the button behind the link of a confirmation mail
)

// ListInfo is what a page says about a list.
type ListInfo struct {
	ID          string
	Name        string // for people
	Language    string // "ko" or "en"
	Listed      bool   // may be chosen on the preferences page
	Advertising bool   // the day of consent is shown
}

// State is how it stands with a person.
type State struct {
	directory.State                      // of it On and Gone count
	Consent         map[string]time.Time // by list id: when they agreed, where that is known
	Suppressed      directory.Kind       // why nothing is sent to them; "" when something may be
	LastLeft        time.Time            // when they last left anything or complained; zero: never, or not known
}

// Handler is the public pages. Its fields are set before it serves. The functions
// may be called from many goroutines at once. Those that store something return nil
// only when that is on disk, and again nil when it was so before.
type Handler struct {
	Keyring *Keyring
	Pages   *Templates
	// Prefix is the path of base_url, such as "/mail", or "". The pages are served
	// below it, and without it for a proxy that takes it away.
	Prefix string
	Lists  []ListInfo // all that are configured, in the order of the page

	// OptOut stores that user has left list, or all of them ([directory.AllLists]).
	OptOut func(ctx context.Context, user mail.Address, list string, ev directory.Evidence) error
	// Choose stores a whole choice, all of it or nothing ([directory.Index.Choose]). Its
	// Known is not filled in.
	Choose func(ctx context.Context, user mail.Address, c directory.Choice, ev directory.Evidence) error
	// State says which of lists a person gets, and what else the pages show. When the
	// directory fails or ctx ends it is what is known here, and no error.
	State func(ctx context.Context, user mail.Address, lists []string) (State, error)
	// Ask has a confirmation mail sent, with a link to base_url + "/c/" +
	// [Keyring.SealConfirm] of these lists and ev.At; false when one was sent within a
	// day already. Nothing else changes. nil: nobody can be asked, and a complaint ends
	// only by an operator.
	Ask func(ctx context.Context, user mail.Address, lists []string, ev directory.Evidence) (bool, error)
	// Confirm stores that user agreed to lists and ends a suppression by complaint. It
	// goes with Ask.
	Confirm func(ctx context.Context, user mail.Address, lists []string, ev directory.Evidence) error

	// TrustedProxies are believed when they name the client in X-Forwarded-For.
	TrustedProxies []netip.Prefix
	Zone           *time.Location // of the dates on pages; nil: UTC
	Log            *slog.Logger

	limit limiter // of links that do not work
	watch watcher // for scanners
}

const (
	// maxBody is what a POST may carry, in octets: RFC 8058 needs 26, and a form with
	// a thousand lists some 64 KB.
	maxBody = 128 << 10
	// storeWithin is how long a client waits for the disk before the 503.
	storeWithin = 15 * time.Second
	retryAfter  = 2 * time.Minute
)

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

// ServeHTTP answers /u/{token}, /p/{token} and /c/{token}. It compares the path as
// it came: a ServeMux would redirect an unclean one, and a one-click POST is never
// redirected (RFC 8058 §3.1).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := h.newRequest(w, r)
	path := r.URL.Path
	if below, ok := strings.CutPrefix(path, h.Prefix); ok && strings.HasPrefix(below, "/") {
		path = below
	}
	if len(path) < 3 || path[0] != '/' || path[2] != '/' || !strings.ContainsRune("upc", rune(path[1])) {
		q.notice(http.StatusNotFound, sectionMissing)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, HEAD, POST")
		q.notice(http.StatusMethodNotAllowed, sectionMethod)
		return
	}
	token := trimToken(path[3:])
	if path[1] == 'c' && h.Confirm != nil {
		q.confirmation(token)
		return
	}
	claim, err := h.Keyring.Open(token)
	if err != nil {
		q.invalid()
		return
	}
	q.open(claim, token)
	switch {
	case path[1] == 'p' && r.Method == http.MethodPost:
		q.choose()
	case path[1] == 'p':
		q.preferences()
	case r.Method == http.MethodPost:
		q.leave()
	default:
		q.show(http.StatusOK, q.view(askPage, askPage))
	}
}

// request is one request that is being answered.
type request struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	client string
	lang   string // asked for by ?lang=, "" when not

	// Once the token is opened:
	claim Claim
	token string // as it was made, for links
	list  ListInfo
	known bool // the list is configured
}

func (h *Handler) newRequest(w http.ResponseWriter, r *http.Request) *request {
	q := &request{Handler: h, w: w, r: r, client: h.client(r)}
	if lang := r.URL.Query().Get("lang"); lang == "ko" || lang == "en" {
		q.lang = lang
	}
	return q
}

// open takes what the seal held: from here on the token is known to be ours.
func (q *request) open(c Claim, token string) {
	q.claim, q.token = c, token
	q.list, q.known = q.find(c.List)
	q.watch.saw(q.Log, q.r, c.User.Domain(), q.client, token)
}

func (h *Handler) find(id string) (ListInfo, bool) {
	for _, l := range h.Lists {
		if l.ID == id {
			return l, true
		}
	}
	return ListInfo{}, false
}

// maxTail is how many characters after a token are passed over.
const maxTail = 8

// trimToken takes away what programs and people put behind a link: "TOKEN>." is
// TOKEN. The seal decides about the rest; letters, digits and slashes are part of
// what was sent to us and are not passed over.
func trimToken(s string) string {
	end := len(s)
	for i, c := range s {
		if !plainToken(string(c)) {
			end = i
			break
		}
	}
	tail := s[end:]
	if utf8.RuneCountInString(tail) > maxTail || strings.ContainsFunc(tail, func(c rune) bool {
		return c == '/' || c == '%' || c == '=' || c == utf8.RuneError || !unicode.IsPunct(c) && !unicode.IsSpace(c) && !unicode.IsSymbol(c)
	}) {
		return s
	}
	return s[:end]
}

// invalid answers whatever is not one of our tokens. Only such answers are limited.
func (q *request) invalid() {
	if wait := q.limit.refused(time.Now(), network(q.client)); wait > 0 {
		q.w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		q.notice(http.StatusTooManyRequests, sectionLimited)
		return
	}
	q.notice(http.StatusBadRequest, sectionInvalid)
}

// leave stores the opt-out of the token's list and only then says so. What the body
// says does not matter, the token does; only our own page's button is told from all
// else.
func (q *request) leave() {
	if form, err := q.form(); !q.unread(err) {
		q.leaveBy(form)
	}
}

func (q *request) leaveBy(form url.Values) {
	ev := q.evidence(HowOneClick)
	if form.Get("from") == "page" {
		ev = q.evidence(HowPage)
		ev.Wording = q.Pages.wording(q.view(askPage, askPage), "button")
	}
	log := q.Log.With("message", string(q.claim.Message), "list", q.claim.List, "how", ev.How)
	ctx, cancel := q.storing()
	defer cancel()
	if err := q.OptOut(ctx, q.claim.User, q.claim.List, ev); err != nil {
		log.Error("an opt-out could not be stored; the client was asked to try again", "err", err)
		q.later(true)
		return
	}
	log.Info("unsubscribed")
	q.show(http.StatusOK, q.doneView())
}

// doneView offers to come back only to a list that there is.
func (q *request) doneView() *view {
	v := q.view(donePage, donePage)
	if q.known {
		v.Undo = []row{{ID: q.claim.List, Name: q.list.Name, On: true}}
	}
	return v
}

// form reads the body to its end. The error is of reading; what is no form has no
// fields.
func (q *request) form() (url.Values, error) {
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.r.Body, maxBody))
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		if form, err := url.ParseQuery(string(body)); err == nil {
			return form, nil
		}
	}
	return nil, nil
}

// unread answers a body that could not be read.
func (q *request) unread(err error) bool {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return false
	case errors.As(err, &large):
		q.notice(http.StatusRequestEntityTooLarge, sectionUnread)
	default:
		q.notice(http.StatusBadRequest, sectionUnread)
	}
	return true
}

func (q *request) evidence(how string) directory.Evidence {
	return directory.Evidence{At: time.Now(), How: how, Remote: q.client, Message: q.claim.Message}
}

// storing outlives the client: who hangs up after asking has asked all the same.
func (q *request) storing() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(q.r.Context()), storeWithin)
}

// later is the answer when something could not be stored. Its button sends no form
// but the one of a single button, so it stands only where that was pressed.
func (q *request) later(again bool) {
	q.w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	v := q.view(noticePage, sectionLater)
	v.Preferences, v.Again = "", again
	q.show(http.StatusServiceUnavailable, v)
}

// view is a page in the reader's language.
func (q *request) view(page, section string) *view {
	lang := pickLanguage(q.lang, q.r.Header.Get("Accept-Language"), q.list.Language)
	v := q.Pages.newView(page, section, lang, q.list.Name, q.claim.User)
	if q.token != "" {
		v.Preferences = "../p/" + q.token
		if q.lang != "" {
			v.Preferences += "?lang=" + q.lang
		}
	}
	return v
}

// notice shows what did not work.
func (q *request) notice(code int, section string) {
	v := q.view(noticePage, section)
	if section != sectionExpired && section != sectionVoid {
		v.Preferences = ""
	}
	q.show(code, v)
}

// show sends a page. The link to the other language stands only where following it
// shows the same page again, which is not so after a POST.
func (q *request) show(code int, v *view) {
	if q.r.Method != http.MethodPost && code != http.StatusNotFound && code != http.StatusMethodNotAllowed {
		v.Other, v.OtherName = "ko", "한국어"
		if v.Lang == "ko" {
			v.Other, v.OtherName = "en", "English"
		}
	}
	page, err := q.Pages.render(v)
	if err != nil {
		q.Log.Error("a page cannot be shown", "page", v.Page, "err", err)
		http.Error(q.w, v.Title, code) // what was stored is stored, and the code says so
		return
	}
	q.Pages.setHeaders(q.w.Header())
	q.w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	q.w.WriteHeader(code)
	if q.r.Method == http.MethodHead {
		return
	}
	if _, err := q.w.Write(page); err != nil {
		q.Log.Debug("a page did not reach its reader", "err", err)
	}
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
