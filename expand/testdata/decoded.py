"""Reads pairs of mails, each before and after it was encoded, with Python's email
package, and says as JSON where their decoded content differs."""
import email
import email.policy
import json
import sys


def read(path, policy):
    with open(path, "rb") as f:  # message_from_binary_file would change the line ends
        return email.message_from_bytes(f.read(), policy=policy)


def parts(path):
    m = read(path, email.policy.compat32)
    out = []
    for part in m.walk():
        # A multipart's type stays as well.
        said = [part.get_content_type(), part.get_params() if part.is_multipart() else part.get_param("format"), part.get("Content-ID")]
        out.append(said + [None if part.is_multipart() else part.get_payload(decode=True).hex()])
    return out


def header(path):
    m = read(path, email.policy.default)
    return [str(m["subject"]), [[a.display_name, a.addr_spec] for a in m["from"].addresses]] + [p.get_filename() for p in m.walk()]


def defects(path):
    m = read(path, email.policy.default)
    return [repr(d) for p in m.walk() for d in p.defects] + [repr(d) for h in m.values() for d in h.defects]


before, after = sys.argv[1:]
found = defects(after)
if parts(before) != parts(after):
    found.append("%r became %r" % (parts(before), parts(after)))
json.dump({"problems": found, "header": header(after)}, sys.stdout)
