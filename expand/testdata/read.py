"""Reads mails with Python's email package and says, as JSON, what it saw."""
import email
import email.policy
import hashlib
import json
import sys


def seen(path):
    with open(path, "rb") as f:
        m = email.message_from_binary_file(f, policy=email.policy.default)
    out = {"to": [], "subject": str(m["subject"]), "text": "", "html": "", "files": [], "defects": []}
    if m["to"] is not None:
        out["to"] = [[a.display_name, a.addr_spec] for a in m["to"].addresses]
    for part in m.walk():
        out["defects"] += [repr(d) for d in part.defects]
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and not part.get_filename():
            if len(sys.argv) > 2 and sys.argv[1] == "--texts":
                out["text" if kind == "text/plain" else "html"] += part.get_content()
        else:
            out["files"].append([kind, part["content-id"] or "", hashlib.sha256(part.get_payload(decode=True)).hexdigest()])
    return out


print(json.dumps([seen(p) for p in sys.argv[1:] if not p.startswith("--")]))
