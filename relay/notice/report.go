package notice

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/mail"
)

// The bounds of what a notice names.
const (
	maxRecipients = 1000
	maxSubject    = 100 // characters in the notice's own Subject
	maxName       = 400 // characters of a subject or a list's name in the text
	maxAddress    = 320 // characters of an address
	maxQuoted     = 3   // different answers that a long group quotes
)

// told is a recipient whose words have been understood.
type told struct {
	Recipient
	saying
}

// Failed tells the sender whom a mail did not reach. all are those who have not
// been told of yet; where they are fewer than total.Failed the notice says so.
func Failed(l Letter, a About, all []Recipient, total Totals) []byte {
	return report(l, a, all, total, failed, 0)
}

// Delayed tells the sender who still waits for a mail, and that there is nothing
// to do. others is how many more mails of the same sender wait as well.
func Delayed(l Letter, a About, all []Recipient, total Totals, others int) []byte {
	return report(l, a, all, total, delayed, others)
}

func report(l Letter, a About, all []Recipient, total Totals, act action, others int) []byte {
	named := make([]told, 0, min(len(all), maxRecipients))
	for _, r := range all[:min(len(all), maxRecipients)] {
		named = append(named, told{r, understand(r.Words, r.To, r.Attempts)})
	}
	w := &writer{page: l.page(), about: a, all: named, total: total.plausible(len(all), act), act: act, others: others}
	d := draft{kind: replied, report: true, subject: w.title(), answers: messageID(a.Header)}
	d.parts = []part{textPart(w.text()), statusPart(l, a, act, named)}
	if p, ok := originalPart(a.Header); ok {
		d.parts = append(d.parts, p)
	}
	return l.write(d)
}

// plausible mends totals that cannot be, so that no sentence contradicts the list
// below it.
func (t Totals) plausible(named int, act action) Totals {
	t.Reached = max(t.Reached, 0)
	if act == failed {
		t.Failed, t.Waiting = max(t.Failed, named), max(t.Waiting, 0)
	} else {
		t.Failed, t.Waiting = max(t.Failed, 0), max(t.Waiting, named)
	}
	t.Recipients = max(t.Recipients, t.Failed+t.Reached+t.Waiting)
	return t
}

// writer writes the text of a report.
type writer struct {
	page
	about  About
	all    []told
	total  Totals
	act    action
	others int
}

// text is what people read: what happened, to which mail, why and what to do.
func (w *writer) text() string {
	w.lead()
	w.which()
	w.rest()
	groups := grouped(w.all)
	w.glance(groups)
	for i, g := range groups {
		number := ""
		if len(groups) > 1 {
			number = fmt.Sprintf("%d. ", i+1)
		}
		w.group(number, g)
	}
	w.foot(w.about.ID)
	return w.String()
}

// which shows the mail that the notice is about.
func (w *writer) which() {
	w.row("Subject", "제목", w.subject(w.about.Subject, maxName))
	w.row("Sent by you", "접수 시각", w.show(w.about.AcceptedAt, w.tongue))
	w.row("List", "메일링 리스트", line(w.about.List, maxName))
	w.WriteString("\n")
}

// glance counts the causes, where what follows is longer than a page.
func (w *writer) glance(groups [][]told) {
	if len(groups) < 2 || len(w.all) < 10 {
		return
	}
	w.say("The reasons, and for how many recipients:", "이유별 수신자 수:")
	for i, g := range groups {
		fmt.Fprintf(&w.Builder, "    %d. %s (%s)\n", i+1, explain(w.tongue, g[0].cause).What, w.count(len(g)))
	}
	w.WriteString("\n")
}

// grouped puts recipients with the same cause together, the largest group first.
func grouped(all []told) [][]told {
	var by [numCauses][]told
	for _, r := range all {
		by[r.cause] = append(by[r.cause], r)
	}
	groups := slices.DeleteFunc(append(by[1:], by[unknown]), func(g []told) bool { return len(g) == 0 })
	slices.SortStableFunc(groups, func(a, b []told) int { return len(b) - len(a) })
	return groups
}

// group writes what befell some recipients. Few are shown each with their answer;
// of many, which all say the same but for the address, some answers are quoted.
func (w *writer) group(number string, g []told) {
	what := explain(w.tongue, g[0].cause)
	heading := number + what.What
	if len(w.all) > 1 {
		heading += " (" + w.count(len(g)) + ")"
	}
	w.WriteString(heading + "\n\n")
	w.WriteString(what.Why + "\n\n")
	if w.act == failed {
		if g[0].cause != expired && !slices.ContainsFunc(g, func(r told) bool { return !r.transient() || r.Attempts < 2 }) {
			w.say("It was tried again several times, without success.", "여러 번 다시 시도했지만 보내지 못했습니다.")
		}
		w.say("What you can do: %s", "해결 방법: %s", what.Do)
	}
	few := len(g) <= maxQuoted
	if !few {
		w.examples(g)
		w.say("The addresses:", "해당 주소:")
	}
	for _, r := range g {
		fmt.Fprintf(&w.Builder, "    %s\n", w.address(r.To))
		if few {
			w.details(r)
		}
	}
	w.WriteString("\n")
}

// details are one recipient's answer and attempts, below the address.
func (w *writer) details(r told) {
	if r.words != "" {
		fmt.Fprintf(&w.Builder, "        %s\n", w.quoted(r))
	}
	at := w.show(r.At, w.tongue)
	switch {
	case at != "" && r.Attempts > 1:
		fmt.Fprintf(&w.Builder, w.pick("        Tried %d times, last on %s\n", "        %d번 시도, 마지막 시도: %s\n"), r.Attempts, at)
	case at != "":
		fmt.Fprintf(&w.Builder, w.pick("        Tried on %s\n", "        시도한 시각: %s\n"), at)
	}
}

// quoted tells a server's words from ours.
func (w *writer) quoted(r told) string {
	if r.code == 0 && r.enhanced == "" || r.cause == nonASCII {
		return fmt.Sprintf(w.pick("Reported: “%s”", "기록된 내용: “%s”"), r.words)
	}
	return fmt.Sprintf(w.pick("The server's answer: “%s”", "서버의 응답: “%s”"), r.words)
}

// examples quotes the first of those answers of a group that differ.
func (w *writer) examples(g []told) {
	seen := map[string]bool{"": true}
	var lines []string
	for _, r := range g {
		key := r.words
		if r.To != "" && len(r.To) <= maxAddress {
			key = strings.ReplaceAll(key, string(r.To), "")
		}
		if !seen[key] && len(lines) < maxQuoted {
			lines = append(lines, fmt.Sprintf("    %s\n        %s\n", w.address(r.To), w.quoted(r)))
		}
		seen[key] = true
	}
	if len(lines) == 0 {
		return
	}
	w.say("For example:", "응답의 예:")
	w.WriteString(strings.Join(lines, "") + "\n")
}

// lastUntil is the latest time until which anybody is tried; zero when it is not
// known of all.
func lastUntil(all []told) (last time.Time) {
	for _, r := range all {
		if r.Until.IsZero() {
			return time.Time{}
		}
		if r.Until.After(last) {
			last = r.Until
		}
	}
	return last
}

// only is the one address that the mail went to; "" for more.
func (w *writer) only() string {
	if len(w.all) != 1 || w.total.Recipients != 1 {
		return ""
	}
	return w.address(w.all[0].To)
}

// id is a mail's, as administrators ask for it.
func id(of mail.ID) string { return token(string(of), "?") }
