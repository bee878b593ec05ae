// Reads mails with mailparser and says, as JSON, what it saw.
const fs = require('fs');
const { simpleParser } = require(process.env.MAILPARSER);

async function main() {
  const all = [];
  for (const path of fs.readFileSync(process.argv[2], 'utf8').split('\n').filter((p) => p)) {
    const m = await simpleParser(fs.readFileSync(path), { keepDeliveryStatus: true });
    all.push({
      subject: m.subject || '',
      text: m.text || '',
      names: m.headerLines.map((h) => h.key),
      files: m.attachments.map((a) => a.contentType),
      id: m.messageId || '',
    });
  }
  process.stdout.write(JSON.stringify(all));
}

main().catch((e) => { console.error(e); process.exit(1); });
