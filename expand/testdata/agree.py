"""Reads the mails whose names stand in a file, one a line, with Python's email
package and says, as JSON, what a reader sees: texts, what the HTML shows and links
to, attachments, and where a placeholder is left."""
import email
import email.header
import email.policy
import hashlib
import html.parser
import json
import sys

# Clients write code page 949 under many names, and Python's codecs of these names
# lack its later half; what they call Latin-1 is the code page of Windows.
KOREAN = {"euc-kr", "euckr", "ks_c_5601-1987", "ks_c_5601-1989", "ks_c_5601", "ksc5601", "korean"}
BLOCKS = set("address article blockquote body br caption center dd div dl dt fieldset footer form h1 h2 h3 h4 h5 h6 head header hr "
             "html li main nav ol option p pre section table tbody td textarea tfoot th thead title tr ul".split())
ATTRIBUTES = ("href", "src", "alt", "title")
TEXTS = ("text/plain", "text/html", "text/x-amp-html")
BRACES = ("{{", "｛｛", "%7b%7b")


class Visible(html.parser.HTMLParser):
    """What an HTML text shows, and the attributes in which a placeholder may stand."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text, self.attributes, self.left, self.hidden = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag in ("script", "style"):
            self.hidden = tag

    def handle_startendtag(self, tag, attrs):
        self.attributes += [[tag, n, v or ""] for n, v in attrs if n in ATTRIBUTES]
        # originalsrc is a note of Outlook's Safe Links to itself.
        self.left += ["%s %s=%s" % (tag, n, v) for n, v in attrs if n != "originalsrc" and braced(v or "")]
        if tag in BLOCKS:
            self.text.append("\n")

    def handle_endtag(self, tag):
        if tag == self.hidden:
            self.hidden = ""
        if tag in BLOCKS:
            self.text.append("\n")

    def handle_data(self, data):
        if not self.hidden:
            self.text.append(data)
            self.left += [data] if braced(data) else []

    def handle_comment(self, data):
        self.left += [data] if data.startswith("[if ") and braced(data) else []


def braced(text):
    return any(b in text.lower() for b in BRACES)


def decoded(part):
    octets = part.get_payload(decode=True)
    charset = (part.get_content_charset() or "us-ascii").lower()
    if charset in ("us-ascii", "utf-8"):
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            charset = "euc-kr"  # 8-bit text that does not say what it is
    charset = {"iso-8859-1": "cp1252"}.get(charset, "cp949" if charset in KOREAN else charset)
    return octets.decode(charset, "replace")


def unflowed(text, delsp):
    """RFC 3676 §4, but for quotations: their marks stay where lines are joined, as
    mailparser leaves them."""
    rows = []
    for row in text.split("\n"):
        if rows and rows[-1].endswith(" ") and rows[-1] != "-- ":
            rows[-1] = (rows[-1][:-1] if delsp else rows[-1]) + row
        else:
            rows.append(row)
    return "\n".join(row[1:] if row.startswith(" ") else row for row in rows)


def leaves(part):
    if part.get_content_maintype() == "multipart":
        for child in part.iter_parts():
            yield from leaves(child)
    else:
        yield part


def octets(part):
    if part.get_content_type() == "message/rfc822":
        return part.get_payload(0).as_bytes(policy=email.policy.compat32.clone(linesep="\r\n", mangle_from_=False))
    return part.get_payload(decode=True)


def addresses(header):
    """Names and addresses; mailparser shows no name that is the address again."""
    both = [[a.display_name, a.addr_spec] for a in header.addresses] if header is not None else []
    return [["" if name == spec else name, spec] for name, spec in both]


def read(path):
    with open(path, "rb") as f:
        raw = f.read()
    head, gap, body = raw.partition(b"\r\n\r\n")
    try:
        head = head.decode("utf-8")
    except UnicodeDecodeError:  # old programs write their own code page there
        head = head.decode("cp949")
    return email.message_from_string(head + (gap + body).decode("ascii", "surrogateescape"), policy=email.policy.default)


def subject(m):
    """The decoded Subject; where encoded-words cut characters they are joined first,
    as all mail clients do and Python does not."""
    text = str(m["subject"])
    if "\ufffd" not in text:
        return text
    out, charset = [], ""
    for octets, name in email.header.decode_header(dict(m.raw_items())["Subject"]):
        out.append(octets if isinstance(octets, bytes) else octets.encode("ascii"))
        charset = name or charset
    return b"".join(out).decode("cp949" if charset in KOREAN else charset)


def seen(path):
    m = read(path)
    out = {"subject": subject(m), "from": addresses(m["from"]), "to": addresses(m["to"]),
           "texts": [], "htmls": [], "visible": [], "attributes": [], "left": [], "files": []}
    out["defects"] = [repr(d) for p in m.walk() for d in p.defects] + [repr(d) for h in m.values() for d in h.defects]
    for part in leaves(m):
        kind = part.get_content_type()
        if kind not in TEXTS or part.get_filename() or part.get_content_disposition() == "attachment":
            cid = (part["content-id"] or "").strip().strip("<>")
            out["files"].append([kind, part.get_filename() or "", hashlib.sha256(octets(part)).hexdigest(), cid])
            continue
        text = decoded(part).replace("\r\n", "\n")
        if kind != "text/plain":
            v = Visible()
            v.feed(text)
            v.close()
            out["htmls"] += [text] if kind == "text/html" else []
            out["visible"].append("".join(v.text))
            out["attributes"].append(v.attributes)
            out["left"] += v.left
        else:
            if (part.get_param("format") or "").lower() == "flowed":
                text = unflowed(text, (part.get_param("delsp") or "").lower() == "yes")
            out["texts"].append(text)
            out["left"] += [text] if braced(text) else []
    return out


with open(sys.argv[1], encoding="utf-8") as names:
    json.dump([seen(p) for p in names.read().split("\n") if p], sys.stdout)
