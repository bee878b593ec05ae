package dialogue

import "fmt"

// endings are sessions in which nothing was refused.
var endings = []rule{
	{"pushed-out", func(f *Facts) bool { return f.Ended && f.Farewell.says(421, "", saysPlace) },
		says("The session was idle, and its place was given to another client, because smtp.max_connections were open. Nothing was lost. If it happens often, raise the key.")},
	{"endless-command", func(f *Facts) bool { return f.Farewell.says(500, "5.5.2", saysEndless) },
		says("The client sent a command that did not end: another protocol, or a mail that it sends without having been asked for it. Look at the dialogue for what went before.")},
	{"cut-in-mail", func(f *Facts) bool { return f.Ended && (f.Waiting == ForText || f.Waiting == ForChunk) && !f.TimedOut },
		says("The device closed the connection in the middle of the mail, so the mail was not taken. It may have run out of memory with a large scan, or a firewall cut the connection; try a small scan first.")},
	{"slow-in-mail", func(f *Facts) bool { return f.Ended && (f.Waiting == ForText || f.Waiting == ForChunk) },
		says("The device stopped in the middle of the mail and said nothing more for smtp.read_timeout, so the mail was not taken. Look for a bad network (MTU, Wi-Fi) or a firewall that inspects SMTP on the way.")},
	{"ok", func(f *Facts) bool { return f.Ended && f.Accepted > 0 }, func(f *Facts) string {
		if f.Accepted == 1 {
			return "Everything went well: one mail was taken."
		}
		return fmt.Sprintf("Everything went well: %d mails were taken.", f.Accepted)
	}},
	{"open", func(f *Facts) bool { return !f.Ended }, says("The session goes on.")},
	{"nothing-said", func(f *Facts) bool { return f.Last == "" && f.Octets == 0 && f.Handshake == NoHandshake && !f.TimedOut },
		says("The client connected and left without a word: a monitor that looks whether the port is open, or a device that expects another protocol here. A device that is set to SSL/TLS needs the port of a listener with tls = \"implicit\" (usually 465).")},
	{"no-line-end", func(f *Facts) bool { return f.Unended > 0 },
		says("The device sent a command without an end of line. It ends lines with CR alone, or stopped in the middle of one: update its firmware, or look for a firewall that inspects SMTP on the way.")},
	{"silent", func(f *Facts) bool { return f.TimedOut && f.Last == "" },
		says("The client connected, and said nothing until smtp.read_timeout was over. A device that waits for TLS at once, or for another protocol, does so; set it to STARTTLS or give it the right port. Else look for a firewall that lets no data through.")},
	{"silent-later", func(f *Facts) bool { return f.TimedOut }, func(f *Facts) string {
		return fmt.Sprintf("After %s the device said nothing more until smtp.read_timeout was over. It may have crashed, or it waits for something that it did not get: look at the last lines of the dialogue.", f.Last)
	}},
	{"left-after-starttls", func(f *Facts) bool { return f.Handshake == HandshakeDone && f.Helo == "" || f.Last == "STARTTLS" },
		says("The device closed the connection just after the TLS handshake. Most do so when they do not trust the certificate: import the authority's certificate into the device, connect by a name of the certificate and not by an IP address, or switch certificate checks off there.")},
	{"left-after-login", func(f *Facts) bool { return f.Last == "AUTH" && !f.peaceful() },
		says("The device left in the middle of the log-in, or just after it. Check that user name and password are entered in it; if the log-in went well, it may only have been a test of the settings.")},
	{"left-after-ehlo", func(f *Facts) bool { return (f.Last == "EHLO" || f.Last == "HELO") && !f.peaceful() }, leftAfterHello},
	{"left-after-ehlo", func(f *Facts) bool {
		return f.peaceful() && f.Last == "QUIT" && f.ESMTP && f.Mechanism == "" && f.Recipients == 0 && !f.Offered && f.Version == "" && f.Listener.Auth != "off"
	}, leftAfterHello},
	{"left-in-transaction", func(f *Facts) bool { return f.Ended && !f.peaceful() },
		func(f *Facts) string {
			return fmt.Sprintf("The device closed the connection after %s, although nothing had been refused. It may have crashed or lost the network; if it happens again, look for a firewall that inspects SMTP on the way.", or(f.Last, "the greeting"))
		}},
	{"nothing-sent", func(*Facts) bool { return true },
		says("Nothing was refused and no mail was sent: a test of the settings, or a client that keeps a connection ready.")},
}

// leftAfterHello goes by what a device may have missed in the answer to EHLO.
func leftAfterHello(f *Facts) string {
	switch {
	case f.Version == "" && f.Listener.TLS == "none" && !f.Offered:
		return "The device left after the answer to EHLO, in which it may have missed two things: STARTTLS, which a listener with tls = \"none\" does not offer, and AUTH, which is offered after TLS only (unless insecure_auth = true). Switch these off in the device, or give it the port of a listener that has them."
	case f.Version == "" && f.Listener.TLS == "starttls":
		return "The device left after the answer to EHLO without STARTTLS. If it should log in, switch on STARTTLS in it: log-ins are offered after TLS only (unless insecure_auth = true)."
	case !f.Offered:
		return "The device left after the answer to EHLO, in which it may have missed AUTH: this listener has auth = \"off\", or takes log-ins after TLS only. Switch authentication off in the device, or give it the port of a listener that has it."
	}
	return "The device left after the answer to EHLO, in which AUTH was offered (PLAIN, LOGIN). It may want another mechanism, such as NTLM, CRAM-MD5 or OAuth: choose \"plain\" or \"login\" in it."
}
