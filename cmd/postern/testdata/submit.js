// Submits one mail of nodemailer's own making to the list.
const fs = require("fs");
const nodemailer = require(process.env.NODEMAILER);

const { PORT, TLS, MECHANISM, PASSWORD, SUBJECT } = process.env;
const options = { host: "localhost", port: Number(PORT), secure: TLS === "implicit", ignoreTLS: TLS === "none", requireTLS: TLS === "starttls" };
if (TLS !== "none") options.tls = { ca: fs.readFileSync("ca.pem") };
if (MECHANISM) Object.assign(options, { authMethod: MECHANISM, auth: { user: "marketer@example.com", pass: PASSWORD } });
nodemailer.createTransport(options).sendMail({
  from: "Marketer <marketer@example.com>", to: "promo@lists.example.com", subject: SUBJECT,
  text: "Dear {{Name}},\n.\n안녕하세요\n", html: "<p>Dear <b>{{Name}}</b></p>",
}).catch((e) => { console.error(e); process.exit(1); });
