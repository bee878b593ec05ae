package notice

import (
	"fmt"
	"time"

	"postern/mail"
)

// Pause is a mail that the gateway itself has paused.
type Pause struct {
	About
	Kind     mail.StopKind
	Words    string // why, as upstream or Postern said
	At       time.Time
	Until    time.Time // it goes on by itself then; zero: somebody has to resume it
	Counts   mail.Counts
	Outcomes mail.Outcomes
	Growing  bool // its recipients are not all known yet
}

// Paused tells the sender, the owner of the list and the operator why a mail has been
// paused, how to judge that, and with which commands it goes on. others are paused
// too and get no notice of their own.
func Paused(l Letter, p Pause, others []About) []byte {
	w := &pauseWriter{page: l.page(), Pause: p, id: id(p.ID)}
	w.say("%s %s", "%s %s", w.lead(), w.pick("Nothing is lost: what has not been sent is kept.", "아직 보내지 않은 메일은 없어지지 않고 그대로 보관됩니다."))
	w.which(p.About)
	w.row("Paused", "중지 시각", w.show(p.At, w.tongue))
	w.WriteString("\n")
	w.numbers()
	w.goesOn()
	w.why()
	w.advice()
	w.others(others)
	if words := line(p.Words, maxWords); words != "" {
		w.say("The reason, as it was noted: “%s”", "기록된 이유: “%s”", words)
	}
	w.foot(p.ID)
	return l.answer(p.About, w.pick("Sending paused: ", "메일 발송 일시 중지: ")+w.subject(p.Subject, maxSubject), w.String())
}

// answer writes a notice about a mail that is text alone: to its sender an answer.
func (l Letter) answer(a About, subject, text string) []byte {
	d := draft{kind: generated, subject: subject, parts: []part{textPart(text)}}
	if a.From != "" && a.From == l.To {
		d.kind, d.answers = replied, messageID(a.Header)
	}
	return l.write(d)
}

// which shows the mail to people of whom not all have sent it.
func (p *page) which(a About) {
	p.row("Subject", "제목", p.subject(a.Subject, maxName))
	p.row("Sent by", "보낸 사람", line(string(a.From), maxAddress))
	p.row("Accepted", "접수 시각", p.show(a.AcceptedAt, p.tongue))
	p.row("List", "메일링 리스트", line(a.List, maxName))
}

// figure is a row with a number of recipients.
func (p *page) figure(en, ko string, n int) {
	p.row(en, ko, number(n)+p.pick("", "명"))
}

// share is a figure with its part of all.
func (p *page) share(en, ko string, n, of int) {
	part := ""
	if n > 0 && of > 0 {
		part = fmt.Sprintf(p.pick(" (%.2f %%)", " (%.2f%%)"), 100*float64(n)/float64(of))
	}
	p.row(en, ko, number(n)+p.pick("", "명")+part)
}

// steps writes what to do, one after the other. Empty ones are left out.
func (p *page) steps(all ...string) {
	n := 0
	for _, s := range all {
		if s == "" {
			continue
		}
		n++
		fmt.Fprintf(&p.Builder, "    %d. %s\n", n, s)
	}
	p.WriteString("\n")
}

// maxOthers bounds how many further mails are named.
const maxOthers = 10

// others names the first of further mails that the same thing befell.
func (p *page) others(all []About) {
	switch len(all) {
	case 0:
		return
	case 1:
		p.say("The same goes for one more mail. It gets no notice of its own:", "다음 메일 1통도 같은 상태입니다. 이 메일은 따로 알려 드리지 않습니다.")
	default:
		p.say("The same goes for %s more mails. They get no notices of their own:", "다음 메일 %s통도 같은 상태입니다. 이 메일들은 따로 알려 드리지 않습니다.", number(len(all)))
	}
	for _, a := range all[:min(len(all), maxOthers)] {
		fmt.Fprintf(&p.Builder, "    %s  %s\n", id(a.ID), p.subject(a.Subject, maxSubject))
	}
	if more := len(all) - maxOthers; more > 0 {
		fmt.Fprintf(&p.Builder, p.pick("    and %s more: `postern queue list` shows them all\n", "    그 밖에 %s통: 전체 목록은 `postern queue list`로 볼 수 있습니다\n"), number(more))
	}
	p.WriteString("\n")
}

// pauseWriter writes the text of a pause.
type pauseWriter struct {
	page
	Pause
	id string
}

// numbers says how far the mail has come.
func (w *pauseWriter) numbers() {
	if w.Growing {
		w.figure("Recipients so far", "지금까지 확인된 수신자", w.Counts.Total())
	} else {
		w.figure("Recipients", "전체 수신자", w.Counts.Total())
	}
	w.figure("Sent", "발송됨", w.Counts[mail.Sent])
	w.figure("Waiting", "대기 중", w.Counts.Open())
	tried := w.Counts[mail.Sent] + w.Counts[mail.CopyFailed]
	if n := w.Counts[mail.CopyFailed]; n != 0 {
		w.figure("Failed", "발송 실패", n)
	}
	if n := w.Outcomes[mail.Bounced]; n != 0 || w.Kind == mail.StopBounces {
		w.share("Came back as undeliverable", "반송됨", n, tried)
	}
	if n := w.Outcomes[mail.Complained]; n != 0 || w.Kind == mail.StopBounces {
		w.share("Reported as spam", "스팸으로 신고", n, tried)
	}
	w.WriteString("\n")
}
