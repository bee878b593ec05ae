package expand_test

import (
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"

	"postern/expand"
	"postern/mail"
)

// outlookHeader has what clients write and what must not go on.
const outlookHeader = `Received: from pc (pc.local [10.0.0.7]) by mail.example.com with ESMTPSA; now
Return-Path: <marketer@example.com>
DKIM-Signature: v=1; a=rsa-sha256; d=example.com; b=xx
ARC-Seal: i=1; a=rsa-sha256
Authentication-Results: mx; spf=pass
From: "'Kim'" <marketer@example.com>
Reply-To: "Shop" <answers@example.com>
To: <promo@lists.example.com>, boss@example.com
Cc: secret.cc@example.com
Bcc: secret.bcc@example.com
Subject: first
Subject: second
Date: Fri, 20 Nov 2026 10:12:31 +0900
Message-ID: <original@example.com>
MIME-Version: 1.0
Content-Type: text/plain;
	charset="utf-8"
X-Mailer: Microsoft Outlook 16.0
X-MS-Has-Attach:
Thread-Index: AQJ0
Thread-Topic: x
X-Originating-IP: [203.0.113.9]
Disposition-Notification-To: marketer@example.com
Return-Receipt-To: marketer@example.com
Deferred-Delivery: Fri, 20 Nov 2026 12:00:00 +0900
X-Priority: 1
Feedback-ID: 1:2:3
X-SES-CONFIGURATION-SET: theirs
List-Id: <theirs.elsewhere.example>
List-Unsubscribe: <https://evil.example/>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
List-Help: <https://evil.example/help>
X-Auto-Response-Suppress: DR
References: <a@b>

hello
`

func headerOf(t *testing.T, raw string) string {
	t.Helper()
	return string(compileRender(t, raw, "Min").Header)
}

func compileRender(t *testing.T, raw, name string) mail.Content {
	t.Helper()
	c := compile(t, raw)
	return c.Render(copyTo(c, "min@example.net", map[string]string{"Name": name}), "TOKEN_7")
}

// names of a header's fields, lower case, in order.
func fieldNames(header string) []string {
	var names []string
	for line := range strings.SplitSeq(header, "\r\n") {
		if name, _, ok := strings.Cut(line, ":"); ok && line[0] != ' ' && line[0] != '\t' {
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}

func TestRule01ListUnsubscribeOnce(t *testing.T) {
	h := headerOf(t, outlookHeader)
	wantIn(t, "header", h, "List-Unsubscribe: <"+theLink+">,\r\n <mailto:unsubscribe@lists.example.com?subject=TOKEN_7>\r\n",
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", "List-Id: Promotions <promo.lists.example.com>\r\n")
	for _, name := range []string{"list-unsubscribe", "list-unsubscribe-post", "list-id"} {
		if n := strings.Count(strings.Join(fieldNames(h), "\n")+"\n", name+"\n"); n != 1 {
			t.Errorf("%s stands %d times", name, n)
		}
	}
}

func TestRule16ClientsListFieldsNeverReachACopy(t *testing.T) {
	wantNone(t, "header", headerOf(t, outlookHeader), "evil.example", "elsewhere.example", "List-Help")
}

func TestRule30EachCopyNamesItsOneRecipient(t *testing.T) {
	c := compile(t, outlookHeader)
	seen := map[string]bool{}
	for i := range 200 {
		to := mail.Address(fmt.Sprintf("user%d@example.net", i))
		r := receive(t, c.Render(&mail.Copy{Message: messageID, Seq: uint32(i), To: to, Values: []string{"민"}}, "T").Bytes())
		list, err := r.header.Text("To")
		if err != nil {
			t.Fatal(err)
		}
		box, err := netmail.ParseAddress(list)
		if err != nil || box.Address != string(to) || box.Name != "민" || r.header.FieldsByKey("To").Len() != 1 {
			t.Fatalf("To is %q: %v", list, err)
		}
		seen[box.Address] = true
	}
	if len(seen) != 200 {
		t.Errorf("%d recipients", len(seen))
	}
}

func TestRule31CcAndBccAreNotRevealed(t *testing.T) {
	raw := compileRender(t, outlookHeader, "Min").Bytes()
	wantNone(t, "copy", string(raw), "secret", "boss@", "Cc:", "promo@lists.example.com")
}

func TestRule32FieldsStandOnce(t *testing.T) {
	names := fieldNames(headerOf(t, outlookHeader))
	for _, n := range names {
		if strings.Count("\n"+strings.Join(names, "\n")+"\n", "\n"+n+"\n") != 1 {
			t.Errorf("%s stands more than once", n)
		}
	}
	for _, n := range []string{"from", "to", "subject", "date", "message-id"} {
		if !slices.Contains(names, n) {
			t.Errorf("%s is missing", n)
		}
	}
	if s := compile(t, outlookHeader).Subject(); s != "first" {
		t.Errorf("Subject is %q", s)
	}
}

func TestRule33DroppedAndKept(t *testing.T) {
	got := fieldNames(headerOf(t, outlookHeader))
	slices.Sort(got)
	want(t, "fields", strings.Join(got, " "), "content-transfer-encoding content-type date from list-id list-unsubscribe list-unsubscribe-post "+
		"message-id mime-version reply-to subject to x-auto-response-suppress x-postern-copy")
	wantIn(t, "header", headerOf(t, outlookHeader), "From: 'Kim' <marketer@example.com>\r\n", "Reply-To: \"Shop\" <answers@example.com>\r\n",
		"Date: Sun, 22 Nov 2026 09:30:00 +0900\r\n", "Message-ID: <01JZ5V7Q8R9S0T1V2W3X4Y5Z6A-7@mail.example.com>\r\n",
		"X-Auto-Response-Suppress: OOF, AutoReply, DR, RN, NRN\r\n", "X-Postern-Copy: 01JZ5V7Q8R9S0T1V2W3X4Y5Z6A-7\r\n")
}

func TestRule34AHardNameIsOneAddress(t *testing.T) {
	for _, name := range []string{`Kim, "Min" 민`, `Kim, "Min"`, `a@b.example`, `<script>`, `back\slash`, `(comment)`, `김민지 <x@evil.example>`, "=?utf-8?q?x?=",
		strings.Repeat("길고 긴 이름 ", 30), strings.Repeat("long ", 60), strings.Repeat("x", 500), "O'Brien & Söhne; GmbH:"} {
		r := receive(t, compileRender(t, outlookHeader, name).Bytes())
		p := netmail.AddressParser{}
		boxes, err := p.ParseList(r.header.Get("To"))
		if err != nil || len(boxes) != 1 || boxes[0].Address != "min@example.net" || boxes[0].Name != strings.TrimSpace(name) {
			t.Errorf("%q came as %v: %v", name, boxes, err)
		}
		checkWire(t, r.raw)
	}
	wantIn(t, "no name", string(compileRender(t, outlookHeader, " ").Header), "To: min@example.net\r\n")
}

func TestRule35AValueMakesNoHeaderField(t *testing.T) {
	raw := "From: shop@example.com\nSubject: hello {{Name}}\n\nx\n"
	for _, name := range []string{"a\r\nBcc: evil@example.com", "a\nBcc: evil@example.com", "a\rBcc: evil@example.com", "민\r\nBcc: evil@example.com",
		"a\u2028Bcc: evil@example.com", "\u202eBcc: evil@example.com", "a\x00b", "a\x7fb\x1b[31m", "\xff\xfe", "a\u0085Bcc: x"} {
		r := receive(t, compileRender(t, raw, name).Bytes())
		checkWire(t, r.raw)
		for f := r.header.Fields(); f.Next(); {
			if f.Key() == "Bcc" {
				t.Errorf("%q made a Bcc", name)
			}
		}
		if strings.ContainsAny(r.subject(t), "\r\n\x00\x1b\u202e\u2028") {
			t.Errorf("Subject is %q", r.subject(t))
		}
	}
	c := compile(t, raw)
	h := string(c.Render(copyTo(c, "a@b.example>\r\nBcc: <evil@example.com", nil), "T").Header)
	wantNone(t, "an address that should not be there", h, "\r\nBcc")
}

func TestRule36ALongKoreanSubject(t *testing.T) {
	title := strings.Repeat("겨울 코트를 한발 먼저 👨‍👩‍👧 만나 보세요 ", 12)
	r := receive(t, compileRender(t, "From: shop@example.com\nSubject: "+title+"{{Name}}\n\nx\n", "민").Bytes())
	want(t, "Subject", r.subject(t), title+"민")
	_, field, _ := strings.Cut(string(r.raw), "\r\nSubject: ")
	field, _, _ = strings.Cut(field, "\r\nMessage-ID")
	for i, line := range strings.Split(field, "\r\n") {
		if word := strings.TrimSpace(line); len(word) > 75 || !strings.HasPrefix(word, "=?utf-8?B?") {
			t.Errorf("encoded-word of %d octets: %s", len(word), word)
		} else if s := receive(t, []byte("Subject: "+word+"\r\n\r\n")).subject(t); strings.ContainsRune(s, '\ufffd') {
			t.Errorf("a character is split: %q", s)
		}
		if len(line) > 76 || i == 0 && len("Subject: ")+len(line) > 76 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

func TestRule37CopiesDiffer(t *testing.T) {
	c := compile(t, outlookHeader)
	ids := map[string]bool{}
	for i := range 50 {
		cp := &mail.Copy{Message: messageID, Seq: uint32(i), To: "a@b.example"}
		h := string(c.Render(cp, fmt.Sprint("T", i)).Header)
		for _, name := range []string{"Message-ID: ", "X-Postern-Copy: ", "List-Unsubscribe: "} {
			_, v, _ := strings.Cut(h, name)
			v, _, _ = strings.Cut(v, "\r\n")
			if ids[name+v] {
				t.Errorf("%s%s came twice", name, v)
			}
			ids[name+v] = true
		}
		if again := string(c.Render(cp, fmt.Sprint("T", i)).Header); again != h {
			t.Error("the same copy has another header in the next attempt")
		}
	}
}

func TestRule38HeadersAre7BitAndShort(t *testing.T) {
	in := input(t, "From: \xb1\xe8\xb9\xce\xc1\xf6 <shop@example.com>\nReply-To: 답장 <r@example.com>\nSubject: "+strings.Repeat("긴제목", 400)+"{{Name}}\n"+
		"Content-Description: "+strings.Repeat("설명", 300)+"\nContent-Type: application/pdf; name=\"가격표.pdf\"\nContent-Disposition: attachment; filename=\"가격표.pdf\"\n\n"+strings.Repeat("x", 3000)+"\n")
	in.List.Name = "겨울 소식"
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, c.Render(copyTo(c, "min@example.net", map[string]string{"Name": strings.Repeat("y", 2000)}), strings.Repeat("T", 300)).Bytes())
	checkWire(t, r.raw)
	from, _ := r.header.Text("From")
	want(t, "From", from, "김민지 <shop@example.com>")
	_, params, _ := r.header.ContentDisposition()
	want(t, "file name", params["filename"], "가격표.pdf")
	want(t, "file", r.files["attachment"], strings.Repeat("x", 3000)+"\r\n")
}

func TestFromCanBeRewritten(t *testing.T) {
	in := input(t, "From: =?euc-kr?B?seg=?= <device@printer.local>\nSubject: s\n\nx\n")
	in.RewriteFrom = "devices@example.com"
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, c.Render(copyTo(c, "a@b.example", nil), "T").Bytes())
	from, _ := r.header.Text("From")
	reply, _ := r.header.Text("Reply-To")
	want(t, "From", from, "김 <devices@example.com>")
	want(t, "Reply-To", reply, "김 <device@printer.local>")
	want(t, "HeaderFrom", string(c.HeaderFrom()), "devices@example.com")
}

func TestADomainBeyondASCIIIsSentAsALabel(t *testing.T) {
	h := headerOf(t, "From: shop@한국.example\nSubject: s\n\nx\n")
	wantIn(t, "From", h, "From: shop@xn--3e0b707e.example\r\n")
	wantIn(t, "a local part beyond ASCII", refused(t, "From: 가게@example.com\nSubject: s\n\nx\n"), "553 5.6.7")
}
