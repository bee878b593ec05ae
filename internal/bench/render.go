package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"time"

	"postern/expand"
	"postern/mail"
)

// letter is a mail as Outlook writes it: text and HTML of about 40 KB in UTF-8, and
// a file of 60 KB as it stands in the mail. Every nth paragraph has a placeholder.
func letter(korean bool, nth int) []byte {
	sentence := "welcome to the winter collection, which is warmer than the last and lighter than the one before."
	if korean {
		sentence = "올겨울 새 옷을 소개해 드립니다. 지난해보다 따뜻하고 가볍습니다. 가까운 가게에서 입어 보세요."
	}
	var text, html strings.Builder
	for i := 0; html.Len() < 25_000; i++ {
		name, plain := "{{na<span class=SpellE>me</span>|Customer}}", "{{Name|Customer}}"
		if i%nth > 0 {
			name, plain = "Customer", "Customer"
		}
		fmt.Fprintf(&html, "<p class=MsoNormal><span lang=EN-US style='font-size:10.0pt;font-family:\"Malgun Gothic\"'>%s, </span><span>%s</span><o:p></o:p></p>\r\n", name, sentence)
		fmt.Fprintf(&text, "%s, %s\r\n", plain, sentence)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "From: Marketer <marketer@example.com>\r\nTo: all@lists.example.com\r\nSubject: {{Name|Customer}}, the winter collection\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=\"mix\"\r\n\r\n--mix\r\nContent-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n"+
		"--alt\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s\r\n"+
		"--alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<html><body>%s</body></html>\r\n--alt--\r\n"+
		"--mix\r\nContent-Type: application/pdf; name=\"look.pdf\"\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n", text.String(), html.String())
	rng, line := rand.New(rand.NewPCG(1, 1)), make([]byte, 57)
	for n := 0; n < 60_000; n += 78 {
		for i := range line {
			line[i] = byte(rng.Uint32())
		}
		b.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	b.WriteString("--mix--\r\n")
	return []byte(b.String())
}

// render compares making a copy with copying its octets, compiling with a number,
// and signing what is rendered with signing alone.
func (b *bench) render() error {
	for _, nth := range []int{20, 1} {
		for _, korean := range []bool{false, true} {
			language := "English"
			if korean {
				language = "Korean"
			}
			if err := b.renderLetter(letter(korean, nth), language); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) renderLetter(raw []byte, language string) error {
	const runs = 4000
	token := strings.Repeat("t", 80)
	fields, err := expand.NewFields(map[string]expand.FieldDef{"Name": {}}, nil)
	if err != nil {
		return err
	}
	in := expand.Input{ID: mail.NewID(time.Now()), Raw: raw, Hostname: "mail.example.com", BaseURL: "https://mail.example.com", Mailto: "u@lists.example.com",
		List: mail.ListPolicy{ID: "all", Address: "all@lists.example.com", Name: "All", Language: "en"}, Date: time.Now(), Vocabulary: fields}
	keys, err := b.keys()
	if err != nil {
		return err
	}
	var compiles, writes, copies, renders, signeds, signs []float64
	var size, made float64
	for range b.rounds {
		start := time.Now()
		c, err := expand.Compile(in)
		if err != nil {
			return err
		}
		compiles = append(compiles, time.Since(start).Seconds()*1000)
		cp := &mail.Copy{Message: in.ID, To: "min@example.net", Values: []string{"김민수"}}
		copied := c.Render(cp, token)
		octets, out := copied.Bytes(), bytes.NewBuffer(make([]byte, 0, copied.Size()+1000))
		size = float64(len(octets))
		each := func(n int, f func()) float64 {
			start := time.Now()
			for range n {
				f()
			}
			return time.Since(start).Seconds() * 1e6 / float64(n)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		renders = append(renders, each(runs, func() { copied = c.Render(cp, token) }))
		runtime.ReadMemStats(&after)
		made = float64(after.TotalAlloc-before.TotalAlloc) / runs
		copies = append(copies, each(runs, func() { out.Reset(); out.Write(octets) }))
		writes = append(writes, each(runs, func() {
			out.Reset()
			copied := c.Render(cp, token)
			out.Write(copied.Header)
			out.WriteString("\r\n")
			for _, segment := range copied.Body {
				out.Write(segment)
			}
		}))
		signs = append(signs, each(200, func() { _, err = keys.Sign(copied, "marketer@example.com") }))
		signeds = append(signeds, each(200, func() { _, err = keys.Sign(c.Render(cp, token), "marketer@example.com") }))
		if err != nil {
			return err
		}
	}
	w, c := median(writes), median(copies)
	row(fmt.Sprintf("a copy in %s of %.0f KB, 60 KB of it a file, with %d placeholders: rendered and written to memory, beside copying its octets", language, size/1000, bytes.Count(raw, []byte("{{"))),
		fmt.Sprintf("%.0f µs", w), fmt.Sprintf("%.0f µs", c), fmt.Sprintf("%.1f x", w/c), "<= 4 x")
	row("the same, rendered alone; octets allocated", fmt.Sprintf("%.0f µs, %.1f KB", median(renders), made/1000), "", "", "not the body's size")
	row("the same, rendered and signed, beside signing alone", fmt.Sprintf("%.0f µs", median(signeds)), fmt.Sprintf("%.0f µs", median(signs)),
		fmt.Sprintf("%.2f", median(signs)/median(signeds)), ">= 0.9")
	row("the same, compiled", fmt.Sprintf("%.1f ms", median(compiles)), "", "", "<= 20 ms")
	return nil
}
