package notice

// explanation is a cause in plain words: a heading, what it means, and what its
// reader can do once the mail has failed.
type explanation struct{ What, Why, Do string }

// explain gives the words of a language.
func explain(t tongue, c cause) explanation {
	if t == korean {
		return inKorean(c)
	}
	return inEnglish(c)
}

func inEnglish(c cause) explanation {
	switch c {
	case unknownAddress:
		return explanation{"The address does not exist",
			"The recipient's mail server has no mailbox with this address. There may be a typing error in it, or the mailbox was closed.",
			"check the spelling and send the mail to the right address. If the spelling is right, ask for the new address in another way and take the old one off your lists."}
	case switchedOff:
		return explanation{"The mailbox is closed for now",
			"The address exists, but its mailbox takes no mail at the moment. That happens to mailboxes that nobody has opened for a long time.",
			"reach the recipient in another way. If it stays like this, take the address off your lists."}
	case full:
		return explanation{"The mailbox is full",
			"The recipient's mailbox has no room for more mail.",
			"let the recipient know in another way, and send the mail again when there is room."}
	case noDomain:
		return explanation{"The part after the @ takes no mail",
			"There is no mail server for the part of the address after the @. Mostly that is a typing error, such as gmial.com for gmail.com, or the company has given up this name.",
			"check the part after the @ and send the mail to the right address."}
	case badAddress:
		return explanation{"The address is not written correctly",
			"The mail server cannot read it as a mail address: a character is missing, or there is one that no address can have.",
			"check the address for blanks, commas and missing parts, and send the mail again."}
	case tooLarge:
		return explanation{"The mail is too large",
			"With its attachments it is larger than the mail server takes. Many take no more than 10 to 25 MB.",
			"make the attachments smaller, or put them where they can be downloaded and send the link."}
	case suppressed:
		return explanation{"The address is on the list of those who get nothing",
			"Earlier mail to this address failed for good, or the recipient complained about it. Nothing more is sent there, because that would put the delivery of your other mail at risk.",
			"if the address works and its owner wants your mail, ask your mail administrator to take it off that list."}
	case nonASCII:
		return explanation{"The address has letters that cannot be sent",
			"The part before the @ has letters other than a to z. The mail servers on this way can only carry English letters, digits and some signs there.",
			"ask the recipient for an address in English letters. Many people have one for the same mailbox."}
	}
	return inEnglishToo(c)
}

func inEnglishToo(c cause) explanation {
	switch c {
	case refused:
		return explanation{"The mail was refused by a spam filter or a rule",
			"The receiving server did not want this mail. The reason can lie in its content (links, wording, attachments) or in the reputation of the server or domain that it was sent from.",
			"read the server's answer below, which often names the reason. Please do not send the same mail again and again: that makes it worse. If the recipient expects your mail, they can ask their provider to allow your address. If it happens often, show this notice to your mail administrator."}
	case unproven:
		return explanation{"The receiving server cannot tell that the mail is really from you",
			"Mail servers check whether a mail was sent with the consent of the domain in its sender address (SPF, DKIM, DMARC). That check failed. There is nothing wrong with your text.",
			"forward this notice to your mail administrator. The DNS records and the signature of your sender domain need a look. Sending again does not help before that."}
	case tooMuch:
		return explanation{"The receiving server takes no more mail from us for now",
			"It got much mail from here, or for this mailbox, within a short time.",
			"send the mail again in some hours. Large mailings pass more easily in smaller portions."}
	case greylisted:
		return explanation{"The receiving server asks to come back later",
			"As a protection against spam, many servers turn away mail from senders whom they do not know at first, and take it when it is tried again.",
			"send the mail again. If it fails once more, let the recipient know in another way and show this notice to your mail administrator."}
	case unreachable:
		return explanation{"The recipient's mail server cannot be reached",
			"No connection to it came about, or the connection broke.",
			"check the part after the @ for typing errors. If it is right, the server is probably out of order: send the mail again later, or let the recipient know in another way."}
	case wayOut:
		return explanation{"Our outgoing mail service has trouble",
			"There is nothing wrong with your mail or with the address. The service through which mail leaves here does not take it at the moment.",
			"ask your mail administrator when it works again, and send the mail again then."}
	case noRight:
		return explanation{"A mail server on the way did not let the mail pass",
			"It demands a log-in or a permission that we do not have, or it is not in charge of this address.",
			"check the part after the @ for typing errors. If it is right, forward this notice to your mail administrator: only they can mend that."}
	case badSender:
		return explanation{"Your sender address was refused",
			"A mail server does not accept the address that the mail was sent from. It may not exist, or sending from it may not be allowed.",
			"check the sender address (From). If a program sends the mail, enter an address there that exists and takes mail."}
	}
	return inEnglishLast(c)
}

func inEnglishLast(c cause) explanation {
	switch c {
	case content:
		return explanation{"The content of the mail was refused",
			"The server does not accept something in it, such as an attachment of a certain kind (programs, locked archives) or one in which it sees a virus.",
			"leave the attachment out or send a link in its place. If you did not attach anything, show this notice to your mail administrator."}
	case trouble:
		return explanation{"The receiving server has trouble of its own",
			"It says that it cannot take mail at the moment. There is nothing wrong with your mail.",
			"send the mail again later. If it is urgent, let the recipient know in another way."}
	case loop:
		return explanation{"The mail goes round in a circle",
			"The recipient's servers hand it to each other without end. Mostly a forwarding is set wrongly there.",
			"let the recipient know in another way, so that the forwarding can be mended."}
	case expired:
		return explanation{"No try to deliver the mail succeeded",
			"Mostly the recipient's mail server is out of order for a longer time then.",
			"check the address. If it is right, send the mail again later, or let the recipient know in another way."}
	case waiting:
		return explanation{"The mail waits to be sent",
			"It has not been tried yet: mail leaves here only so fast, or its way out is paused.",
			"ask your mail administrator what held it up, and send the mail again then."}
	case unsure:
		return explanation{"It is not known whether the mail arrived",
			"The mail was handed over, but no answer came. It may have arrived.",
			"ask the recipient whether the mail is there before you send it again."}
	default:
		return explanation{"The mail could not be handed over",
			"No reason was given that can be said in plain words. What was said is quoted below.",
			"check the address. If it is right and the answer below does not help you, forward this notice to your mail administrator."}
	}
}
