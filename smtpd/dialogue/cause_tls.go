package dialogue

import "fmt"

// beforeSMTP is what keeps a client from speaking SMTP at all.
var beforeSMTP = []rule{
	{"too-many-from-address", refusedAs(TooManyFromAddress),
		says("This address had more connections open than smtp.max_connections_per_ip allows. Let the device use fewer at once or close them sooner; " +
			"if many clients share the address (NAT, a proxy), raise the key, or let the proxy send PROXY headers (proxy_protocol_from).")},
	{"too-many-connections", refusedAs(TooMany),
		says("All places were taken (smtp.max_connections). See with `postern sessions` who holds them; raise the key if these are honest clients.")},
	{"proxy-header", refusedAs(ProxyHeader), func(f *Facts) string {
		return "The connection from this load balancer was closed: " + f.Why + "."
	}},
	{"shutting-down", func(f *Facts) bool {
		return f.Refused == ShuttingDown || f.Accepted == 0 && f.Farewell.says(421, "4.3.2", saysStopping)
	}, says("The gateway was being stopped or restarted. Nothing is wrong; the device should try again.")},

	{"tls-on-plain-port", func(f *Facts) bool { return f.Stranger == ClearTLS },
		func(f *Facts) string {
			if f.Listener.TLS == "starttls" {
				return "The device began with TLS at once, and this port begins in the clear. Set the device to STARTTLS (often called \"TLS\" or \"Auto\"), or give it the port of a listener with tls = \"implicit\" (usually 465)."
			}
			return "The device began with TLS, and this listener has none (tls = \"none\"). Switch SSL/TLS off in the device, or give it the port of a listener with tls = \"implicit\" (usually 465) or \"starttls\" (587)."
		}},
	{"http", func(f *Facts) bool { return f.Stranger == HTTP },
		says("This was a web client, not a mail client: a monitor, a browser or a port scan. If a program should send mail here, give it the SMTP settings, not a URL.")},
	{"mail-reader", func(f *Facts) bool { return f.Stranger == MailReader },
		says("The device spoke POP3 or IMAP, with which mail is fetched. This is the outgoing (SMTP) server: put it into the field for outgoing mail, and the mailbox's server into the one for incoming.")},
	{"proxy-not-expected", func(f *Facts) bool { return f.Stranger == Proxy },
		says("It began with a PROXY header, which is not taken from this address. Add the load balancer's address to proxy_protocol_from of the listener, or switch the header off there (send-proxy in haproxy).")},
	{"ssh", func(f *Facts) bool { return f.Stranger == SSH },
		says("This was an SSH client: somebody has the wrong port.")},

	{"plain-on-tls-port", func(f *Facts) bool { return f.failed(NotTLS) && f.Listener.TLS == "implicit" },
		says("The device spoke in the clear on a port that begins with TLS. Set it to SSL/TLS (\"implicit\", \"SMTPS\"), or give it the port of a listener with tls = \"starttls\" (usually 587) or \"none\".")},
	{"silent-on-tls-port", func(f *Facts) bool {
		return f.Handshake == HandshakeFailed && f.Octets == 0 && f.Listener.TLS == "implicit" && (f.Trouble == Silence || f.Trouble == BrokenOff && !f.Hello.Seen)
	},
		says("Not one octet came. A device that is set to no encryption, or to STARTTLS, waits here for a greeting that never comes: set it to SSL/TLS, or give it the port of a listener with tls = \"starttls\" (usually 587) or \"none\". A monitor that only looks whether the port is open looks the same.")},
	{"plain-after-starttls", func(f *Facts) bool { return f.failed(NotTLS) },
		says("The device said STARTTLS and then went on in the clear. Its firmware is at fault, or a firewall that inspects SMTP on the way: switch that off (such as `fixup protocol smtp`, `inspect esmtp`), or give the device a listener with tls = \"none\" on a trusted wire.")},
	{"tls-too-old", func(f *Facts) bool {
		return f.failed(TooOld) || f.alert("protocol version not supported") && f.Hello.TooOld
	},
		func(f *Facts) string {
			return fmt.Sprintf("The device knows %s at most, and this listener takes nothing older than TLS %s (tls_min). Update its firmware; or add a [[smtp.listener]] of its own with tls_min = %q, best on an address that only such devices reach.",
				f.Hello.Best, f.Listener.TLSMin, f.Hello.Best[min(len(f.Hello.Best), len("TLS ")):])
		}},
	{"rsa-only", func(f *Facts) bool { return f.failed(WrongKeyKind) },
		says("The device knows RSA certificates only, and smtp.tls.cert_file holds an ECDSA one. Get a certificate with an RSA key of 2048 bits for the gateway (certbot: --key-type rsa), or update the device.")},
	{"no-common-cipher", func(f *Facts) bool { return f.failed(NoCipher) || f.alert("handshake failure") },
		says("The device and this listener have no cipher suite in common. Update its firmware; or add a [[smtp.listener]] of its own with tls_min = \"1.0\", which also takes the RSA key exchange of old devices. RC4, DES and 3DES are taken nowhere.")},
	{"client-too-strict", func(f *Facts) bool { return f.alert("protocol version not supported") },
		says("The device refuses every TLS version that this listener takes. Compare its settings with tls_min.")},
	{"certificate-expired", func(f *Facts) bool {
		return f.alert("expired certificate") || f.failed(ClientRefuses) && f.Hello.Expired
	}, func(f *Facts) string {
		if f.Hello.Expired {
			return "The device refused our certificate, and it has expired: put a new one into smtp.tls.cert_file and send the gateway SIGHUP."
		}
		return "The device takes our certificate for expired. It has not: set the device's clock, or renew the authority's certificate in it."
	}},
	{"certificate-name", func(f *Facts) bool { return f.failed(ClientRefuses) && f.Hello.WrongName },
		func(f *Facts) string {
			return fmt.Sprintf("The device connected to %s and refused our certificate, which is for %s. Enter a name of the certificate as the server in the device, or get a certificate that bears this name too.", f.Hello.Name, orNobody(f.Hello.Names))
		}},
	{"certificate-unknown-authority", func(f *Facts) bool { return f.alert("unknown certificate authority") },
		says("The device does not know the authority of our certificate. Import that authority's certificate into the device, or use a certificate of a public authority (smtp.tls.cert_file, with the intermediate certificates in the same file).")},
	{"certificate-refused", func(f *Facts) bool { return f.failed(ClientRefuses) },
		func(f *Facts) string {
			alert := ""
			if f.Alert != "" {
				alert = " (" + f.Alert + ")"
			}
			return "The device refused our certificate" + alert + ". Check that it trusts the authority (import its certificate into the device), that it connects by a name of the certificate (" + orNobody(f.Hello.Names) + ") and not by an IP address, and that cert_file also holds the intermediate certificates."
		}},
	{"tls-timeout", func(f *Facts) bool { return f.failed(Timeout) || f.failed(Silence) },
		says("The device stopped in the middle of the TLS handshake. Look for a firewall that swallows large packets (MTU) or inspects TLS on the way.")},
	{"tls-broken-off", func(f *Facts) bool { return f.failed(BrokenOff) },
		says("The device closed the connection in the middle of the TLS handshake without a reason. Most do so when they do not trust the certificate, or find nothing acceptable in it: import the authority's certificate into the device, connect by a name of the certificate, or switch certificate checks off there.")},
	{"tls-failed", func(f *Facts) bool { return f.Handshake == HandshakeFailed },
		says("The TLS handshake failed for a reason that is not known. The gateway's log has the error; try `openssl s_client -connect HOST:PORT` (with -starttls smtp) from the device's network.")},
}

func refusedAs(r Refusal) func(*Facts) bool {
	return func(f *Facts) bool { return f.Refused == r }
}

func (f *Facts) failed(t Trouble) bool { return f.Handshake == HandshakeFailed && f.Trouble == t }

func (f *Facts) alert(text string) bool { return f.failed(ClientRefuses) && f.Alert == text }

func orNobody(names string) string {
	if names == "" {
		return "no name"
	}
	return names
}
