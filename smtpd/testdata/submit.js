// Submits by PLAIN and LOGIN, over STARTTLS and implicit TLS.
const fs = require("fs");
const nodemailer = require(process.env.NODEMAILER);

async function main() {
  for (const method of ["PLAIN", "LOGIN"]) {
    for (const secure of [false, true]) {
      const t = nodemailer.createTransport({
        host: "localhost", port: Number(secure ? process.env.IMPLICIT : process.env.STARTTLS), secure, requireTLS: true, authMethod: method,
        auth: { user: "relay@example.com", pass: "battery staple" }, tls: { ca: fs.readFileSync(process.env.CERT) },
      });
      const info = await t.sendMail({ envelope: { from: "a@example.com", to: ["b@example.net", "c@example.net"] }, from: "a@example.com",
        to: "b@example.net", subject: "x", text: "from nodemailer\n.\nend\n" });
      if (!/^250 2\.0\.0 queued as [0-9A-Z]{26}$/.test(info.response)) throw new Error(info.response);
      t.close();
    }
  }
}

main().catch((e) => { console.error(e); process.exit(1); });
