// Usage: bounce.js DIR, with MAILPARSER: what each notice in DIR says to mailparser,
// as JSON of the same form as bounce.py's.
const fs = require('fs');
const path = require('path');
const { simpleParser } = require(process.env.MAILPARSER);

// fields of a header, unfolded.
function fields(text) {
  const all = {};
  for (const line of text.replace(/\r?\n[ \t]/g, ' ').split(/\r?\n/)) {
    const i = line.indexOf(':');
    if (i > 0) all[line.slice(0, i).toLowerCase()] = line.slice(i + 1).trim();
  }
  return all;
}

async function main() {
  const notices = [];
  for (const entry of fs.readdirSync(process.argv[2]).sort()) {
    const m = await simpleParser(fs.readFileSync(path.join(process.argv[2], entry)), { keepDeliveryStatus: true });
    const type = m.headers.get('content-type');
    const status = m.attachments.find((a) => a.contentType === 'message/delivery-status').content.toString();
    const groups = status.split(/\r?\n\r?\n/).filter((g) => g.trim()).map(fields);
    notices.push({
      kind: type.value,
      report: type.params['report-type'],
      subject: m.subject,
      to: m.to.text,
      auto: m.headers.get('auto-submitted'),
      answers: m.inReplyTo || '',
      text: m.text,
      message: groups[0],
      recipients: groups.slice(1),
    });
  }
  process.stdout.write(JSON.stringify(notices));
}

main().catch((e) => { console.error(e); process.exit(1); });
