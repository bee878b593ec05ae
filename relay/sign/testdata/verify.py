# Usage: verify.py NAME RECORD FILE...: prints pass or fail for each mail, with
# RECORD as the TXT record at NAME. dkimpy did not make the signatures.
import sys
import dkim

name, record = sys.argv[1].encode(), sys.argv[2].encode()


def txt(asked, timeout=5):
    return record if asked.rstrip(b".") == name else b""


for path in sys.argv[3:]:
    with open(path, "rb") as f:
        try:
            print("pass" if dkim.verify(f.read(), dnsfunc=txt) else "fail")
        except dkim.DKIMException as e:
            print("fail", e, file=sys.stderr)
            print("fail")
