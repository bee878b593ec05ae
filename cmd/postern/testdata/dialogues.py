# Usage: dialogues.py CLIENT: speaks SMTP as a client is known to, word for word,
# that cannot be had here. Python only carries the octets. Prints the last reply.
import base64
import os
import socket
import ssl
import sys

PORTS = {name: int(os.environ[name]) for name in ("PLAIN", "STARTTLS", "IMPLICIT", "DEVICES", "OLD")}
USER, PASSWORD = "marketer@example.com", os.environ["PASSWORD"]
LIST = "promo@lists.example.com"


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Wire:
    def __init__(self, port, context=None):
        self.sock = socket.create_connection(("localhost", PORTS[port]), timeout=30)
        self.begin_tls(context)

    def begin_tls(self, context):
        if context:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.file = self.sock.makefile("rb")

    def reply(self, code):
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                break
        if not line.startswith(str(code)):
            sys.exit(f"want {code}, got {line!r}")
        return line.strip()

    def say(self, line, code):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.reply(code)

    def data(self, mail):
        self.say("DATA", 354)
        self.sock.sendall(mail + b"\r\n.\r\n")
        return self.reply(250)

    def starttls(self, hello, context):
        self.say(hello, 250)
        self.say("STARTTLS", 220)
        self.begin_tls(context)
        self.say(hello, 250)


def trust(version=None):
    context = ssl.create_default_context(cafile="ca.pem")
    if version:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


def outlook_mail(to, mail_id):
    """Word's HTML, the name split as Word splits it, in ks_c_5601-1987."""
    def word(s):
        return "=?ks_c_5601-1987?B?" + base64.b64encode(s.encode("euc-kr")).decode() + "?="
    head = f"""From: "'Marketer'" <{USER}>
To: "'Promotions'" <{to}>
Subject: {word("안녕 {{Name}} outlook")}
Date: Mon, 23 Nov 2026 09:00:00 +0900
Message-ID: <{mail_id}$1e2f3a40$5a8daec0$@example.com>
MIME-Version: 1.0
Content-Type: multipart/alternative;
\tboundary="----=_NextPart_000_0001_01DC5C66.8E168C00"
X-Mailer: Microsoft Outlook 16.0
Thread-Index: AdxcGx4uOkBajY2u
Content-Language: ko

This is a multipart message in MIME format.

------=_NextPart_000_0001_01DC5C66.8E168C00
Content-Type: text/plain;
\tcharset="ks_c_5601-1987"
Content-Transfer-Encoding: base64

""" + base64.encodebytes("안녕하세요 {{Name}}님\r\n".encode("euc-kr")).decode() + """
------=_NextPart_000_0001_01DC5C66.8E168C00
Content-Type: text/html;
\tcharset="ks_c_5601-1987"
Content-Transfer-Encoding: quoted-printable

<html><body><p class=3DMsoNormal>=BE=C8=B3=E7=C7=CF=BC=BC=BF=E4 {{<span class=3DSpellE>Na=
me</span>}}<o:p></o:p></p></body></html>

------=_NextPart_000_0001_01DC5C66.8E168C00--
"""
    return head.replace("\n", "\r\n").encode()


def outlook_login(w):
    w.say("AUTH LOGIN", 334)
    w.say(b64(USER), 334)
    w.say(b64(PASSWORD), 235)


def outlook(port="STARTTLS"):
    w = Wire(port, trust() if port == "IMPLICIT" else None)
    w.reply(220)
    if port == "STARTTLS":
        w.starttls("EHLO DESKTOP-7Q2K1", trust())
    else:
        w.say("EHLO DESKTOP-7Q2K1", 250)
    outlook_login(w)
    w.say(f"MAIL FROM: <{USER}>", 250)
    w.say(f"RCPT TO: <{LIST}>", 250)
    print(w.data(outlook_mail(LIST, port)))
    w.say("QUIT", 221)


def outlook_on_465():
    outlook("IMPLICIT")


def outlook_that_loses_the_250():
    """The connection breaks after the dot; Outlook sends the mail once more."""
    for last in (False, True):
        w = Wire("STARTTLS")
        w.reply(220)
        w.starttls("EHLO DESKTOP-7Q2K1", trust())
        outlook_login(w)
        w.say(f"MAIL FROM: <{USER}>", 250)
        w.say(f"RCPT TO: <{LIST}>", 250)
        if last:
            print(w.data(outlook_mail(LIST, "000001dc5c1b")))
            w.say("QUIT", 221)
            return
        w.say("DATA", 354)
        w.sock.sendall(outlook_mail(LIST, "000001dc5c1b") + b"\r\n.\r\n")
        w.file.close()
        w.sock.close()


def powershell():
    """Send-MailMessage: the user name is on the line of AUTH, in lower case."""
    w = Wire("STARTTLS")
    w.reply(220)
    w.starttls("EHLO DESKTOP-7Q2K1", trust())
    w.say("AUTH login " + b64(USER), 334)
    w.say(b64(PASSWORD), 235)
    w.say(f"MAIL FROM:<{USER}>", 250)
    w.say(f"RCPT TO:<{LIST}>", 250)
    mail = f"""MIME-Version: 1.0
From: {USER}
To: {LIST}
Date: 23 Nov 2026 09:00:00 +0900
Subject: =?utf-8?B?{b64("안녕 {{Name}} powershell")}?=
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

{b64("안녕하세요 {{Name}}님")}
"""
    print(w.data(mail.replace("\n", "\r\n").encode()))
    w.say("QUIT", 221)


def scan(name, more=""):
    """No Date, no Message-ID; a file as most devices send it."""
    return f"""From: scanner@example.com\r
To: office@example.net\r
Subject: {name}\r
{more}MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="scan"\r
\r
--scan\r
Content-Type: text/plain; charset=us-ascii\r
\r
A scan is attached.\r
--scan\r
Content-Type: application/pdf; name="scan.pdf"\r
Content-Transfer-Encoding: base64\r
\r
JVBERi0xLjQK\r
--scan--""".encode()


def scanner():
    """Speaks the SMTP of 1982."""
    w = Wire("PLAIN")
    w.reply(220)
    w.say("HELO scanner1", 250)
    w.say("MAIL FROM:<scanner@example.com>", 250)
    w.say("RCPT TO:<office@example.net>", 250)
    print(w.data(scan("scanner")))
    w.say("QUIT", 221)


def scanner_with_login():
    w = Wire("DEVICES")
    w.reply(220)
    w.say("EHLO [10.0.0.17]", 250)
    outlook_login(w)
    w.say("MAIL FROM:<scanner@example.com>", 250)
    w.say("RCPT TO:<office@example.net>", 250)
    print(w.data(scan("scanner_with_login")))
    w.sock.close()  # and no QUIT


def scanner_with_tls_of_1999():
    w = Wire("OLD")
    w.reply(220)
    w.starttls("EHLO scanner_1", trust(ssl.TLSVersion.TLSv1))
    if w.sock.version() != "TLSv1":
        sys.exit(f"spoke {w.sock.version()}")
    outlook_login(w)
    w.say("MAIL FROM:<scanner@example.com>", 250)
    w.say("RCPT TO:<office@example.net>", 250)
    print(w.data(scan("scanner_with_tls_of_1999")))
    w.say("QUIT", 221)


def sap():
    """Korean without MIME, in lines of 5,000 octets."""
    w = Wire("PLAIN")
    w.reply(220)
    w.say("EHLO sapprd01", 250)
    w.say("MAIL FROM:<erp@example.com>", 250)
    w.say("RCPT TO:<office@example.net>", 250)
    line = "주문 확인 ".encode("euc-kr") * 500
    head = b"From: erp@example.com\r\nTo: office@example.net\r\nSubject: sap\r\n\r\n"
    print(w.data(head + line + b"\r\n.." + line))
    w.say("QUIT", 221)


def exchange():
    """Exchange asks for BDAT and keeps the connection for the next mail."""
    w = Wire("STARTTLS")
    w.reply(220)
    w.starttls("EHLO mail.corp.example.com", trust())
    outlook_login(w)
    for n in range(3):
        mail = scan(f"exchange {n}", f"Message-ID: <exchange{n}@example.com>\r\n") + b"\r\n"
        w.sock.sendall(b"MAIL FROM:<scanner@example.com> SIZE=%d\r\nRCPT TO:<office@example.net>\r\n" % len(mail))
        w.reply(250)
        w.reply(250)
        w.sock.sendall(b"BDAT %d\r\n" % 100 + mail[:100] + b"BDAT %d LAST\r\n" % len(mail[100:]) + mail[100:])
        w.reply(250)
        print(w.reply(250))
    w.say("QUIT", 221)


def eager():
    """Everything at once, the next mails and QUIT behind the last chunk."""
    for port in ("PLAIN", "IMPLICIT"):
        w = Wire(port, trust() if port == "IMPLICIT" else None)
        w.reply(220)
        w.say("EHLO eager.example.com", 250)
        if port == "IMPLICIT":
            w.say("AUTH PLAIN " + b64(f"\0{USER}\0{PASSWORD}"), 235)
        out = b""
        for n in range(3):
            mail = scan(f"eager {port} {n}", f"Message-ID: <eager{port}{n}@example.com>\r\n") + b"\r\n" + b"z" * 9000 + b"\r\n"
            out += b"MAIL FROM:<scanner@example.com>\r\nRCPT TO:<office@example.net>\r\nBDAT %d LAST\r\n" % len(mail) + mail
        w.sock.sendall(out + b"QUIT\r\n")
        for _ in range(3 * 3):
            print(w.reply(250))
        w.reply(221)


globals()[sys.argv[1]]()
