# Submits one mail of smtplib's and email's own making to the list.
import os
import smtplib
import ssl
from email.message import EmailMessage

mail = EmailMessage()
mail["From"] = "Marketer <marketer@example.com>"
mail["To"] = "promo@lists.example.com"
mail["Subject"] = os.environ["SUBJECT"]
mail.set_content("Dear {{Name}},\n.\n안녕하세요\n")
mail.add_alternative("<p>Dear <b>{{Name}}</b></p>", subtype="html")
port, tls, mechanism = int(os.environ["PORT"]), os.environ["TLS"], os.environ["MECHANISM"]
trust = ssl.create_default_context(cafile="ca.pem")
with smtplib.SMTP_SSL("localhost", port, context=trust) if tls == "implicit" else smtplib.SMTP("localhost", port) as s:
    if tls == "starttls":
        s.starttls(context=trust)
    s.ehlo()
    if mechanism:
        s.user, s.password = "marketer@example.com", os.environ["PASSWORD"]
        s.auth(mechanism, getattr(s, "auth_" + mechanism.lower()))
    s.send_message(mail)
