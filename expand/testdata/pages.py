"""Reads mails with Python's email package and says, as JSON, the HTML of each as a
mail reader shows it: one document for each HTML part, the pictures in it."""
import base64
import email
import email.policy
import json
import re
import sys

# What mail programs mean by these names, and mail readers understand.
MEANT = dict.fromkeys(["ks_c_5601-1987", "ks_c_5601", "euc-kr", "euc_kr", "ksc5601", "korean"], "cp949")
MEANT.update(dict.fromkeys(["iso-8859-1", "latin1", "us-ascii"], "cp1252"))


def text(part):
    octets = part.get_payload(decode=True)
    said = re.search(rb"charset\s*=\s*[\"']?([^\s;\"'>]+)", octets[:4096], re.I)
    charset = part.get_content_charset() or (said.group(1).decode("ascii").lower() if said else "utf-8")
    return octets.decode(MEANT.get(charset, charset))


def leaves(part):
    """The parts of the mail itself, not those of a mail that it forwards."""
    if part.get_content_maintype() == "multipart":
        for child in part.iter_parts():
            yield from leaves(child)
    else:
        yield part


def pages(path):
    with open(path, "rb") as f:
        m = email.message_from_binary_file(f, policy=email.policy.default)
    pictures, found = {}, []
    for part in leaves(m):
        if part["content-id"]:
            data = base64.b64encode(part.get_payload(decode=True)).decode("ascii")
            pictures[str(part["content-id"]).strip("<> ")] = "data:%s;base64,%s" % (part.get_content_type(), data)
        if part.get_content_type() == "text/html" and not part.is_attachment():
            found.append(text(part))
    return [re.sub(r"cid:([^\"'\s>)]+)", lambda c: pictures.get(c.group(1), c.group(0)), html) for html in found]


print(json.dumps([pages(p) for p in sys.argv[1:]]))
