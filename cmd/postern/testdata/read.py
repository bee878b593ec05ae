# Usage: read.py NAME RECORD DIR: what each mail in DIR says, as JSON, in the order
# of their names. dkimpy verifies with RECORD as the TXT record at NAME; Python's
# email package reads. Neither made the mails.
import email
import email.policy
import json
import os
import sys

import dkim

name, record, folder = sys.argv[1].encode(), sys.argv[2].encode(), sys.argv[3]


def txt(asked, timeout=5):
    return record if asked.rstrip(b".") == name else b""


def verified(raw):
    try:
        return dkim.verify(raw, dnsfunc=txt)
    except dkim.DKIMException as e:
        print(e, file=sys.stderr)
        return False


def content(part):
    return part.get_content() if part is not None else ""


mails = []
for entry in sorted(os.listdir(folder)):
    with open(os.path.join(folder, entry), "rb") as f:
        raw = f.read()
    m = email.message_from_bytes(raw, policy=email.policy.default)
    mails.append({
        "dkim": verified(raw),
        "defects": [str(d) for p in m.walk() for d in p.defects] + [str(d) for h in m.values() for d in h.defects],
        "to": [a.addr_spec for h in m.get_all("To", []) for a in h.addresses],
        "from": m["From"].addresses[0].addr_spec,
        "subject": str(m["Subject"]),
        "list_id": str(m.get("List-Id", "")),
        "unsubscribe": str(m.get("List-Unsubscribe", "")),
        "one_click": str(m.get("List-Unsubscribe-Post", "")),
        "message_id": str(m["Message-ID"]),
        "text": content(m.get_body(("plain",))),
        "html": content(m.get_body(("html",))),
    })
json.dump(mails, sys.stdout)
