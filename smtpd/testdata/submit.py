"""Submits by PLAIN and LOGIN, with and without initial response, over STARTTLS and implicit TLS."""
import os, smtplib, ssl

context = ssl.create_default_context(cafile=os.environ["CERT"])
mail = "From: a@example.com\r\nSubject: x\r\n\r\nfrom smtplib 민\r\n.\r\nend\r\n".encode()

for mechanism in ("PLAIN", "LOGIN"):
    for initial in (True, False):
        for tls in ("STARTTLS", "IMPLICIT"):
            if tls == "IMPLICIT":
                s = smtplib.SMTP_SSL("localhost", int(os.environ[tls]), context=context)
            else:
                s = smtplib.SMTP("localhost", int(os.environ[tls]))
                s.starttls(context=context)
            s.ehlo()
            s.user, s.password = "relay@example.com", "battery staple"
            code, _ = s.auth(mechanism, getattr(s, "auth_" + mechanism.lower()), initial_response_ok=initial)
            assert code == 235, code
            refused = s.sendmail("a@example.com", ["b@example.net", "c@example.net"], mail)
            assert not refused, refused
            s.quit()
