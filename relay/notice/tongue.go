package notice

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/mail"
)

// tongue is the language of a notice.
type tongue bool

const korean tongue = true

func (l Letter) tongue() tongue { return l.Language == "ko" }

func (t tongue) pick(en, ko string) string {
	if t == korean {
		return ko
	}
	return en
}

// count is "1 recipient", "2 recipients", "2명".
func (t tongue) count(n int) string {
	switch {
	case t == korean:
		return number(n) + "명"
	case n == 1:
		return "1 recipient"
	}
	return number(n) + " recipients"
}

// number is "12,000", as both languages write it.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clock shows all times of a notice in one zone: that of the letter's date, with
// the offset that it has then.
type clock struct{ zone *time.Location }

// dateFormat is RFC 5322 §3.3.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 -0700"

func (l Letter) clock() clock {
	_, offset := l.Date.Zone()
	return clock{time.FixedZone("", offset-offset%60)}
}

// stamp is t for programs. No program reads a year beyond four digits.
func (c clock) stamp(t time.Time) string {
	if t = t.In(c.zone); t.Year() < 0 || t.Year() > 9999 {
		t = time.Unix(0, 0).In(c.zone)
	}
	return t.Format(dateFormat)
}

// show is t for people; "" for the zero time.
func (c clock) show(t time.Time, in tongue) string {
	if t.IsZero() {
		return ""
	}
	return t.In(c.zone).Format(in.pick("2 January 2006, 15:04", "2006년 1월 2일 15:04"))
}

// note says in which zone the times are.
func (c clock) note(in tongue) string {
	name := time.Unix(0, 0).In(c.zone).Format("-07:00")
	if in == korean && name == "+09:00" {
		return "시각은 모두 한국 시각입니다."
	}
	return fmt.Sprintf(in.pick("All times are UTC%s.", "시각은 모두 UTC%s 기준입니다."), name)
}

// page is a text for people under way.
type page struct {
	tongue
	clock
	host string
	strings.Builder
}

func (l Letter) page() page {
	return page{tongue: l.tongue(), clock: l.clock(), host: hostname(l.Hostname)}
}

// say writes a paragraph.
func (p *page) say(en, ko string, a ...any) {
	fmt.Fprintf(&p.Builder, p.pick(en, ko), a...)
	p.WriteString("\n\n")
}

// row writes a named value; none that is empty.
func (p *page) row(en, ko, value string) {
	if value != "" {
		fmt.Fprintf(&p.Builder, "    %s: %s\n", p.pick(en, ko), value)
	}
}

// subject is a mail's, at most n characters of it.
func (p *page) subject(s string, n int) string {
	if s = line(s, n); s != "" {
		return s
	}
	return p.pick("(no subject)", "(제목 없음)")
}

func (p *page) address(a mail.Address) string {
	if s := line(string(a), maxAddress); s != "" {
		return s
	}
	return p.pick("(no address)", "(주소 없음)")
}

// foot says where there is help, which mail it is about, and who writes.
func (p *page) foot(of mail.ID) {
	p.say("If you need help, forward this notice to your mail administrator.", "도움이 필요하시면 이 메일을 메일 관리자에게 전달해 주십시오.")
	p.WriteString("-- \n") // some mail programs hide what follows
	p.WriteString(p.pick("The id of the mail, for your administrator: ", "관리자용 메일 번호: ") + id(of) + "\n")
	p.sign()
}

// sign ends the text with who wrote it.
func (p *page) sign() {
	p.WriteString(p.pick("Written automatically by the mail gateway ", "자동으로 보내 드리는 안내입니다. 메일 게이트웨이: ") + p.host + "\n")
	p.WriteString(p.note(p.tongue) + "\n")
}
