"""Reads mails with Python's email package and says, as JSON, what it saw."""
import email
import email.policy
import json
import sys


def seen(path):
    with open(path, "rb") as f:
        m = email.message_from_binary_file(f, policy=email.policy.default)
    top = m.get_payload() if m.get_content_maintype() == "multipart" else [m]
    out = {"subject": m["subject"], "kind": m.get_content_type(), "report": m.get_param("report-type") or "",
           "names": m.keys(), "auto": str(m["auto-submitted"]), "answers": str(m["in-reply-to"] or ""), "to": str(m["to"]), "from": str(m["from"]),
           "id": m["message-id"], "parts": [p.get_content_type() for p in top],
           "text": top[0].get_content().replace("\r\n", "\n"), "groups": [], "headers": [], "defects": []}
    for p in [m] + top:
        out["defects"] += [repr(d) for d in p.defects]
        for name, value in p.items():
            out["defects"] += [name + ": " + repr(d) for d in value.defects]
        if p.get_content_type() == "message/delivery-status":
            # Python makes one message of each group of fields
            out["groups"] = [[[k, str(v)] for k, v in g.items()] for g in p.get_payload()]
            for g in p.get_payload():
                out["defects"] += [repr(d) for d in g.defects]
                if g.get_payload():
                    out["defects"].append("a group has a body: " + repr(g.get_payload()))
        if p.get_content_type() == "text/rfc822-headers":
            text = p.get_payload(decode=True)
            h = email.message_from_bytes(text, policy=email.policy.compat32)
            out["headers"] = h.keys()
            if h.get_payload():
                out["defects"].append("the header has a body: " + repr(h.get_payload()))
    return out


with open(sys.argv[1]) as f:
    print(json.dumps([seen(p) for p in f.read().split()]))
