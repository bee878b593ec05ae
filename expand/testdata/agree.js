// Reads the mails whose names stand in a file, one a line, with mailparser and says,
// as JSON, what it saw. Nothing is turned into something else: no HTML into text, no
// text into HTML, no cid: into data:.
const fs = require('fs');
const crypto = require('crypto');
const { simpleParser } = require(process.env.MAILPARSER);

const options = { skipImageLinks: true, skipTextToHtml: true, skipHtmlToText: true };
const boxes = (field) => (field ? field.value.map((b) => [b.name, b.address]) : []);

async function seen(path) {
  const m = await simpleParser(fs.readFileSync(path), options);
  return {
    subject: m.subject || '',
    from: boxes(m.from),
    to: boxes(m.to),
    text: m.text || '',
    html: m.html || '',
    files: m.attachments.filter((a) => a.contentType !== 'text/x-amp-html').map((a) => [ // AMP is a text, but not to mailparser
      a.headers.get('content-type').value, // contentType may be guessed by the name
      a.filename || '',
      crypto.createHash('sha256').update(a.content).digest('hex'),
      a.cid || '',
    ]),
  };
}

async function main() {
  const all = [];
  for (const path of fs.readFileSync(process.argv[2], 'utf8').split('\n').filter((p) => p)) all.push(await seen(path));
  process.stdout.write(JSON.stringify(all));
}

main().catch((e) => { console.error(e); process.exit(1); });
