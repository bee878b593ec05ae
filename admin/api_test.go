package admin_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/admin"
	"postern/directory"
	"postern/mail"
	"postern/relay"
	"postern/spool"
)

// gateway is an API over a real spool and a directory in memory.
type gateway struct {
	*admin.API
	t   testing.TB
	log bytes.Buffer
	now time.Time
}

func newGateway(t testing.TB) *gateway {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		problems, err := s.Check(context.Background(), nil)
		if len(problems) > 0 || err != nil && !errors.Is(err, spool.ErrClosed) {
			t.Errorf("the spool afterwards: %q, %v", problems, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	g := &gateway{t: t, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	g.API = &admin.API{
		Spool: s,
		Users: newUsers(),
		Render: func(m *mail.Message, c *mail.Copy) (mail.Content, error) {
			return mail.Content{
				Header: []byte("From: Shop <shop@example.com>\r\nTo: " + string(c.To) + "\r\nSubject: Hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"),
				Body:   [][]byte{[]byte("Hello " + string(c.To) + "\r\n")},
			}, nil
		},
		Log: newLog(g),
	}
	return g
}

func newLog(g *gateway) *slog.Logger { return slog.New(slog.NewTextHandler(&g.log, nil)) }

// add puts a message with copies into the spool and gives its id.
func (g *gateway) add(subject string, to ...mail.Address) mail.ID {
	g.t.Helper()
	g.now = g.now.Add(time.Minute)
	m := mail.Message{
		ID: mail.NewID(g.now), Submission: mail.NewID(g.now), From: "marketer@example.com", HeaderFrom: "marketer@example.com",
		Submitter: "marketer@example.com", Subject: subject, Priority: mail.Bulk, State: mail.Expanding, AcceptedAt: g.now, Size: 5,
		List: &mail.ListPolicy{ID: "promo", Address: "promo@lists.example.com", Name: "Promotions", Language: "en", Missing: "hold", Release: "immediate"},
	}
	b, err := g.Spool.NewBody()
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := b.Write([]byte("Hello")); err != nil {
		g.t.Fatal(err)
	}
	ctx := g.t.Context()
	if err := g.Spool.Accept(ctx, b, []spool.Accepted{{Message: m}}); err != nil {
		g.t.Fatal(err)
	}
	for page := range slices.Chunk(to, 5000) {
		copies := make([]mail.Copy, len(page))
		for i, a := range page {
			copies[i] = mail.Copy{To: a, UserKey: string(a)}
		}
		if err := g.Spool.AddCopies(ctx, m.ID, copies, nil); err != nil {
			g.t.Fatal(err)
		}
	}
	if err := g.Spool.Expanded(ctx, m.ID, mail.Sending, ""); err != nil {
		g.t.Fatal(err)
	}
	return m.ID
}

// settle ends n attempts with r.
func (g *gateway) settle(n int, r spool.Result) {
	g.t.Helper()
	claims, err := g.Spool.Claim(g.t.Context(), "", n, time.Now().Add(time.Hour))
	if err != nil || len(claims) != n {
		g.t.Fatalf("%d claims of %d: %v", len(claims), n, err)
	}
	for i, c := range claims {
		one := r
		one.At = time.Now()
		if r.State == mail.Sent {
			one.UpstreamID = fmt.Sprintf("up-%s-%d", c.Message.ID, i)
		}
		if err := g.Spool.Settle(g.t.Context(), c, one); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *gateway) do(method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.Handler().ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

// get decodes an answer that must have this status.
func (g *gateway) get(method, path, body string, code int) map[string]any {
	g.t.Helper()
	w := g.do(method, path, body)
	if w.Code != code {
		g.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		g.t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
	}
	return v
}

func TestQueueListsNewestFirstWithTheContractsKeys(t *testing.T) {
	g := newGateway(t)
	first := g.add("First", "a@example.com", "b@example.com")
	second := g.add("Second {{Name}}", "c@example.com")
	g.settle(1, spool.Result{State: mail.Sent, Spent: true})
	w := g.do("GET", "/api/queue", "")
	var list []map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	if len(list) != 2 || list[0]["id"] != string(second) || list[1]["id"] != string(first) {
		t.Fatalf("%v", list)
	}
	keys := slices.Sorted(maps.Keys(list[0]))
	if want := []string{"accepted_at", "copies", "from", "id", "list", "reason", "state", "subject"}; !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
	if list[0]["subject"] != "Second {{Name}}" || list[0]["list"] != "promo" || list[0]["from"] != "marketer@example.com" || list[0]["accepted_at"] != "2026-11-22T09:02:00Z" {
		t.Errorf("%v", list[0])
	}
	total := 0.0
	for _, m := range list {
		copies := m["copies"].(map[string]any)
		if len(copies) != 2 {
			t.Errorf("copies %v, want queued and sent alone", copies)
		}
		total += copies["queued"].(float64)*10 + copies["sent"].(float64)
	}
	if total != 21 {
		t.Errorf("%v", list)
	}
}

func TestQueueGoesPageByPage(t *testing.T) {
	g := newGateway(t)
	var ids []string
	for i := range 5 {
		ids = append(ids, string(g.add(fmt.Sprint(i), "a@example.com")))
	}
	slices.Reverse(ids)
	list := func(query string) (got []string) {
		w := g.do("GET", "/api/queue"+query, "")
		var v []struct{ ID string }
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
		for _, m := range v {
			got = append(got, m.ID)
		}
		return got
	}
	for query, want := range map[string][]string{
		"": ids, "?limit=2": ids[:2], "?limit=2&before=" + ids[1]: ids[2:4], "?before=" + ids[4]: nil, "?limit=9": ids,
	} {
		if got := list(query); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestMessageShowsItsCopiesFiltered(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a@example.com", "b@example.com", "c@example.com", "d@example.com")
	g.settle(1, spool.Result{State: mail.Sent, Spent: true})
	g.settle(1, spool.Result{State: mail.CopyFailed, Spent: true, Error: "550 5.1.1 no such user"})
	g.settle(1, spool.Result{State: mail.Deferred, Due: time.Now().Add(time.Hour), Spent: true, Error: "451 later"})
	list := func(query string) []map[string]any {
		t.Helper()
		v := g.get("GET", "/api/queue/"+string(id)+query, "", 200)
		if v["id"] != string(id) || v["subject"] != "Hello" {
			t.Errorf("%v", v)
		}
		var got []map[string]any
		for _, c := range v["recipients"].([]any) {
			got = append(got, c.(map[string]any))
		}
		return got
	}
	all := list("")
	if len(all) != 4 {
		t.Fatalf("%v", all)
	}
	for _, c := range all {
		_, due := c["due"]
		switch c["state"] {
		case "sent":
			if c["upstream_id"] == "" || c["attempts"] != 1.0 {
				t.Errorf("%v", c)
			}
		case "failed":
			if c["last_error"] != "550 5.1.1 no such user" {
				t.Errorf("%v", c)
			}
		case "deferred":
			if !due || c["last_error"] != "451 later" {
				t.Errorf("%v", c)
			}
		}
	}
	if got := list("?state=failed"); len(got) != 1 || got[0]["state"] != "failed" {
		t.Errorf("failed: %v", got)
	}
	if got := list("?limit=2&after=1"); len(got) != 2 || got[0]["seq"] != 2.0 {
		t.Errorf("page: %v", got)
	}
	if got := list("?state=skipped"); len(got) != 0 {
		t.Errorf("skipped: %v", got)
	}
}

func TestTwentyThousandCopiesComeInAStream(t *testing.T) {
	g := newGateway(t)
	to := make([]mail.Address, 20_000)
	for i := range to {
		to[i] = mail.Address(fmt.Sprintf("user%06d@example.com", i))
	}
	id := g.add("Many", to...)
	server := httptest.NewServer(g.Handler())
	defer server.Close()
	res, err := http.Get(server.URL + "/api/queue/" + string(id))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	// A decoder by tokens: the test keeps no more in memory than the handler.
	d, n := json.NewDecoder(bufio.NewReader(res.Body)), 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if tok == "address" {
			n++
		}
	}
	if n != len(to) || res.ContentLength != -1 {
		t.Errorf("%d of %d copies, length %d", n, len(to), res.ContentLength)
	}
}

func TestMessageIsPausedResumedCancelledAndRetried(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a@example.com", "b@example.com", "c@example.com")
	g.settle(1, spool.Result{State: mail.CopyFailed, Spent: true, Error: "550 no"})
	do := func(action, body string, code int) map[string]any {
		t.Helper()
		return g.get("POST", "/api/queue/"+string(id)+"/"+action, body, code)
	}
	want := func(v map[string]any, state string, copies int) {
		t.Helper()
		if v["id"] != string(id) || v["state"] != state || v["copies"] != float64(copies) || len(v) != 3 {
			t.Errorf("%v, want %s and %d copies", v, state, copies)
		}
	}
	refused := func(v map[string]any) {
		t.Helper()
		if s, _ := v["error"].(string); !strings.Contains(s, " ") || len(v) != 1 {
			t.Errorf("%v is no sentence", v)
		}
	}
	refused(do("resume", "", 409))
	want(do("pause", "", 200), "paused", 2)
	if v := g.get("GET", "/api/queue/"+string(id), "", 200); v["reason"] != "paused by an administrator at the command line" {
		t.Errorf("reason %v", v["reason"])
	}
	refused(do("pause", "", 409))
	want(do("resume", "", 200), "sending", 2)
	want(do("retry", "", 200), "sending", 1)
	want(do("cancel", "", 200), "cancelled", 3)
	refused(do("cancel", "", 409))
	refused(do("pause", "", 409))
	want(do("retry", `{"copy":"A@Example.com"}`, 200), "sending", 1)
	refused(do("retry", `{"copy":"a@example.com"}`, 409))
	refused(do("retry", `{"copy":"nobody@example.com"}`, 404))
	refused(do("retry", `{"copy":"not an address"}`, 400))
	refused(do("retry", `{"kopie":"a@example.com"}`, 400))
	refused(do("retry", `{}{}`, 400))
	refused(do("pause", `{"copy":"a@example.com"}`, 400))
	refused(do("explode", "", 400))
}

func TestFinishedMessageCanBeNeitherPausedNorCancelled(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a@example.com")
	g.settle(1, spool.Result{State: mail.Sent, Spent: true})
	for _, action := range []string{"pause", "resume", "cancel"} {
		v := g.get("POST", "/api/queue/"+string(id)+"/"+action, "", 409)
		if !strings.Contains(v["error"].(string), "is done") {
			t.Errorf("%s: %v", action, v)
		}
	}
}

func TestWhatDoesNotFitIsAnsweredInASentence(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Hello", "a@example.com"))
	none := string(mail.NewID(g.now))
	for request, code := range map[string]int{
		"GET /api/queue?limit=x": 400, "GET /api/queue?limit=-1": 400, "GET /api/queue?before=x": 400,
		"GET /api/queue/x": 400, "GET /api/queue/" + none: 404, "POST /api/queue/" + none + "/pause": 404,
		"GET /api/queue/" + id + "?state=lost": 400, "GET /api/queue/" + id + "?after=x": 400, "GET /api/queue/" + id + "?limit=x": 400,
		"GET /api/queue/" + id + "/eml": 400, "GET /api/queue/" + id + "/eml?to=b@example.com": 404,
		"GET /api/users/nobody@example.com": 404, "PATCH /api/users/nobody@example.com": 400,
		"POST /api/spool/compact": 409, "GET /api/lanes": 409, "POST /api/login-link": 409,
		"GET /api/nothing": 404, "DELETE /api/queue": 404, "GET /": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		v := g.get(method, path, "", code)
		if s, _ := v["error"].(string); !strings.Contains(s, " ") || len(v) != 1 {
			t.Errorf("%s: %v", request, v)
		}
	}
	if v := g.get("POST", "/api/spool/compact", "", 409); !strings.Contains(v["error"].(string), "stopped") {
		t.Errorf("%v", v)
	}
}

func TestCopyIsGivenAsMail(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a+b@example.com")
	w := g.do("GET", "/api/queue/"+string(id)+"/eml?to="+url.QueryEscape("A+b@example.com"), "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "message/rfc822" || !strings.Contains(w.Body.String(), "\r\n\r\nHello a+b@example.com\r\n") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	g.Render = func(*mail.Message, *mail.Copy) (mail.Content, error) {
		return mail.Content{}, mail.Refuse(550, "5.6.0", "the template is gone")
	}
	if v := g.get("GET", "/api/queue/"+string(id)+"/eml?to=a%2Bb@example.com", "", 422); v["error"] != "the template is gone" {
		t.Errorf("%v", v)
	}
}

func TestUsersAreListedShownAndChanged(t *testing.T) {
	g := newGateway(t)
	users := newUsers()
	g.Users = users
	for i := range 7 {
		users.put(directory.User{Email: mail.Address(fmt.Sprintf("u%d@example.com", i)), Subscribed: i%2 == 0, Attributes: map[string]any{"Name": "민", "CreateTime": json.Number("1700000000")}})
	}
	lines := func(query string) []string {
		w := g.do("GET", "/api/users"+query, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		return strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	}
	if got := lines(""); len(got) != 7 || got[0] != `{"CreateTime":1700000000,"Email":"u0@example.com","Name":"민","SubscriptionStatus":true}` {
		t.Errorf("%q", got)
	}
	if got := lines("?limit=5"); len(got) != 5 {
		t.Errorf("%q", got)
	}
	v := g.get("PATCH", "/api/users/u1@example.com", `{"SubscriptionStatus":true,"attributes":{"Name":null,"Score":12345678901234567890}}`, 200)
	if v["SubscriptionStatus"] != true || v["Name"] != nil || users.all["u1@example.com"].Attributes["Score"] != json.Number("12345678901234567890") {
		t.Errorf("%v %v", v, users.all["u1@example.com"])
	}
	for body, code := range map[string]int{`{"attributes":{"Email":"x"}}`: 400, `{"attributes":{"SubscriptionStatus":true}}`: 400, `{"attributes":{"OptOut":[]}}`: 400, `{"Name":"x"}`: 400, `[]`: 400, strings.Repeat(" ", 2<<20) + "{}": 413} {
		g.get("PATCH", "/api/users/u1@example.com", body, code)
	}
	g.get("PATCH", "/api/users/nobody@example.com", `{"SubscriptionStatus":true}`, 404)
	users.put(directory.User{Email: "odd/slash+%@example.com"})
	if v := g.get("GET", "/api/users/"+url.PathEscape("odd/slash+%@example.com"), "", 200); v["Email"] != "odd/slash+%@example.com" {
		t.Errorf("%v", v)
	}
}

func TestImportTellsItsProgressWhileTheFileStillComes(t *testing.T) {
	g := newGateway(t)
	learnt := make(map[string]string)
	g.Learn = func(fields map[string]string) error { maps.Copy(learnt, fields); return nil }
	server := httptest.NewServer(g.Handler())
	defer server.Close()
	body, file := io.Pipe()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/api/users/import", body)
	told, rows := make(chan struct{}), make(chan int)
	go func() { // writes until progress was seen, so that the answer must overtake the file
		_, _ = io.WriteString(file, "Email,Name,Score\nnonsense,x,1\n")
		for n := 1; ; n++ {
			select {
			case <-told:
				file.Close()
				rows <- n
				return
			default:
				_, _ = fmt.Fprintf(file, "u%d@example.com,민,%d\n", n, n)
			}
		}
	}()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out := bufio.NewScanner(res.Body)
	if !out.Scan() || !strings.HasPrefix(out.Text(), `{"rows":`) {
		t.Fatalf("%q %v", out.Text(), out.Err())
	}
	close(told)
	n := <-rows
	var last struct {
		Done              bool
		Rows, Stored, Bad int
		Errors            []struct {
			Row   int
			Error string
		}
	}
	for out.Scan() {
		if err := json.Unmarshal(out.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if !last.Done || last.Rows != n || last.Stored != n-1 || last.Bad != 1 || len(last.Errors) != 1 || last.Errors[0].Row != 2 || last.Errors[0].Error == "" {
		t.Errorf("%+v of %d", last, n)
	}
	if _, ok := learnt["Score"]; !ok {
		t.Errorf("learnt %v", learnt)
	}
}

func TestWorkThatFailsHalfWayEndsInAnError(t *testing.T) {
	g := newGateway(t)
	w := g.do("POST", "/api/users/import", "Name\nMin\n")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if !strings.HasPrefix(lines[len(lines)-1], `{"error":"`) || !strings.Contains(lines[len(lines)-1], "Email") {
		t.Error(w.Body)
	}
	users := newUsers()
	users.put(directory.User{Email: "a@example.com"})
	g.Users = users
	if w := g.do("GET", "/api/users/export", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "a@example.com") || w.Header().Get("Content-Disposition") == "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	users.fail = mail.Later(0, "", "the table cannot be reached")
	if v := g.get("GET", "/api/users/export", "", 503); v["error"] != "the table cannot be reached" {
		t.Errorf("%v", v)
	}
	users.fail = errors.New("dial tcp 10.0.0.7: secret detail")
	if v := g.get("GET", "/api/users", "", 500); strings.Contains(v["error"].(string), "secret") || !strings.Contains(g.log.String(), "secret detail") {
		t.Errorf("%v; log %s", v, g.log.String())
	}
}

func TestStatusOfEveryKindOfError(t *testing.T) {
	g := newGateway(t)
	id := string(g.add("Hello", "a@example.com"))
	for name, c := range map[string]struct {
		err  error
		code int
		text string
	}{
		"permanent":        {mail.Refuse(550, "5.6.0", "the template is gone"), 422, "the template is gone"},
		"temporary":        {mail.Later(451, "4.3.0", "the directory is away"), 503, "the directory is away"},
		"wrapped":          {fmt.Errorf("render: %w", mail.Refuse(550, "5.6.0", "the template is gone")), 422, "the template is gone"},
		"unknown user":     {fmt.Errorf("x: %w", directory.ErrNotFound), 404, directory.ErrNotFound.Error()},
		"unknown message":  {fmt.Errorf("x: %w", spool.ErrNotFound), 404, spool.ErrNotFound.Error()},
		"refused":          {fmt.Errorf("x: %w", &spool.Refused{Sentence: "it is done"}), 409, "it is done"},
		"broken spool":     {fmt.Errorf("%w: %w", spool.ErrBroken, errors.New("/var/lib EIO")), 503, spool.ErrBroken.Error()},
		"closed":           {spool.ErrClosed, 503, spool.ErrClosed.Error()},
		"locked":           {fmt.Errorf("%w (/var/lib)", spool.ErrLocked), 503, spool.ErrLocked.Error()},
		"cut short":        {context.DeadlineExceeded, 503, "the work was cut short; try again"},
		"too large":        {&http.MaxBytesError{Limit: 10}, 413, "the request is larger than 10 bytes"},
		"full disk":        {fmt.Errorf("write sync.db: %w", &fs.PathError{Op: "write", Path: "/var/lib", Err: syscall.ENOSPC}), 500, "the disk of data_dir is full: make room, and try again"},
		"nobody knows":     {errors.New("/var/lib/postern: secret"), 500, "something went wrong inside; the gateway's log says what"},
		"without a public": {&mail.Error{Err: errors.New("secret")}, 503, "something went wrong inside; the gateway's log says what"},
	} {
		t.Run(name, func(t *testing.T) {
			g.Render = func(*mail.Message, *mail.Copy) (mail.Content, error) { return mail.Content{}, c.err }
			if v := g.get("GET", "/api/queue/"+id+"/eml?to=a@example.com", "", c.code); v["error"] != c.text {
				t.Errorf("%v, want %q", v, c.text)
			}
		})
	}
}

func TestSpoolIsCheckedAndBackedUp(t *testing.T) {
	g := newGateway(t)
	id := g.add("Hello", "a@example.com")
	w := g.do("POST", "/api/spool/check", "")
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if w.Code != 200 || lines[len(lines)-1] != `{"done":true,"problems":[]}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = g.do("GET", "/api/spool/backup", "")
	var names []string
	for r := tar.NewReader(w.Body); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if !slices.Equal(names, []string{"spool.db", "bodies/" + string(id) + ".eml"}) {
		t.Errorf("%q", names)
	}
	g.Compact = func(context.Context) (int64, int64, error) { return 100, 40, nil }
	if v := g.get("POST", "/api/spool/compact", "", 200); v["before"] != 100.0 || v["after"] != 40.0 {
		t.Errorf("%v", v)
	}
	if err := g.Spool.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/queue", "/api/spool/backup", "/api/queue/" + string(id)} {
		g.get("GET", path, "", 503)
	}
}

func TestLanesAndLoginLink(t *testing.T) {
	g := newGateway(t)
	g.Lanes = func() []relay.LaneStatus { return nil }
	if w := g.do("GET", "/api/lanes", ""); strings.TrimSpace(w.Body.String()) != "[]" {
		t.Error(w.Body)
	}
	g.Lanes = func() []relay.LaneStatus {
		return []relay.LaneStatus{{Name: "default", Driver: "ses", State: "paused", Reason: "the daily quota is spent", Rate: 14}}
	}
	if w := g.do("GET", "/api/lanes", ""); strings.TrimSpace(w.Body.String()) != `[{"name":"default","driver":"ses","state":"paused","reason":"the daily quota is spent","rate":14,"in_flight":0}]` {
		t.Error(w.Body)
	}
	g.LoginLink = func() (string, error) { return "http://127.0.0.1:8080/login/x", nil }
	if v := g.get("POST", "/api/login-link", "", 200); v["url"] != "http://127.0.0.1:8080/login/x" {
		t.Errorf("%v", v)
	}
	if strings.Contains(g.log.String(), "login/x") {
		t.Error("the link is in the log")
	}
}
