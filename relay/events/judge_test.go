package events_test

import (
	"testing"

	"postern/mail"
	"postern/relay/events"
)

// TestWhatAnEventProves is mail rule 57: only "there is nobody" is hard; policy,
// content and lists of suppressed addresses prove nothing.
func TestWhatAnEventProves(t *testing.T) {
	const (
		none   = mail.NoOutcome
		soft   = mail.SoftBounced
		gone   = mail.Bounced
		taken  = mail.Delivered
		spammy = mail.Complained
	)
	type verdict struct {
		outcome mail.Outcome
		reach   events.Reach
	}
	hard, blocked := verdict{gone, events.ReachHard}, verdict{gone, events.ReachUnknown}
	later, nothing := verdict{soft, events.ReachSoft}, verdict{soft, events.ReachUnknown}
	silent := verdict{none, events.ReachUnknown}
	permanent := func(status, words string) events.Event {
		return events.Event{Kind: events.Bounce, Type: "Permanent", SubType: "General", Status: status, Words: words}
	}
	transient := func(sub, status, words string) events.Event {
		return events.Event{Kind: events.Bounce, Type: "Transient", SubType: sub, Status: status, Words: words}
	}
	for _, c := range []struct {
		event events.Event
		want  verdict
	}{
		// The kinds.
		{events.Event{Kind: events.Send}, silent},
		{events.Event{Kind: events.DeliveryDelay, Status: "5.1.1"}, silent},
		{events.Event{Kind: events.Delivery, Words: "250 ok"}, verdict{taken, events.ReachUnknown}},
		{events.Event{Kind: events.Reject, Words: "Bad content"}, blocked},
		{events.Event{Kind: "teleported"}, silent},
		{events.Event{}, silent},

		// Complaints.
		{events.Event{Kind: events.Complaint, Abuse: "abuse"}, verdict{spammy, events.ReachSpam}},
		{events.Event{Kind: events.Complaint}, verdict{spammy, events.ReachSpam}},
		{events.Event{Kind: events.Complaint, Abuse: "other"}, verdict{spammy, events.ReachSpam}},
		{events.Event{Kind: events.Complaint, Abuse: "not-spam"}, silent},
		{events.Event{Kind: events.Complaint, Abuse: "auth-failure"}, silent},
		{events.Event{Kind: events.Complaint, Abuse: "abuse", SubType: "OnAccountSuppressionList"}, blocked},

		// Permanent: nobody is there.
		{permanent("5.1.1", "550 5.1.1 user unknown"), hard},
		{events.Event{Kind: events.Bounce, Type: "Permanent", SubType: "NoEmail"}, hard},
		{events.Event{Kind: events.Bounce, Type: "PERMANENT", SubType: "GENERAL", Status: "5.1.1"}, hard}, // as SES's API writes it
		{permanent("", ""), hard},
		{permanent("5.1.1", "550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the recipient's email address for typos or unnecessary spaces. https://support.google.com/mail/?p=NoSuchUser x1si1.42 - gsmtp"), hard},
		{permanent("5.2.1", "550 5.2.1 The email account that you tried to reach is inactive."), hard},
		{permanent("5.5.0", "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [BL02EPF0001A0F9.eurprd01.prod.example.com 2026-11-23T00:00:07.669Z]"), hard},
		{permanent("5.4.1", "550 5.4.1 Recipient address rejected: Access denied. [SG2APC01FT004.eop-APC01.prod.protection.outlook.com]"), hard},
		{permanent("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"), hard},
		{permanent("5.0.0", "554 delivery error: dd This user doesn't have a yahoo.com account (kim@yahoo.com) [0] - mta1234.mail.example.yahoo.com"), hard},
		{permanent("5.1.1", "550 5.1.1 RUSR 192.0.2.25 : No such user: <kim@naver.example>"), hard},
		{permanent("5.1.1", "550 5.1.1 <kim@hanmail.example>... User unknown"), hard},
		{permanent("5.1.1", "550 5.1.1 사용자가 없습니다"), hard},
		{permanent("5.2.1", "550 5.2.1 휴면 계정입니다"), hard},
		{permanent("5.4.4", "Unable to lookup DNS for example.invalid"), hard},
		{permanent("5.1.1", "550 5.1.1 <spam@example.net>: Recipient address rejected: User unknown in virtual mailbox table"), hard}, // a name is no policy
		{permanent("5.1.1", "host mx1.spam.example.net[198.51.100.7] said: 550 5.1.1 no such user"), hard},
		{permanent("5.1.1", "550 5.1.1 no such user; 5.7.1.25, 192.5.7.1 and 15.7.1 are no status codes"), hard},
		{permanent("5.1.1", "553 5.1.1 Requested action not taken: mailbox name not allowed"), hard},

		// Permanent, and about us.
		{permanent("5.7.1", "550 5.7.1 Message rejected"), blocked},
		{permanent("5.7.26", "550-5.7.26 Your email has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM."), blocked},
		{permanent("5.7.509", "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification and has a DMARC policy of reject"), blocked},
		{permanent("5.0.0", "550 5.7.1 Unfortunately, messages from [192.0.2.25] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140)."), blocked},
		{permanent("5.0.0", "554 Message not accepted for policy reasons. See https://postmaster.yahooinc.example/error-codes"), blocked},
		{permanent("5.0.0", "554 Service unavailable; Client host [192.0.2.25] blocked using zen.spamhaus.org"), blocked},
		{permanent("5.0.0", "550 rejected, see http://www.spamhaus.org/query/ip/192.0.2.25"), blocked},
		{permanent("5.0.0", "550 192.0.2.25 is listed at bl.example.net"), blocked},
		{permanent("5.1.8", "553 5.1.8 Domain of address shop@example.com does not exist"), blocked},
		{permanent("5.6.0", "554 5.6.0 Message contains invalid header"), blocked},
		{permanent("5.3.4", "552 5.3.4 Message size exceeds fixed limit"), blocked},
		{permanent("5.2.3", "552 5.2.3 Message length exceeds administrative limit"), blocked},
		{permanent("5.0.0", "552 message too large"), blocked},
		{permanent("5.0.0", "554 5.7.1 DAS51 192.0.2.25: Your mail is blocked automatically by anti-spam system. (E06)"), blocked},
		{permanent("5.0.0", "550 You are registered as spammer (by user's reject list)"), blocked},
		{permanent("5.0.0", "550 수신자가 수신 거부한 메일입니다"), blocked},
		{permanent("5.0.0", "550 수신거부"), blocked},
		{permanent("5.0.0", "554 스팸으로 차단되었습니다"), blocked},
		{permanent("5.0.0", "552 메일 용량이 너무 큽니다"), blocked},
		{permanent("5.0.0", "550-5.7.1 [192.0.2.25 18] Our system has detected that this message is likely unsolicited mail."), blocked},
		{permanent("5.0.0", "550 reputation of the sending network is too low"), blocked},
		{permanent("5.0.0", "550 relaying denied"), blocked},
		{permanent("5.1.1", "550 5.1.1 no such user, 550 5.7.1 and by policy too"), blocked},

		// Permanent by a list of the upstream's own.
		{events.Event{Kind: events.Bounce, Type: "Permanent", SubType: "Suppressed", Status: "5.1.1"}, blocked},
		{events.Event{Kind: events.Bounce, Type: "Permanent", SubType: "OnAccountSuppressionList", Status: "5.1.1"}, blocked},
		{events.Event{Kind: events.Bounce, Type: "Permanent", SubType: "OnTenantSuppressionList"}, blocked},
		{events.Event{Kind: events.Bounce, Type: "Permanent", SubType: "UnsubscribedRecipient"}, blocked},

		// Permanent, and yet it may pass.
		{permanent("5.2.2", "552 5.2.2 Mailbox full"), later},
		{permanent("5.0.0", "552-5.2.2 The recipient's inbox is out of storage space."), later},
		{permanent("5.0.0", "550 The recipient's mailbox is full"), later},
		{permanent("5.0.0", "550 메일함 용량 초과"), later},
		{permanent("5.0.0", "550 받는 사람의 메일함이 가득 찼습니다"), later},
		{permanent("5.0.0", "retry timeout exceeded"), later},
		{permanent("5.4.7", "550 5.4.7 Delivery expired"), later},

		// Transient.
		{transient("MailboxFull", "4.2.2", "452 4.2.2 The email account that you tried to reach is over quota"), later},
		{transient("MailboxFull", "5.2.2", "552 5.2.2 Over quota"), later},
		{transient("General", "4.4.7", "550 4.4.7 Message expired: unable to deliver in 840 minutes.<421 4.4.0 Unable to lookup DNS for example.net>"), later},
		{transient("General", "4.2.1", "450 4.2.1 휴면 계정입니다"), later},
		{transient("General", "4.7.0", "421 4.7.0 Try again later"), nothing},
		{transient("General", "4.0.0", "421 [192.0.2.25] rate limit exceeded"), nothing},
		{transient("General", "4.0.0", "451 4.7.500 Server busy. Please try again later"), nothing},
		{transient("General", "4.0.0", "450 greylisted, come back in 5 minutes"), nothing},
		{transient("General", "", ""), nothing}, // no report was with it: may be an automatic reply
		{transient("ContentRejected", "5.6.0", "550 content"), nothing},
		{transient("AttachmentRejected", "5.7.1", ""), nothing},
		{transient("MessageTooLarge", "5.3.4", ""), nothing},
		{transient("CustomTimeoutExceeded", "4.4.7", ""), nothing},

		// Out of office.
		{transient("General", "2.0.0", ""), silent},
		{transient("General", "", "Automatic reply: out of office until Monday"), silent},
		{transient("General", "", "자동 응답: 부재중입니다"), silent},
		{transient("General", "4.0.0", "I am on vacation"), silent},

		// Nobody knows.
		{events.Event{Kind: events.Bounce, Type: "Undetermined", SubType: "Undetermined", Status: "5.1.1"}, nothing},
		{events.Event{Kind: events.Bounce}, nothing},
	} {
		outcome, reach := c.event.Judge()
		if (verdict{outcome, reach}) != c.want {
			t.Errorf("%s %s/%s %s %q\n\tis %q and %s, want %q and %s", c.event.Kind, c.event.Type, c.event.SubType, c.event.Status, c.event.Words,
				outcome, reach, c.want.outcome, c.want.reach)
		}
	}
}

// TestAReportByMailGoesTheSameWay as what an upstream account tells.
func TestAReportByMailGoesTheSameWay(t *testing.T) {
	about := events.Event{Tag: tag, MessageID: id, ID: "r@mx", Source: "a report of mx by mail"}
	with := func(change func(*events.Event)) events.Event {
		e := about
		change(&e)
		return e
	}
	report := events.Report{ID: "r@mx", Reporter: "mx", MessageID: id, Recipients: []events.Recipient{
		{Final: "kim@other.example", Original: "kim@example.net", Action: "failed", Status: "5.1.1", Diagnostic: "550 5.1.1 no such user"},
		{Final: "lee@example.net", Action: "failed", Status: "4.2.2"},
		{Final: "park@example.net", Action: "failed", Diagnostic: "550 no"},
		{Final: "choi@example.net", Action: "failed"},
		{Final: "a@example.net", Action: "delayed", Status: "4.4.1"},
		{Final: "b@example.net", Action: "delivered", Status: "2.0.0"},
		{Final: "c@example.net", Action: "relayed"},
		{Final: "d@example.net", Action: "expanded"},
		{Final: "e@example.net", Action: "teleported"},
		{Final: "f@example.net"},
	}}
	want := []struct {
		event   events.Event
		outcome mail.Outcome
		reach   events.Reach
	}{
		{with(func(e *events.Event) {
			e.Kind, e.Type, e.SubType, e.To, e.Status, e.Words = events.Bounce, "Permanent", "General", "kim@example.net", "5.1.1", "550 5.1.1 no such user"
		}), mail.Bounced, events.ReachHard},
		{with(func(e *events.Event) {
			e.Kind, e.Type, e.SubType, e.To, e.Status = events.Bounce, "Transient", "General", "lee@example.net", "4.2.2"
		}), mail.SoftBounced, events.ReachSoft},
		{with(func(e *events.Event) {
			e.Kind, e.Type, e.SubType, e.To, e.Words = events.Bounce, "Permanent", "General", "park@example.net", "550 no"
		}), mail.Bounced, events.ReachHard},
		{with(func(e *events.Event) {
			e.Kind, e.Type, e.SubType, e.To = events.Bounce, "Undetermined", "General", "choi@example.net"
		}), mail.SoftBounced, events.ReachUnknown},
		{with(func(e *events.Event) { e.Kind, e.To, e.Status = events.DeliveryDelay, "a@example.net", "4.4.1" }), mail.NoOutcome, events.ReachUnknown},
		{with(func(e *events.Event) { e.Kind, e.To, e.Status = events.Delivery, "b@example.net", "2.0.0" }), mail.Delivered, events.ReachUnknown},
		{with(func(e *events.Event) { e.Kind, e.To = events.Delivery, "c@example.net" }), mail.Delivered, events.ReachUnknown},
		{with(func(e *events.Event) { e.Kind, e.To = events.Delivery, "d@example.net" }), mail.Delivered, events.ReachUnknown},
	}
	got := report.Events()
	if len(got) != len(want) {
		t.Fatalf("%d events: %+v", len(got), got)
	}
	for i := range want {
		if got[i] != want[i].event {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i].event)
		}
		if outcome, reach := got[i].Judge(); outcome != want[i].outcome || reach != want[i].reach {
			t.Errorf("%s is %s and %s", got[i].To, outcome, reach)
		}
	}
}

// TestAComplaintByMail may leave out its recipient, and may be about a mail to which
// Amazon SES has given another Message-ID.
func TestAComplaintByMail(t *testing.T) {
	r := events.Report{Complaint: "abuse", MessageID: upstream + "@ap-northeast-2.amazonses.com", Copy: tag}
	want := events.Event{Kind: events.Complaint, Abuse: "abuse", Tag: tag, UpstreamID: upstream, MessageID: r.MessageID, Source: "a report by mail"}
	if got := r.Events(); len(got) != 1 || got[0] != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	r.Recipients = []events.Recipient{{Final: "kim@example.net"}, {Final: "lee@example.net"}}
	if got := r.Events(); len(got) != 2 || got[0].To != "kim@example.net" || got[1].To != "lee@example.net" || got[1].Tag != tag {
		t.Errorf("got %+v", got)
	}
	r = events.Report{Complaint: "abuse", MessageID: "x@amazonses.com.evil.example"}
	if got := r.Events(); got[0].UpstreamID != "" || got[0].Tag != "" {
		t.Errorf("got %+v", got)
	}
}
