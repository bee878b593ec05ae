// Submits five newsletters with a picture and a file, over pooled connections.
const fs = require("fs");
const nodemailer = require(process.env.NODEMAILER);

const transport = nodemailer.createTransport({
  pool: true, maxConnections: 2, host: "localhost", port: Number(process.env.PORT), secure: true,
  auth: { user: "marketer@example.com", pass: process.env.PASSWORD }, tls: { ca: fs.readFileSync("ca.pem") },
});
const mail = (n) => transport.sendMail({
  from: "Marketer <marketer@example.com>", to: "promo@lists.example.com", subject: `소식 ${n} {{Name}}`,
  html: '<p>{{Name}}님 <img src="cid:logo@shop"></p>', text: "{{Name}}님",
  attachments: [
    { filename: "logo.png", cid: "logo@shop", content: Buffer.from("89504e470d0a1a0a00ff", "hex") },
    { filename: "가격표.pdf", content: Buffer.alloc(200000, "%PDF ") },
  ],
});
Promise.all([0, 1, 2, 3, 4].map(mail)).then(() => transport.close()).catch((e) => { console.error(e); process.exit(1); });
