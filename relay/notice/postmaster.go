package notice

import (
	"bytes"
	"io"
	"mime"
	"strings"

	"golang.org/x/text/encoding/htmlindex"

	"postern/mail"
)

// maxAttached bounds, in octets, how much of a stranger's mail is attached.
const maxAttached = 5 << 20

// Postmaster hands on what somebody without rights wrote to postmaster, which RFC
// 5321 §4.5.1 obliges us to take. from is the envelope sender, remote the address
// of the client; raw the mail.
//
// RFC 2046 §5.2.1 lets message/rfc822 be encoded as 7bit only where the way is
// 7-bit, so a mail that is not fit for that becomes a file, message.eml.
func Postmaster(l Letter, from mail.Address, remote string, raw []byte) []byte {
	whole := len(raw) <= maxAttached
	raw = raw[:min(len(raw), maxAttached)]
	subject := subjectOf(raw)
	attached := part{kind: "message/rfc822", body: raw}
	if !whole || !safe(raw) || !wholeMail(raw) {
		attached = part{kind: `application/octet-stream; name="message.eml"`, encoding: "base64", file: "message.eml", body: encode64(raw)}
	}
	w := l.page()
	w.say("Somebody has written to postmaster at this mail gateway. Their mail is attached.",
		"이 메일 게이트웨이의 postmaster 앞으로 온 메일을 첨부하여 전달해 드립니다.")
	sender := line(string(from), maxAddress)
	if sender == "" {
		sender = w.pick("none (an automatic message, such as a bounce)", "없음(반송 안내와 같은 자동 메일)")
	}
	w.row("Envelope sender", "보낸 주소(봉투)", sender)
	w.row("Client address", "접속 주소", line(remote, maxName))
	if subject != "" {
		w.row("Subject", "제목", subject)
	}
	w.row("Size", "크기", number(len(raw))+w.pick(" octets", "바이트"))
	w.WriteString("\n")
	if !whole {
		w.say("The mail is larger than that; the attachment is its beginning.", "메일이 이보다 커서 앞부분만 첨부했습니다.")
	}
	w.say("Mail servers must take such mail from everybody. Nobody has checked who wrote it: be careful with its links and attachments. To answer, open the attached mail and reply to that, not to this notice.",
		"postmaster 주소는 누구에게서나 메일을 받아야 합니다. 보낸 사람이 누구인지는 확인되지 않았으니 링크와 첨부 파일에 주의해 주십시오. 답장하시려면 이 안내가 아니라 첨부된 메일을 열어 회신해 주십시오.")
	w.WriteString("-- \n")
	w.sign()
	if subject == "" {
		subject = w.pick("(no subject)", "(제목 없음)")
	}
	return l.write(draft{kind: generated, subject: w.pick("Mail to postmaster: ", "postmaster 앞으로 온 메일: ") + line(subject, maxSubject),
		parts: []part{textPart(w.String()), attached}})
}

// wholeMail says whether raw is header fields, an empty line, and a body, so that
// readers find in it what we do.
func wholeMail(raw []byte) bool {
	head, _, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !ok || len(head) > maxHeader {
		return false
	}
	for i, row := range bytes.Split(head, []byte("\r\n")) {
		folded := len(row) > 0 && (row[0] == ' ' || row[0] == '\t')
		if folded && i > 0 && len(bytes.TrimSpace(row)) > 0 {
			continue
		}
		if name := fieldName(row); folded || name == "" || row[len(name)] != ':' {
			return false
		}
	}
	return true
}

// subjectOf is the decoded Subject of a mail; "" without one.
func subjectOf(raw []byte) string {
	for _, f := range fields(bounded(raw)) {
		if !strings.EqualFold(fieldName(f), "Subject") {
			continue
		}
		_, value, _ := bytes.Cut(f, []byte(":"))
		value = bytes.ReplaceAll(value[:min(len(value), maxHeader)], []byte("\r\n"), nil)
		d := mime.WordDecoder{CharsetReader: decode}
		s, err := d.DecodeHeader(string(value))
		if err != nil {
			s = string(value)
		}
		return line(s, maxName)
	}
	return ""
}

func decode(charset string, in io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(in), nil
}
