package notice

import (
	"fmt"

	"postern/mail"
)

// lead is what happened, and in a word why.
func (w *pauseWriter) lead() string {
	switch w.Kind {
	case mail.StopRefused:
		return w.pick("The sending of this mail has been paused: the service through which mail leaves here refuses it, whoever the recipient is.",
			"다음 메일의 발송을 일시 중지했습니다. 발송 서비스가 수신자와 관계없이 이 메일을 모두 거부하기 때문입니다.")
	case mail.StopUnmade:
		return w.pick("The sending of this mail has been paused: the copies for its recipients cannot be made.",
			"다음 메일의 발송을 일시 중지했습니다. 수신자에게 보낼 메일을 만들지 못했기 때문입니다.")
	case mail.StopBounces:
		switch bounced, complained := w.Outcomes[mail.Bounced] > 0, w.Outcomes[mail.Complained] > 0; {
		case bounced && !complained:
			return w.pick("The sending of this mail has been paused: too much of it comes back as undeliverable.",
				"다음 메일의 발송을 일시 중지했습니다. 전달되지 못하고 반송된 메일이 너무 많기 때문입니다.")
		case complained && !bounced:
			return w.pick("The sending of this mail has been paused: too many recipients report it as spam.",
				"다음 메일의 발송을 일시 중지했습니다. 스팸으로 신고한 수신자가 너무 많기 때문입니다.")
		}
		return w.pick("The sending of this mail has been paused: too much of it comes back as undeliverable or is reported as spam.",
			"다음 메일의 발송을 일시 중지했습니다. 반송되거나 스팸으로 신고된 메일이 너무 많기 때문입니다.")
	}
	return w.pick("The sending of this mail has been paused.", "다음 메일의 발송을 일시 중지했습니다.")
}

// goesOn says whether anybody has to act.
func (w *pauseWriter) goesOn() {
	if until := w.show(w.Until, w.tongue); until != "" {
		w.say("It is tried again by itself on %s. If the cause has been mended by then, the mail simply goes on. If not, it is paused again and tried again later; you are reminded once a day at most.",
			"%s에 자동으로 다시 시도합니다. 그때까지 원인이 해결되어 있으면 발송을 이어 갑니다. 해결되지 않았으면 다시 중지하고 나중에 또 시도하며, 안내는 하루에 한 번까지만 보내 드립니다.", until)
		return
	}
	w.say("It does not go on by itself: somebody has to resume or cancel it.", "자동으로 재개되지 않습니다. 발송을 재개하거나 취소해 주셔야 합니다.")
}

func (w *pauseWriter) why() {
	switch w.Kind {
	case mail.StopRefused:
		w.say("The cause does not lie with the recipients. Mostly the sender address or its domain has not been verified with the service, or the configuration names something that the service does not know. It can also be something in the mail that the service takes from nobody, such as an attachment of a certain kind. What the service said is at the end of this notice.",
			"원인은 수신자에게 있지 않습니다. 보낸 사람의 주소나 도메인을 발송 서비스에서 인증하지 않았거나, 설정에 적힌 항목이 그 서비스에 없는 경우가 많습니다. 특정한 종류의 첨부 파일처럼, 서비스가 누구에게서도 받지 않는 내용이 들어 있을 수도 있습니다. 서비스의 응답은 이 안내의 끝에 있습니다.")
	case mail.StopUnmade:
		w.say("Something that a copy is made of is missing or damaged: the key for the signature, a template, a picture, or what is known of a recipient. The recipients' addresses are not the cause, and the same mail sent anew would end here too. What went wrong is at the end of this notice.",
			"메일을 만드는 데 필요한 서명 키, 템플릿, 그림, 수신자 정보 중에 없거나 손상된 것이 있습니다. 수신자의 주소 때문이 아니며, 같은 메일을 새로 보내셔도 결과는 같습니다. 오류의 내용은 이 안내의 끝에 있습니다.")
	case mail.StopBounces:
		w.say("Mail providers watch how much of your mail comes back or is reported as spam. Where that is much, they put all your mail into the spam folder, and in the end your account is closed (Amazon SES reviews an account at 5 %% bounces or 0.1 %% complaints and stops it at 10 %% or 0.5 %%). So this mail has been stopped before it harms the others.",
			"메일 서비스 회사는 보낸 메일이 얼마나 반송되고 스팸으로 신고되는지 지켜봅니다. 그 비율이 높으면 다른 메일까지 스팸함으로 들어가고, 나중에는 발송 계정이 정지됩니다(Amazon SES는 반송 5%% 또는 스팸 신고 0.1%%에서 계정을 검토하고, 10%% 또는 0.5%%에서 발송을 정지합니다). 그래서 다른 메일에 피해가 가기 전에 이 메일을 멈추었습니다.")
	}
}

func (w *pauseWriter) advice() {
	if w.Kind == mail.StopBounces {
		w.judge()
		return
	}
	w.say("What to do (your mail administrator runs the commands on the gateway's machine):", "해결 방법(명령은 메일 관리자가 게이트웨이 서버에서 실행합니다):")
	mend := w.pick("Mend what is named at the end of this notice.", "이 안내의 끝에 적힌 원인을 해결합니다.")
	look := w.command("See how the mail stands: %s", "메일의 상태를 확인합니다: %s", "show", "")
	switch w.Kind {
	case mail.StopRefused:
		mend = w.pick("Mend what the service names. Amazon SES verifies addresses and domains in its console, under “Identities”. If the cause is in the mail itself, cancel this one and send it mended.",
			"서비스의 응답에 적힌 원인을 해결합니다. Amazon SES에서는 콘솔의 “Identities”에서 주소와 도메인을 인증합니다. 원인이 메일 자체에 있으면 이 메일은 취소하고, 고쳐서 새로 보내 주십시오.")
	case mail.StopUnmade:
		look = w.command("See whether the copies can be made again: %s shows one as it goes out.", "메일을 다시 만들 수 있는지 확인합니다. 나갈 메일을 한 통 볼 수 있습니다: %s", "show", " --eml ADDRESS")
	}
	resume := w.command("Go on with it: %s", "발송을 재개합니다: %s", "resume", "")
	if !w.Until.IsZero() {
		resume = w.command("To go on at once, without waiting for the next try: %s", "자동 재시도를 기다리지 않고 바로 재개합니다: %s", "resume", "")
	}
	retry := ""
	if n := w.Counts[mail.CopyFailed]; n > 0 {
		retry = w.command("Then send it to those as well for whom it failed ("+w.count(n)+"): %s", "발송에 실패한 "+w.count(n)+"에게도 다시 보냅니다: %s", "retry", " --failed")
	}
	w.steps(mend, look, resume, retry,
		w.command("Or cancel it, if it should not go out any more: %s", "더 이상 보내지 않으려면 취소합니다: %s", "cancel", ""))
}

// judge is how to find out whether a mail may go on of which much came back.
func (w *pauseWriter) judge() {
	w.say("How to judge it (your mail administrator runs the commands on the gateway's machine):", "확인 방법(명령은 메일 관리자가 게이트웨이 서버에서 실행합니다):")
	bounces, complaints := "", ""
	if w.Outcomes[mail.Bounced] > 0 || w.Outcomes[mail.Complained] == 0 {
		bounces = w.command("Look which addresses it came back from: %s. If they are nearly all at one provider, the trouble may be there, and waiting helps. If they are all over, the list is old or wrong.",
			"반송된 주소를 봅니다: %s. 거의 모두 한 회사의 주소라면 그쪽 서버의 문제일 수 있으니 기다려 봅니다. 여러 곳에 퍼져 있다면 목록이 오래되었거나 잘못된 것입니다.", "show", " --outcome bounced")
	}
	if w.Outcomes[mail.Complained] > 0 {
		complaints = w.command("Look who reported it as spam: %s", "스팸으로 신고한 주소를 봅니다: %s", "show", " --outcome complained")
	}
	w.steps(bounces, complaints,
		w.pick("Ask where these addresses come from. Old lists, bought or collected addresses, and imports with a shifted column are the usual causes. Only people who agreed to it should get such mail.",
			"이 주소들이 어디에서 왔는지 확인합니다. 오래된 목록, 구입하거나 수집한 주소, 열이 밀린 채 가져온 파일이 흔한 원인입니다. 이런 메일은 수신에 동의한 분께만 보내야 합니다."),
		w.pick("You need not delete any address: those that came back for good and those who complained are suppressed and get nothing more.",
			"주소를 직접 지우실 필요는 없습니다. 최종 반송되었거나 스팸으로 신고한 주소는 발송 차단 목록에 올라 더 이상 메일을 받지 않습니다."),
		w.command("If the others are in order, go on: %s. The count begins anew then.", "나머지 주소에 문제가 없으면 발송을 재개합니다: %s. 반송과 신고는 그때부터 새로 셉니다.", "resume", ""),
		w.command("If not, cancel the rest: %s. Whoever has the mail already keeps it.", "문제가 있으면 남은 발송을 취소합니다: %s. 이미 받은 분의 메일은 그대로 남습니다.", "cancel", ""))
}

// command puts a command about this mail into a sentence.
func (w *pauseWriter) command(en, ko, verb, flags string) string {
	return fmt.Sprintf(w.pick(en, ko), "`postern queue "+verb+" "+w.id+flags+"`")
}
