package main_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	postern "postern/cmd/postern"
)

// watched closes seen when word has been written.
type watched struct {
	bytes.Buffer
	word string
	once sync.Once
	seen chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.word) {
		w.once.Do(func() { close(w.seen) })
	}
	return w.Buffer.Write(p)
}

// TestLongAnswersArePrintedAsTheyCome: the gateway goes on only when the first
// rows have been printed, so a command that keeps the whole answer ends badly.
func TestLongAnswersArePrintedAsTheyCome(t *testing.T) {
	head := `{"id":"` + messageID + `","list":"promo","from":"","subject":"x","state":"done","reason":"","accepted_at":"2026-11-22T05:00:00Z","copies":{"sent":2000},"recipients":[`
	row := `{"address":"n%d@example.net","state":"sent","attempts":1,"last_error":"","upstream_id":"u","seq":%[1]d}`
	message := `{"id":"` + messageID + `","list":"n%d","from":"","subject":"x","state":"done","reason":"","accepted_at":"2026-11-22T05:00:00Z","copies":{"sent":1}}`
	for _, c := range []struct{ args, head, row, tail string }{
		{"queue show " + messageID, head, row, "]}"},
		{"queue show " + messageID + " --json", head, row, "]}"},
		{"queue list", "[", message, "]"},
		{"queue list --json", "[", message, "]"},
	} {
		t.Run(c.args, func(t *testing.T) {
			out := &watched{word: "n1", seen: make(chan struct{})}
			part := func(w io.Writer, from, to int) {
				for i := from; i <= to; i++ {
					if i > 1 {
						io.WriteString(w, ",")
					}
					fmt.Fprintf(w, c.row, i)
				}
				http.NewResponseController(w.(http.ResponseWriter)).Flush()
			}
			serveControl(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, c.head)
				part(w, 1, 1500)
				select {
				case <-out.seen:
				case <-r.Context().Done():
					return
				}
				part(w, 1501, 2000)
				io.WriteString(w, c.tail)
			}))
			var stderr bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if code := postern.Run(ctx, strings.Fields(c.args), strings.NewReader(""), out, &stderr); code != 0 {
				t.Errorf("exit code %d: %s", code, stderr.String())
			}
			if !strings.Contains(out.String(), "n2000") {
				t.Error("the last row is missing")
			}
		})
	}
}
