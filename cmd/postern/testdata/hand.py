# Usage: hand.py PORT FILE RECIPIENT...: gives a mail to a mail server, with
# SMTPUTF8 when an address needs it.
import smtplib
import sys

port, name, to = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
with open(name, "rb") as f, smtplib.SMTP("127.0.0.1", port) as s:
    s.ehlo()
    s.command_encoding = "utf-8"
    options = [] if all(a.isascii() for a in to) else ["SMTPUTF8", "BODY=8BITMIME"]
    refused = s.sendmail("erp@example.com", to, f.read(), mail_options=options)
    if refused:
        sys.exit(str(refused))
