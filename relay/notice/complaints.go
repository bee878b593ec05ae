package notice

import (
	"fmt"
	"strings"
	"time"

	"postern/mail"
)

// Complaint is a recipient who reported a mail as spam.
type Complaint struct {
	To    mail.Address
	At    time.Time
	Words string // of whom it was reported to
}

// Complaints are those about one mail that the owner of its list is not yet told of.
type Complaints struct {
	About
	Sent  int // copies that upstream has taken
	Total int // that have ever been reported
	New   int // of these that are told now; more than All where that was capped
	All   []Complaint
}

// maxComplaints bounds how many recipients are named in all.
const maxComplaints = 100

// Complained tells the owner of a list who reported its mail as spam, and what there
// is to look at. list is the list's name and address; about the mails, one at least.
func Complained(l Letter, list string, about []Complaints) []byte {
	w := l.page()
	n := 0
	for _, c := range about {
		n += max(c.New, len(c.All))
	}
	list = line(list, maxName)
	if n == 1 {
		w.say("One recipient has reported a mail of your list as spam.", "수신자 1명이 메일링 리스트의 메일을 스팸으로 신고했습니다.")
	} else {
		w.say("%s recipients have reported mail of your list as spam.", "수신자 %s명이 메일링 리스트의 메일을 스팸으로 신고했습니다.", number(n))
	}
	w.row("List", "메일링 리스트", list)
	w.WriteString("\n")
	w.say("Whoever reports a mail is taken off all lists and gets nothing more from here. You need not do anything about these people. Please do not write to them either, not even to apologise.",
		"스팸으로 신고한 분은 모든 메일링 리스트에서 제외되어 앞으로 메일을 받지 않습니다. 이분들에 대해 따로 하실 일은 없습니다. 사과의 뜻이라도 메일을 다시 보내지 마십시오.")
	named := 0
	for i := range about {
		c := &about[i]
		some := c.All[:min(len(c.All), maxComplaints-named)]
		named += len(some)
		w.complaints(c, some)
	}
	w.say("When is it too many? Amazon SES reviews an account at 0.1 %% (1 report in 1,000 mails) and stops it at 0.5 %%. Gmail and Yahoo ask for less than 0.3 %%, better 0.1 %%. Gmail does not say who reported a mail, so there may be more than are counted here.",
		"어느 정도면 많은 것일까요? Amazon SES는 0.1%%(메일 1,000통에 신고 1건)에서 계정을 검토하고 0.5%%에서 발송을 정지합니다. Gmail과 Yahoo는 0.3%% 미만, 되도록 0.1%% 미만을 요구합니다. Gmail은 누가 신고했는지 알려 주지 않으므로 실제 신고는 여기 적힌 것보다 많을 수 있습니다.")
	w.say("If it is too many, ask yourself:", "신고가 많다면 다음을 점검해 주십시오.")
	w.steps(
		w.pick("Has everybody on the list agreed to get this mail? Addresses that were bought, collected or handed on bring most reports.",
			"모든 수신자가 수신에 동의했습니까? 신고는 구입하거나 수집한 주소, 다른 곳에서 넘겨받은 주소에서 가장 많이 나옵니다."),
		w.pick("Does the mail show at first sight who sends it and why they get it?", "누가 왜 보낸 메일인지 한눈에 알 수 있습니까?"),
		w.pick("Is the unsubscribe link easy to find? Whoever does not find it reports the mail.", "수신 거부 링크를 쉽게 찾을 수 있습니까? 찾지 못한 분은 스팸으로 신고합니다."),
		w.pick("Do you write more often, or about other things, than they agreed to?", "동의받은 것보다 자주 보내거나, 다른 내용을 보내고 있지는 않습니까?"))
	w.WriteString("-- \n")
	w.sign()
	title := w.pick("Reported as spam by one recipient: ", "스팸 신고 1건: ")
	if n != 1 {
		title = fmt.Sprintf(w.pick("Reported as spam by %s recipients: ", "스팸 신고 %s건: "), number(n))
	}
	name, _, _ := strings.Cut(list, " <")
	if name == "" {
		name = w.pick("(no name)", "(이름 없음)")
	}
	return l.write(draft{kind: generated, subject: title + line(name, maxSubject), parts: []part{textPart(w.String())}})
}

// complaints shows a mail, how many reported it, and the ones to be named.
func (p *page) complaints(c *Complaints, named []Complaint) {
	p.which(c.About)
	p.figure("Sent to", "발송됨", c.Sent)
	p.share("Reported as spam so far", "지금까지 스팸으로 신고", c.Total, c.Sent)
	p.WriteString("\n")
	for _, r := range named {
		row := p.address(r.To)
		if at := p.show(r.At, p.tongue); at != "" {
			row += ", " + at
		}
		if words := line(r.Words, maxName); words != "" {
			row += ", “" + words + "”"
		}
		p.WriteString("        " + row + "\n")
	}
	if more := max(c.New, len(c.All)) - len(named); more > 0 {
		fmt.Fprintf(&p.Builder, p.pick("        and %s more: `postern queue show %s --outcome complained` lists all\n", "        그 밖에 %s명: 전체 목록은 `postern queue show %s --outcome complained`로 볼 수 있습니다\n"), number(more), id(c.ID))
	}
	p.WriteString("\n")
}
