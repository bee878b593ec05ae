package expand

// warningCodes are all codes, in the order in which they are said.
func warningCodes() []string {
	return []string{
		"no-fallback", "quoted-fallback", "single-marks", "not-filled", "stray-braces",
		"no-subject", "long-subject", "capitals-in-subject", "exclamation-marks", "reply-subject",
		"empty-link", "no-scheme", "file-link", "private-link", "rewritten-link", "shortener", "mismatched-link",
		"missing-picture", "file-picture", "http-picture", "data-picture", "no-alt",
		"large-picture", "clipped-by-gmail", "large-copy", "attachment",
		"quoted-mail", "tracked-changes", "word-comments", "text-differs", "no-text", "text-made", "footer-added",
	}
}

// isNote: nothing is wrong with the mail.
func isNote(code string) bool {
	return code == "footer-added" || code == "attachment" || code == "text-made"
}

// warningText is the sentence of a code in the list's language. A %s in it is what it is about.
func (r *reviewer) warningText(code string) string {
	switch code {
	case "no-fallback":
		if r.in.List.Missing == "skip" {
			return r.words("Who has no value for %s gets no copy. Write a fallback, such as {{Name|friend}}, if they should.",
				"%s 값이 없는 분께는 메일이 나가지 않습니다. 그분들께도 보내려면 {{Name|고객}}처럼 대신 들어갈 말을 적어 주세요.")
		}
		return r.words("If anybody has no value for %s, the whole mail is held. Write a fallback, such as {{Name|friend}}, if it should go anyway.",
			"%s 값이 없는 분이 한 분이라도 있으면 메일 전체가 발송 보류됩니다. 그래도 보내려면 {{Name|고객}}처럼 대신 들어갈 말을 적어 주세요.")
	case "quoted-fallback":
		return r.words("The quotation marks in %s will be read by those who have no value. Leave them out, unless you mean them.",
			"%s의 따옴표는 값이 없는 분께 그대로 보입니다. 일부러 넣은 것이 아니면 빼 주세요.")
	case "single-marks":
		return r.words("%s is sent as it is written. Write two braces, as in {{Name}}, if it should be filled.",
			"%s 부분은 적힌 그대로 나갑니다. 받는 분의 값을 넣으려면 {{Name}}처럼 중괄호를 두 개씩 적어 주세요.")
	case "not-filled":
		return r.words("%s stands where no placeholder is filled: in From or Reply-To, in the name of a file, or in a comment, style, script or attribute of the HTML that holds neither an address nor words for readers. It is sent as it is written.",
			"%s 부분은 값이 들어가지 않는 자리에 있어 적힌 그대로 나갑니다. 보낸 사람과 회신 주소, 파일 이름, HTML의 주석·스타일·스크립트, 주소나 읽을거리가 아닌 속성에는 값을 넣지 않습니다.")
	case "stray-braces":
		return r.words("Double braces will be read near %s. Perhaps a brace of a placeholder is missing.",
			"%s 근처에 이중 중괄호가 그대로 보입니다. 중괄호가 하나 빠지지 않았는지 확인해 주세요.")
	case "no-subject":
		return r.words("The mail has no Subject.", "제목이 없습니다.")
	case "long-subject":
		return r.words("The Subject has %s characters; lists of mails show about 60, phones 40.",
			"제목이 %s자입니다. 메일 목록에는 보통 60자, 휴대폰에는 40자쯤만 보입니다.")
	case "capitals-in-subject":
		return r.words("The Subject is all in capitals, which reads like shouting, and like spam to filters.",
			"제목이 모두 대문자입니다. 소리치는 느낌을 주고, 스팸으로 분류되기 쉽습니다.")
	case "exclamation-marks":
		return r.words("The Subject ends with several exclamation marks, which spam filters count.",
			"제목 끝에 느낌표가 여러 개 있습니다. 스팸으로 분류되기 쉽습니다.")
	case "reply-subject":
		return r.words("The Subject looks like that of an answered, forwarded or filtered mail: %s",
			"제목에 회신·전달 표시나 메일 필터의 꼬리표가 남아 있습니다: %s")
	case "quoted-mail":
		return r.words("An earlier mail seems to be quoted below this one, with its From and To. Everybody will read it.",
			"이전에 주고받은 메일이 본문에 남아 있는 것 같습니다. 그 메일의 보낸 사람과 내용이 모두에게 보입니다.")
	case "tracked-changes":
		return r.words("Tracked changes of Word are still in the text. Accept or reject them all, and send it again.",
			"Word의 변경 내용 추적이 남아 있습니다. 변경 내용을 모두 적용하거나 취소한 뒤 다시 보내 주세요.")
	case "word-comments":
		return r.words("Comments of Word are still in the text. Delete them all, and send it again.",
			"Word의 메모가 남아 있습니다. 메모를 모두 삭제한 뒤 다시 보내 주세요.")
	case "text-differs":
		return r.words("The plain text says something quite different from the HTML. Watches, screen readers and spam filters read the plain text.",
			"텍스트 본문이 HTML 본문과 많이 다릅니다. 스마트워치와 화면 낭독기, 스팸 필터는 텍스트 본문을 읽습니다.")
	case "no-text":
		return r.words("The mail has HTML only, and no plain text for watches, screen readers and spam filters.",
			"HTML 본문만 있고 텍스트 본문이 없습니다. 스마트워치와 화면 낭독기, 스팸 필터는 텍스트 본문을 읽습니다.")
	case "text-made":
		return r.words("The mail had HTML only; the copies' plain text was made from it.", "HTML 본문만 있어, 텍스트 본문은 HTML에서 만들었습니다.")
	case "footer-added":
		return r.words("The mail nowhere shows {{Unsubscribe}} to everybody, so a footer with the link was added.",
			"본문에 모두에게 보이는 {{Unsubscribe}}가 없어, 수신거부 링크가 든 꼬리말을 붙였습니다.")
	}
	return r.linkText(code)
}

// linkText is warningText for links, pictures and files.
func (r *reviewer) linkText(code string) string {
	switch code {
	case "empty-link":
		return r.words("A link leads nowhere (its address is empty, # or a script).", "주소가 비어 있거나 #, 스크립트뿐이어서 열리지 않는 링크가 있습니다.")
	case "no-scheme":
		return r.words("An address does not begin with https://, so most mail programs cannot open it: %s",
			"https://로 시작하지 않아 대부분의 메일 프로그램에서 열리지 않는 주소가 있습니다: %s")
	case "file-link":
		return r.words("A link leads to a file on your own computer or network: %s", "보낸 분의 컴퓨터나 사내 폴더에 있는 파일로 연결된 링크가 있습니다: %s")
	case "private-link":
		return r.words("An address can be reached from inside your network only: %s", "사내에서만 열리는 주소가 있습니다: %s")
	case "rewritten-link":
		return r.words("A link goes through the protection of a mail that you received, and may end to work. Put in the real address: %s",
			"받은 메일에서 복사한 보호 링크입니다. 언젠가 열리지 않을 수 있으니 원래 주소로 바꿔 주세요: %s")
	case "shortener":
		return r.words("A link goes through a shortener, which spam filters distrust. Put in the real address: %s",
			"단축 주소는 스팸으로 분류되기 쉽습니다. 원래 주소로 바꿔 주세요: %s")
	case "mismatched-link":
		return r.words("A link shows another address than it opens, as phishing does; filters warn of it: %s",
			"보이는 주소와 실제로 열리는 주소가 다른 링크가 있습니다. 피싱으로 의심받습니다: %s")
	case "missing-picture":
		return r.words("A picture is shown that is not in the mail. Insert it again: %s", "본문에서 쓰는 그림이 메일에 들어 있지 않습니다. 다시 삽입해 주세요: %s")
	case "file-picture":
		return r.words("A picture is on your own computer, and nobody else will see it. Insert it again: %s",
			"그림이 보낸 분의 컴퓨터에 있어 다른 사람에게는 보이지 않습니다. 다시 삽입해 주세요: %s")
	case "http-picture":
		return r.words("A picture is fetched without encryption, and some mail programs do not show it. Use https://: %s",
			"http:// 그림은 보이지 않는 메일 프로그램이 있습니다. https:// 주소를 써 주세요: %s")
	case "data-picture":
		return r.words("A picture is written into the HTML itself (data:), which Gmail and Outlook do not show. Insert it as a file.",
			"HTML 안에 직접 적힌 그림(data:)이 있습니다. Gmail과 Outlook에서는 보이지 않으니 그림 파일로 삽입해 주세요.")
	case "no-alt":
		return r.words("A picture has no text for those who do not see it (alt text): %s", "그림을 볼 수 없는 분을 위한 설명(대체 텍스트)이 없습니다: %s")
	case "large-picture":
		return r.words("A picture is large, and every copy carries it. Make it smaller: %s", "그림이 큽니다. 한 통마다 함께 나가니 크기를 줄여 주세요: %s")
	case "clipped-by-gmail":
		return r.words("The HTML has %s; Gmail cuts a mail off after 102 KB, and its unsubscribe link with it.",
			"HTML 본문이 %s입니다. Gmail은 102 KB가 넘으면 뒷부분을 자르고, 수신거부 링크도 잘립니다.")
	case "large-copy":
		return r.words("Each copy has %s; many mailboxes take no more than 10 MB.", "한 통의 크기가 %s입니다. 10 MB까지만 받는 메일함이 많습니다.")
	case "attachment":
		return r.words("Every copy carries the attachment: %s", "첨부 파일이 한 통마다 함께 나갑니다: %s")
	}
	return code
}
