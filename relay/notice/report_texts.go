package notice

// title is the notice's Subject.
func (w *writer) title() string {
	subject := w.subject(w.about.Subject, maxSubject)
	if w.act == failed {
		return w.pick("Not delivered: ", "메일을 전달하지 못했습니다: ") + subject
	}
	return w.pick("Delayed, still being tried: ", "메일 전달이 늦어지고 있습니다: ") + subject
}

// lead is what happened, in one or two sentences.
func (w *writer) lead() {
	if w.act == failed {
		w.leadFailed()
	} else {
		w.leadDelayed()
	}
}

func (w *writer) leadFailed() {
	n, of := w.total.Failed, w.total.Recipients
	all, some := number(of), number(n)
	switch {
	case w.only() != "":
		w.say("Your mail could not be delivered to %s. It will not be tried again.",
			"보내신 메일을 %s 주소로 전달하지 못했습니다. 이 메일은 자동으로 다시 발송되지 않습니다.", w.only())
	case n == of:
		w.say("Your mail could not be delivered to any of its %[1]s recipients. It will not be tried again.",
			"보내신 메일을 수신자 %[1]s명 모두에게 전달하지 못했습니다. 이 메일은 자동으로 다시 발송되지 않습니다.", all)
	case n == 1:
		w.say("Your mail could not be delivered to one of its %[1]s recipients. It will not be tried again for that recipient.",
			"보내신 메일을 수신자 %[1]s명 중 1명에게 전달하지 못했습니다. 이 수신자에게는 자동으로 다시 발송하지 않습니다.", all)
	default:
		w.say("Your mail could not be delivered to %[1]s of its %[2]s recipients. It will not be tried again for these.",
			"보내신 메일을 수신자 %[2]s명 중 %[1]s명에게 전달하지 못했습니다. 이 수신자들에게는 자동으로 다시 발송하지 않습니다.", some, all)
	}
}

func (w *writer) leadDelayed() {
	n, of := w.total.Waiting, w.total.Recipients
	all, some := number(of), number(n)
	switch {
	case w.only() != "":
		w.say("Your mail has not reached %s yet. It will be tried again automatically.",
			"보내신 메일이 %s 주소로 아직 전달되지 않았습니다. 자동으로 다시 시도합니다.", w.only())
	case n == of:
		w.say("Your mail has not reached any of its %[1]s recipients yet. It will be tried again automatically.",
			"보내신 메일이 수신자 %[1]s명 모두에게 아직 전달되지 않았습니다. 자동으로 다시 시도합니다.", all)
	default:
		w.say("Your mail has not reached %[1]s of its %[2]s recipients yet. It will be tried again automatically.",
			"보내신 메일이 수신자 %[2]s명 중 %[1]s명에게 아직 전달되지 않았습니다. 자동으로 다시 시도합니다.", some, all)
	}
	w.say("You need not do anything. Please do not send it again, or it may arrive twice.",
		"따로 하실 일은 없습니다. 메일이 두 번 도착할 수 있으니 다시 보내지 마십시오.")
	if until := w.show(lastUntil(w.all), w.tongue); until != "" {
		w.say("It will be tried until %s at the latest. If it has not arrived by then, you will get another notice.",
			"늦어도 %s까지 계속 시도합니다. 그때까지 전달되지 않으면 다시 알려 드립니다.", until)
	} else {
		w.say("If it cannot be delivered in the end, you will get another notice.",
			"끝내 전달되지 않으면 다시 알려 드립니다.")
	}
}

// rest says what became of the other recipients, and what is not listed.
func (w *writer) rest() {
	t := w.total
	if t.Reached > 0 || w.act == failed && t.Waiting > 0 {
		w.elsewhere()
	}
	if w.act == delayed && w.others > 0 {
		if w.others == 1 {
			w.say("One more of your mails is waiting too. You get no notice of its own for it.",
				"보내신 다른 메일 1통도 대기 중입니다. 그 메일에 대해서는 따로 알려 드리지 않습니다.")
		} else {
			w.say("%s more of your mails are waiting too. You get no notices of their own for them.",
				"보내신 다른 메일 %s통도 대기 중입니다. 그 메일들에 대해서는 따로 알려 드리지 않습니다.", number(w.others))
		}
	}
	whole := t.Failed
	if w.act == delayed {
		whole = t.Waiting
	}
	if named := len(w.all); named < whole {
		w.say("The first %[1]s of these %[2]s addresses are listed below. Your administrator can list them all with: postern queue show %[3]s",
			"아래에는 이 %[2]s명 중 처음 %[1]s명만 적었습니다. 전체 목록은 관리자가 다음 명령으로 볼 수 있습니다: postern queue show %[3]s", number(named), number(whole), id(w.about.ID))
	}
}

// elsewhere is about those of this mail who are in no list below.
func (w *writer) elsewhere() {
	t := w.total
	switch {
	case w.act == delayed || t.Waiting == 0:
		w.say("It has been sent to %[1]s without trouble.", "다른 수신자 %[1]s에게는 정상적으로 보냈습니다.", w.count(t.Reached))
	case t.Reached == 0:
		w.say("It is still being tried for %[1]s. If that fails too, you will get another notice.",
			"다른 수신자 %[1]s에게는 아직 보내는 중입니다. 끝내 전달하지 못하면 다시 알려 드립니다.", w.count(t.Waiting))
	default:
		w.say("It has been sent to %[1]s without trouble and is still being tried for %[2]s. If that fails too, you will get another notice.",
			"다른 수신자 %[1]s에게는 정상적으로 보냈고, %[2]s에게는 아직 보내는 중입니다. 끝내 전달하지 못하면 다시 알려 드립니다.", w.count(t.Reached), w.count(t.Waiting))
	}
}
