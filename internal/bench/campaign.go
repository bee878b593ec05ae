package main

import (
	"encoding/base64"
	"math/rand/v2"
	"strings"
)

// campaign is a mail of about so many KB: text and Word-like HTML with {{Name}}
// in Subject and both parts, and the rest a picture, as campaigns are.
func campaign(kb int) []byte {
	var b strings.Builder
	paragraph := "<p class=3DMsoNormal><span lang=3DKO>=EC=95=88=EB=85=95=ED=95=98=EC=84=B8=EC=9A=94, welcome to the winter collection.</span><o:p></o:p></p>\r\n"
	b.WriteString("From: Marketer <marketer@example.com>\r\nTo: all@lists.example.com\r\n" +
		"Subject: {{Name|Customer}}, the winter collection\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/related; boundary=\"rel\"\r\n\r\n" +
		"--rel\r\nContent-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n" +
		"--alt\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello {{Name|Customer}},\r\n\r\nthe winter collection is here.\r\n" +
		"--alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
		"<html><body><p>Hello {{Name|Customer}},</p>\r\n")
	for range 4 + kb/4 {
		b.WriteString(paragraph)
	}
	b.WriteString("<img src=3D\"cid:p@x\"></body></html>\r\n--alt--\r\n" +
		"--rel\r\nContent-Type: image/png\r\nContent-ID: <p@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	rng := rand.New(rand.NewPCG(1, 1))
	line := make([]byte, 57)
	for b.Len() < kb*1000-100 {
		for i := range line {
			line[i] = byte(rng.Uint32())
		}
		b.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	b.WriteString("--rel--\r\n")
	return []byte(b.String())
}
