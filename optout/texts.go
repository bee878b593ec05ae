package optout

import "golang.org/x/text/language"

// text is what one page says. {list} and {who} are filled in.
type text struct{ Title, Lead, Button, Hint string }

// page names a text.
type page int

const (
	pageAsk page = iota
	pageDone
	pageInvalid
	pageLater
	pageUnread
	pageMissing
	pageMethod
)

// texts gives the pages of a language; what is not Korean is English.
func texts(lang string, p page) text {
	if lang == "ko" {
		return korean(p)
	}
	return english(p)
}

func english(p page) text {
	switch p {
	case pageAsk:
		return text{
			Title:  "Unsubscribe from {list}?",
			Lead:   "Press the button, and no more mail from {list} will be sent to {who}.",
			Button: "Unsubscribe",
			Hint:   "Nothing has changed yet. To stay subscribed, simply close this page.",
		}
	case pageDone:
		return text{
			Title: "You are unsubscribed",
			Lead:  "No more mail from {list} will be sent to {who}.",
			Hint:  "You can close this page. If this was a mistake, reply to one of the mails and ask the sender to add you again.",
		}
	case pageLater:
		return text{
			Title:  "Not done yet",
			Lead:   "Your request could not be saved just now, so you are still subscribed. Please try again in a few minutes.",
			Button: "Try again",
			Hint:   "If this keeps happening, reply to the mail and ask the sender to remove you.",
		}
	case pageUnread:
		return text{
			Title: "The request could not be read",
			Lead:  "It was incomplete or too large, so nothing has changed. Please open the link in the mail again and press the button there.",
		}
	case pageMethod:
		return text{
			Title: "This cannot be done here",
			Lead:  "Please open the link in the mail in a browser and press the button there. Nothing has changed.",
		}
	case pageMissing:
		return text{
			Title: "There is nothing here",
			Lead:  "Please open the unsubscribe link exactly as it stands in the mail.",
		}
	default:
		return text{
			Title: "This link does not work",
			Lead:  "It is incomplete or was changed on its way, so nothing has changed for anybody. Please open the link in the mail itself; if it still fails, reply to the mail and ask the sender to remove you.",
		}
	}
}

func korean(p page) text {
	switch p {
	case pageAsk:
		return text{
			Title:  "{list} 수신을 거부하시겠습니까?",
			Lead:   "아래 버튼을 누르시면 {who} 주소로 {list} 메일을 더 이상 보내지 않습니다.",
			Button: "수신거부",
			Hint:   "아직 아무것도 바뀌지 않았습니다. 계속 받으시려면 이 페이지를 닫으시면 됩니다.",
		}
	case pageDone:
		return text{
			Title: "수신거부가 완료되었습니다",
			Lead:  "{who} 주소로 {list} 메일을 더 이상 보내지 않습니다.",
			Hint:  "이 페이지를 닫으셔도 됩니다. 실수로 누르셨다면 받으신 메일에 회신하여 다시 받고 싶다고 알려 주십시오.",
		}
	case pageLater:
		return text{
			Title:  "아직 처리되지 않았습니다",
			Lead:   "요청을 저장하지 못하여 수신 상태가 그대로입니다. 몇 분 뒤에 다시 시도해 주십시오.",
			Button: "다시 시도",
			Hint:   "계속 실패하면 받으신 메일에 회신하여 수신거부를 요청해 주십시오.",
		}
	case pageUnread:
		return text{
			Title: "요청을 읽을 수 없습니다",
			Lead:  "요청이 불완전하거나 너무 커서 아무것도 바뀌지 않았습니다. 메일의 링크를 다시 열고 버튼을 눌러 주십시오.",
		}
	case pageMethod:
		return text{
			Title: "여기서는 처리할 수 없습니다",
			Lead:  "메일의 링크를 브라우저에서 열고 버튼을 눌러 주십시오. 아무것도 바뀌지 않았습니다.",
		}
	case pageMissing:
		return text{
			Title: "찾으시는 페이지가 없습니다",
			Lead:  "메일에 있는 수신거부 링크를 그대로 열어 주십시오.",
		}
	default:
		return text{
			Title: "이 링크는 사용할 수 없습니다",
			Lead:  "링크가 잘렸거나 변경되어 아무것도 바뀌지 않았습니다. 메일에 있는 링크를 직접 열어 주십시오. 그래도 안 되면 받으신 메일에 회신하여 수신거부를 요청해 주십시오.",
		}
	}
}

// nameless is what a page calls a list that is no longer configured.
func nameless(lang string) string {
	if lang == "ko" {
		return "이 메일링 리스트"
	}
	return "this mailing list"
}

// maxAcceptLanguage bounds what is parsed of a stranger's header, in octets.
const maxAcceptLanguage = 256

// pickLanguage is the first of Korean and English that was asked for: by
// ?lang=, then by the browser's Accept-Language, then as the list has it.
func pickLanguage(query, accept, list string) string {
	if query == "ko" || query == "en" {
		return query
	}
	if len(accept) <= maxAcceptLanguage {
		tags, weights, err := language.ParseAcceptLanguage(accept)
		for i := range tags {
			base, _ := tags[i].Base()
			if s := base.String(); err == nil && weights[i] > 0 && (s == "ko" || s == "en") {
				return s
			}
		}
	}
	if list == "ko" {
		return "ko"
	}
	return "en"
}
