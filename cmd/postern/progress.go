package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progress shows how far something has come: one line that is rewritten on a
// terminal. Elsewhere it is a few plain lines: the first, the last, and between
// them one after a second, two more, four more, and so on.
type progress struct {
	w        io.Writer
	terminal bool
	last     string
	shown    bool // last is written
	next     time.Time
	wait     time.Duration
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd())), wait: time.Second}
}

// newPatientProgress says nothing of what is done within a second, but on a terminal.
func newPatientProgress(w io.Writer) *progress {
	p := newProgress(w)
	p.next = time.Now().Add(p.wait)
	return p
}

func (p *progress) show(format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	if line == p.last {
		return
	}
	p.last, p.shown = line, false
	now := time.Now()
	switch {
	case p.terminal:
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	case p.next.IsZero():
		p.next = now.Add(p.wait)
		p.plain()
	case !now.Before(p.next):
		p.wait *= 2
		p.next = now.Add(p.wait)
		p.plain()
	}
}

func (p *progress) plain() {
	fmt.Fprintln(p.w, p.last)
	p.shown = true
}

// clear makes room for a line of somebody else's, or ends without a trace.
func (p *progress) clear() {
	if p.terminal && p.last != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.last = ""
	}
}

// end leaves the cursor at the start of a line, and the last state shown.
func (p *progress) end() {
	switch {
	case p.last == "":
	case p.terminal:
		fmt.Fprintln(p.w)
	case !p.shown:
		p.plain()
	}
}
