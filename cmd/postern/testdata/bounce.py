# Usage: bounce.py DIR: what each notice in DIR says to Python's email package, as
# JSON, in the order of their names.
import email
import email.policy
import json
import os
import sys

notices = []
for entry in sorted(os.listdir(sys.argv[1])):
    with open(os.path.join(sys.argv[1], entry), "rb") as f:
        m = email.message_from_binary_file(f, policy=email.policy.default)
    parts = list(m.iter_parts())
    status = next(p for p in parts if p.get_content_type() == "message/delivery-status")
    groups = [{k.lower(): str(v) for k, v in g.items()} for g in status.get_payload()]
    original = next((p.get_payload(decode=True).decode() for p in parts if p.get_content_type() == "text/rfc822-headers"), "")
    notices.append({
        "kind": m.get_content_type(),
        "report": m["Content-Type"].params["report-type"],
        "subject": str(m["Subject"]),
        "to": str(m["To"]),
        "auto": str(m["Auto-Submitted"]),
        "answers": str(m.get("In-Reply-To", "")),
        "parts": [p.get_content_type() for p in parts],
        "text": parts[0].get_content().replace("\r\n", "\n"),
        "message": groups[0],
        "recipients": groups[1:],
        "original": original,
        "defects": [repr(d) for p in m.walk() for d in p.defects],
    })
json.dump(notices, sys.stdout)
