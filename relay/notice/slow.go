package notice

import (
	"time"

	"postern/mail"
)

// Forecast is a mail for which the account's quota of 24 hours is not enough.
type Forecast struct {
	About
	Waiting int       // copies that are not out
	Today   int       // of these that the quota lets out now
	Until   time.Time // when the last will be out, about; zero: not known
	Counts  mail.Counts
}

// Slow tells the sender that a mail will not be out today, and what can be done.
// others are as slow and get no notice of their own.
func Slow(l Letter, f Forecast, others []About) []byte {
	w := l.page()
	w.say("This mail will not all be out today: it has more recipients than may be sent to within 24 hours. Nothing is lost. The rest goes out by itself as soon as more may be sent.",
		"다음 메일은 오늘 안에 모두 발송되지 않습니다. 24시간 동안 보낼 수 있는 수(발송 한도)보다 수신자가 많기 때문입니다. 나머지도 없어지지 않으며, 한도가 다시 생기는 대로 자동으로 발송합니다.")
	w.which(f.About)
	w.WriteString("\n")
	w.figure("Recipients", "전체 수신자", f.Counts.Total())
	w.figure("Sent so far", "지금까지 발송", f.Counts[mail.Sent])
	w.figure("Can still be sent now", "지금 더 보낼 수 있는 수", f.Today)
	w.figure("Have to wait", "기다려야 하는 수신자", max(f.Waiting-f.Today, 0))
	w.row("All sent by about", "발송 완료 예상", w.show(f.Until, w.tongue))
	w.WriteString("\n")
	w.say("The service through which mail leaves here lets out only so many mails within any 24 hours. What was sent counts for 24 hours; then there is room for as many more.",
		"메일을 내보내는 발송 서비스는 24시간 동안 보낼 수 있는 메일의 수를 제한합니다. 보낸 메일은 24시간 동안 한도에 포함되고, 그 뒤에는 그만큼 다시 보낼 수 있습니다.")
	w.say("What you can do:", "선택하실 수 있는 방법:")
	w.steps(
		w.pick("Wait. There is nothing to do for that. Please do not send the mail again: some would get it twice.",
			"기다립니다. 따로 하실 일은 없습니다. 같은 메일을 두 번 받는 분이 생기니 다시 보내지 마십시오."),
		w.pick("If it has to be faster, have your mail administrator ask the provider for a larger quota. For Amazon SES that is done in the AWS console: “Service Quotas”, Amazon SES, “Sending quota”. The answer may take a day. Postern makes use of it by itself.",
			"더 빨리 보내야 한다면 메일 관리자를 통해 서비스 제공자에게 한도 증설을 요청합니다. Amazon SES는 AWS 콘솔의 “Service Quotas”에서 Amazon SES의 “Sending quota”를 신청하며, 처리에 하루쯤 걸릴 수 있습니다. 늘어난 한도는 자동으로 적용됩니다."),
		w.pick("If it must not arrive that late, because an offer ends for example, have the rest cancelled: `postern queue cancel "+id(f.ID)+"`. Whoever has the mail already keeps it.",
			"행사가 끝나는 등의 이유로 늦게 도착하면 안 되는 메일이라면 메일 관리자가 남은 발송을 취소할 수 있습니다: `postern queue cancel "+id(f.ID)+"`. 이미 받은 분의 메일은 그대로 남습니다."))
	w.others(others)
	w.foot(f.ID)
	return l.answer(f.About, w.pick("Not all of it goes out today: ", "오늘 안에 모두 발송되지 않습니다: ")+w.subject(f.Subject, maxSubject), w.String())
}
