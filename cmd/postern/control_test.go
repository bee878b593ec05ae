package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	bolterrors "go.etcd.io/bbolt/errors"

	"postern/admin"
	postern "postern/cmd/postern"
	"postern/spool"
)

const messageID = "01JD3QX7M0V8T4B1W8Y9ZK2N5R"

// fakeGateway answers the control API with what a test wants to be read.
func fakeGateway(t *testing.T, answers map[string]string) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer, ok := answers[strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body))]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"error":"no answer for %s %s %s"}`, r.Method, r.URL.RequestURI(), strings.ReplaceAll(string(body), `"`, "'"))
			return
		}
		if code, rest, cut := strings.Cut(answer, "|"); cut && len(code) == 3 {
			var n int
			fmt.Sscan(code, &n)
			w.WriteHeader(n)
			answer = rest
		}
		if whole, cut := strings.CutSuffix(answer, "BREAK"); cut {
			io.WriteString(w, whole)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, answer)
	})
}

// serveControl makes a data directory, with a configuration beside it, whose
// gateway is h.
func serveControl(t *testing.T, h http.Handler) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := errors.Join(os.Mkdir("data", 0o700), os.WriteFile("config.toml", []byte(working), 0o600)); err != nil {
		t.Fatal(err)
	}
	l, err := admin.ListenControl("data/control.sock")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
}

// run gives the exit code and what was printed.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = postern.Run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandsOnRunningGateway(t *testing.T) {
	queue := `[{"id":"` + messageID + `","list":"promo","from":"marketer@example.com","subject":"겨울 {{Name}}\u001b[2J","state":"sending","reason":"",` +
		`"accepted_at":"2026-11-22T05:00:00Z","copies":{"queued":0,"sent":198,"failed":2}}]`
	message := `{"id":"` + messageID + `","list":"","from":"","subject":"Hello","state":"paused","reason":"by an operator",` +
		`"accepted_at":"2026-11-22T05:00:00Z","copies":{"sent":1,"failed":1},"recipients":[` +
		`{"address":"a@example.net","state":"sent","attempts":1,"last_error":"","upstream_id":"up-1"},` +
		`{"address":"b@example.net","state":"failed","attempts":4,"last_error":"550 no such user","upstream_id":""}]}`
	serveControl(t, fakeGateway(t, map[string]string{
		"GET /api/queue":                                                        queue,
		"GET /api/queue/" + messageID:                                           message,
		"POST /api/queue/" + messageID + "/pause":                               `{"id":"` + messageID + `","state":"paused","copies":3}`,
		"POST /api/queue/" + messageID + "/resume":                              `{"id":"` + messageID + `","state":"sending","copies":3}`,
		"POST /api/queue/" + messageID + "/cancel":                              `409|{"error":"the message is done, so nothing is left to cancel"}`,
		"POST /api/queue/" + messageID + "/retry":                               `{"id":"` + messageID + `","state":"sending","copies":2}`,
		"POST /api/queue/" + messageID + "/retry " + `{"copy":"b@example.net"}`: `{"id":"` + messageID + `","state":"sending","copies":1}`,
		"GET /api/queue/" + messageID + "/eml?to=a%2Bb%40example.net":           "To: a+b@example.net\r\n\r\nhi\r\n",
		"GET /api/users":                                                        `{"Email":"a@example.net","Name":"민수","CreateTime":17000000001234567890,"SubscriptionStatus":true}` + "\n" + `{"Email":"b@example.net","SubscriptionStatus":false}` + "\n",
		"GET /api/users?limit=1":                                                `{"Email":"a@example.net","SubscriptionStatus":true}` + "\n",
		"GET /api/users/a%2Fx@example.net":                                      `{"Email":"a/x@example.net","Name":"민수","Tags":["x"],"SubscriptionStatus":true}`,
		`PATCH /api/users/a@example.net {"SubscriptionStatus":false,"attributes":{"CreateTime":17000000001234567890,"Gender":null,"Name":"민 수","VIP":"true"}}`: `{}`,
		"GET /api/users/export":   "Email\r\na@example.net\r\n",
		"POST /api/spool/check":   `{"checked":1,"total":2}` + "\n" + `{"done":true,"problems":[]}`,
		"POST /api/spool/compact": `409|{"error":"the gateway runs: stop it first"}`,
		"GET /api/spool/backup":   "tar tar",
		"POST /api/login-link":    `{"url":"http://127.0.0.1:8080/login?t=x"}`,
	}))
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"queue show " + messageID, 0, "Message   " + messageID + "\nSubject   Hello\nFrom      -\nList      -\nAccepted  2026-11-22 14:00:00\nState     paused\nCopies    1 sent, 1 failed\nWhy       by an operator\n\n" +
			"TO             STATE   OUTCOME  ATTEMPTS  UPSTREAM ID  LAST ERROR\na@example.net  sent    -        1         up-1         -\nb@example.net  failed  -        4         -            550 no such user\n", ""},
		{"queue list", 0, "ID                          ACCEPTED             LIST   FROM                  STATE    COPIES              SUBJECT          WHY\n" +
			messageID + "  2026-11-22 14:00:00  promo  marketer@example.com  sending  198 sent, 2 failed  겨울 {{Name}} [2J  -\n", ""},
		{"queue show " + strings.ToLower(messageID) + " --eml a+b@example.net", 0, "To: a+b@example.net\r\n\r\nhi\r\n", ""},
		{"queue show " + messageID + " --eml c@example.net", 1, "", "postern: no answer for GET /api/queue/" + messageID + "/eml?to=c%40example.net \n"},
		{"queue show 17", 1, "", "postern: \"17\" is not a message id: an id has 26 letters and digits, as `postern queue list` shows them\n"},
		{"queue pause " + messageID, 0, messageID + ": paused\n", ""},
		{"queue resume " + messageID, 0, messageID + ": sending\n", ""},
		{"queue cancel " + messageID, 1, "", "postern: the message is done, so nothing is left to cancel\n"},
		{"queue retry " + messageID, 0, messageID + ": 2 copies queued again\n", ""},
		{"queue retry " + messageID + " --to b@example.net", 0, messageID + ": 1 copy queued again\n", ""},
		{"queue retry " + messageID + " --to b", 1, "", "postern: \"b\" is not a mail address: it needs a name, an @ and a domain\n"},
		{"users list", 0, "EMAIL          SUBSCRIBED  ATTRIBUTES\na@example.net  true        CreateTime=17000000001234567890 Name=민수\nb@example.net  false       \n", ""},
		{"users list --json --limit 1", 0, `{"Email":"a@example.net","SubscriptionStatus":true}` + "\n", ""},
		{"users show a/x@example.net", 0, "Email               a/x@example.net\nSubscriptionStatus  true\nName                민수\nTags                [\"x\"]\n", ""},
		{"users set a@example.net|Name=민 수|Gender=|CreateTime=17000000001234567890|VIP=true|SubscriptionStatus=FALSE", 0, "a@example.net: changed\n", ""},
		{"users set a@example.net CreateTime=yesterday", 2, "", "postern: CreateTime: \"yesterday\" is not a number\n"},
		{"users set a@example.net SubscriptionStatus=maybe", 2, "", "postern: SubscriptionStatus is true or false, not \"maybe\"\n"},
		{"users set a@example.net Name", 2, "", "postern: \"Name\" is not FIELD=VALUE\n"},
		{"users set a@example.net Email=b@example.net", 2, "", "postern: Email is the key and does not change: import the user under the new address, and unsubscribe the old one\n"},
		{"users export", 0, "Email\r\na@example.net\r\n", ""},
		{"spool check", 0, "The spool is whole.\n", "checked 1 of 2\n"},
		{"spool compact", 1, "", "postern: the gateway runs: stop it first\n"},
		{"spool backup out.tar", 0, "out.tar: 7 bytes\n", ""},
		{"spool backup out.tar", 1, "", "postern: out.tar exists and is not overwritten: choose another file, or move it away\n"},
		{"spool backup -", 0, "tar tar", ""},
		{"admin login", 0, "http://127.0.0.1:8080/login?t=x\n", ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := strings.Split(c.args, " ")
			if strings.Contains(c.args, "|") {
				head, tail, _ := strings.Cut(c.args, "|")
				args = append(strings.Split(head, " "), strings.Split(tail, "|")...)
			}
			code, stdout, stderr := run(t, "", args...)
			if code != c.code || stdout != c.stdout || stderr != c.stderr {
				t.Errorf("exit code %d\nstdout: %s\nstderr: %s\nwant %d\nstdout: %s\nstderr: %s", code, stdout, stderr, c.code, c.stdout, c.stderr)
			}
		})
	}

	t.Run("JSON is what the gateway says", func(t *testing.T) {
		for args, want := range map[string]string{
			"queue list --json": queue, "queue show " + messageID + " --json": message,
			"users show a/x@example.net --json": `{"Email":"a/x@example.net","Name":"민수","Tags":["x"],"SubscriptionStatus":true}`,
		} {
			code, stdout, stderr := run(t, "", strings.Split(args, " ")...)
			var got, wanted bytes.Buffer
			if err := errors.Join(json.Compact(&got, []byte(stdout)), json.Compact(&wanted, []byte(want))); err != nil || code != 0 || got.String() != wanted.String() {
				t.Errorf("%s: %d %s %s %v", args, code, stdout, stderr, err)
			}
		}
	})

	t.Run("backup is private", func(t *testing.T) {
		if info, err := os.Stat("out.tar"); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	})
}

func TestImportOutput(t *testing.T) {
	csv := "Email,Name\na@example.net,A\nb,B\n"
	if err := os.WriteFile(filepath.Join(t.TempDir(), "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, answer   string
		code           int
		stdout, stderr string
	}{
		{"all rows", `{"rows":1,"stored":1,"bad":0}` + "\n" + `{"done":true,"rows":2,"stored":2,"bad":0,"errors":[]}`, 0,
			"2 users stored\n", "1 rows, 1 stored, 0 wrong\n2 rows, 2 stored, 0 wrong\n"},
		{"a bad row", `{"done":true,"rows":2,"stored":1,"bad":1,"errors":[{"row":3,"error":"\"b\" is not a mail address"}]}`, 1,
			"1 user stored\n", "2 rows, 1 stored, 1 wrong\nstdin: row 3: \"b\" is not a mail address\npostern: 1 of 2 rows were not stored: mend them and import the file again\n"},
		{"refused", `400|{"error":"the first row names no column Email"}`, 1, "", "postern: the first row names no column Email (after 0 rows of stdin; importing it again is safe)\n"},
		{"an error on the way", `{"rows":1,"stored":1,"bad":0}` + "\n" + `{"error":"the table is gone"}`, 1,
			"", "1 rows, 1 stored, 0 wrong\npostern: the table is gone (after 1 rows of stdin, which are stored; go on with `postern users import --resume -`, or import it again: both are safe)\n"},
		{"cut short", `{"rows":1,"stored":1,"bad":0}`, 1, "", "1 rows, 1 stored, 0 wrong\npostern: the import broke off (after 1 rows of stdin, which are stored; go on with `postern users import --resume -`, or import it again: both are safe)\n"},
		{"gateway dies", `{"rows":1,"stored":1,"bad":0}` + "\nBREAK", 1, "",
			"1 rows, 1 stored, 0 wrong\npostern: the gateway's answer broke off: unexpected EOF (after 1 rows of stdin, which are stored; go on with `postern users import --resume -`, or import it again: both are safe)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			serveControl(t, fakeGateway(t, map[string]string{"POST /api/users/import?name=stdin " + strings.TrimSpace(csv): c.answer}))
			code, stdout, stderr := run(t, csv, "users", "import", "-")
			if code != c.code || stdout != c.stdout || stderr != c.stderr {
				t.Errorf("exit code %d\nstdout: %s\nstderr: %s\nwant %d\nstdout: %s\nstderr: %s", code, stdout, stderr, c.code, c.stdout, c.stderr)
			}
		})
	}
}

// TestHalfAnAnswer: what breaks off is never taken for the whole.
func TestHalfAnAnswer(t *testing.T) {
	serveControl(t, fakeGateway(t, map[string]string{
		"GET /api/spool/backup":       "half a tBREAK",
		"GET /api/users/export":       "Email\r\naBREAK",
		"POST /api/spool/check":       `{"checked":1,"total":2}`,
		"GET /api/queue":              `[{"id":`,
		"GET /api/queue/" + messageID: `{"id":"` + messageID + `","recipients":[{"address":"a@example.net"}`,
	}))
	for args, want := range map[string]string{
		"spool backup out.tar":                "out.tar was not written, because it broke off: unexpected EOF",
		"spool backup -":                      "the backup broke off and is of no use: unexpected EOF",
		"users export":                        "the export broke off, so this is not all: unexpected EOF",
		"users export out.csv":                "out.csv was not written, because it broke off: unexpected EOF",
		"spool check":                         "the check broke off before its end",
		"queue list":                          "the gateway's answer broke off: unexpected EOF",
		"queue list --json":                   "the gateway's answer broke off: unexpected EOF",
		"queue show " + messageID:             "the gateway's answer broke off: unexpected EOF",
		"queue show " + messageID + " --json": "the gateway's answer broke off: unexpected EOF",
	} {
		code, _, stderr := run(t, "", strings.Split(args, " ")...)
		if code != 1 || !strings.HasSuffix(stderr, "postern: "+want+"\n") {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
	left, err := filepath.Glob("out*")
	if err != nil || len(left) > 0 {
		t.Errorf("files are left behind: %q %v", left, err)
	}
}

func TestSpoolCheckNamesProblems(t *testing.T) {
	serveControl(t, fakeGateway(t, map[string]string{"POST /api/spool/check": `{"done":true,"problems":["bodies/x is missing"]}`}))
	code, stdout, stderr := run(t, "", "spool", "check")
	if code != 1 || stdout != "bodies/x is missing\n" || !strings.Contains(stderr, "the spool has 1 problem: ") {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
}

type closed struct{ n atomic.Int32 }

func (c *closed) Close() error { c.n.Add(1); return nil }

// TestConnect: who answers, when a gateway runs, is dead, is just starting, or
// never was.
func TestConnect(t *testing.T) {
	answer := func(word string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%q", word) })
	}
	offline := func(files io.Closer) func() (http.Handler, io.Closer, error) {
		return func() (http.Handler, io.Closer, error) { return answer("offline"), files, nil }
	}
	ask := func(t *testing.T, c postern.Control) string {
		t.Helper()
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var word string
		for range 2 {
			if err := conn.Call(t.Context(), http.MethodGet, "/", nil, &word); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		return word
	}
	serve := func(t *testing.T, socket string) {
		t.Helper()
		l, err := admin.ListenControl(socket)
		if err != nil {
			t.Error(err)
			return
		}
		server := &http.Server{Handler: answer("gateway")}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { server.Close() })
	}

	t.Run("no gateway", func(t *testing.T) {
		files := &closed{}
		c := postern.Control{Socket: filepath.Join(t.TempDir(), "s"), Offline: offline(files), Patience: 1e12}
		if got := ask(t, c); got != "offline" || files.n.Load() != 1 {
			t.Errorf("%s answered, files closed %d times", got, files.n.Load())
		}
	})
	t.Run("a gateway", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "s")
		serve(t, socket)
		c := postern.Control{Socket: socket, Offline: func() (http.Handler, io.Closer, error) {
			t.Error("the files of a running gateway are opened")
			return nil, nil, errors.New("x")
		}, Patience: 1e12}
		if got := ask(t, c); got != "gateway" {
			t.Errorf("%s answered", got)
		}
	})
	t.Run("a stale socket", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
		if got := ask(t, postern.Control{Socket: socket, Offline: offline(&closed{}), Patience: 1e12}); got != "offline" {
			t.Errorf("%s answered", got)
		}
	})
	for _, locked := range []error{fmt.Errorf("x: %w", spool.ErrLocked), fmt.Errorf("x: %w", bolterrors.ErrTimeout)} {
		t.Run("a gateway that starts: "+locked.Error(), func(t *testing.T) {
			socket, tries := filepath.Join(t.TempDir(), "s"), 0
			c := postern.Control{Socket: socket, Patience: 1e12, Offline: func() (http.Handler, io.Closer, error) {
				if tries++; tries == 3 {
					serve(t, socket)
				}
				return nil, nil, locked
			}}
			if got := ask(t, c); got != "gateway" || tries != 3 {
				t.Errorf("%s answered after %d tries", got, tries)
			}
		})
	}
	t.Run("a process that never answers", func(t *testing.T) {
		c := postern.Control{DataDir: "data", Socket: filepath.Join(t.TempDir(), "s"), Patience: 1,
			Offline: func() (http.Handler, io.Closer, error) { return nil, nil, spool.ErrLocked }}
		_, err := c.Connect(t.Context())
		same(t, err, "another process has data and does not answer: a gateway that is starting or ending, or another command; try again in a moment")
	})
	t.Run("interrupted while it waits", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := postern.Control{Socket: filepath.Join(t.TempDir(), "s"), Patience: 1e12,
			Offline: func() (http.Handler, io.Closer, error) { cancel(); return nil, nil, spool.ErrLocked }}
		if _, err := c.Connect(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("files that cannot be opened", func(t *testing.T) {
		c := postern.Control{Socket: filepath.Join(t.TempDir(), "s"), Patience: 1e12,
			Offline: func() (http.Handler, io.Closer, error) { return nil, nil, errors.New("the disk is gone") }}
		_, err := c.Connect(t.Context())
		same(t, err, "the disk is gone")
	})
}
