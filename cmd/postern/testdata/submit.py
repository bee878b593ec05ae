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
with smtplib.SMTP("localhost", int(os.environ["PORT"])) as s:
    mechanism = os.environ["MECHANISM"]
    if mechanism:
        s.starttls(context=ssl.create_default_context(cafile="cert.pem"))
        s.ehlo()
        s.user, s.password = "marketer@example.com", os.environ["PASSWORD"]
        s.auth(mechanism, getattr(s, "auth_" + mechanism.lower()))
    s.send_message(mail)
