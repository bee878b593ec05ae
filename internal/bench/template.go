package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/expand"
	"postern/mail"
)

// template compares making a copy of a mail in a template with making one of the same
// mail whose author has written all of it: the template is put in once, when the mail
// is compiled, so a copy costs the same.
func (b *bench) template() error {
	for _, korean := range []bool{false, true} {
		language := "English"
		if korean {
			language = "Korean"
		}
		if err := b.templateLetter(letter(korean, 20), language); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) templateLetter(raw []byte, language string) error {
	const runs = 400
	fields, err := expand.NewFields(map[string]expand.FieldDef{"Name": {}}, nil)
	if err != nil {
		return err
	}
	in := expand.Input{ID: mail.NewID(time.Now()), Raw: raw, Hostname: "mail.example.com", BaseURL: "https://mail.example.com", Mailto: "u@lists.example.com",
		List: mail.ListPolicy{ID: "all", Address: "all@lists.example.com", Name: "All", Language: "en"}, Date: time.Now(), Vocabulary: fields}
	within := in
	within.Raw, within.Template = halves(raw)
	var plains, wraps []float64
	plain, err := expand.Compile(in)
	if err != nil {
		return err
	}
	start := time.Now()
	wrapped, err := expand.Compile(within)
	if err != nil {
		return err
	}
	compiled := time.Since(start).Seconds() * 1000
	cp := &mail.Copy{Message: in.ID, To: "min@example.net", Values: []string{"김민수"}}
	var out bytes.Buffer
	size := map[*expand.Compiled]int{}
	each := func(c *expand.Compiled) float64 {
		start := time.Now()
		for range runs {
			out.Reset()
			_, _ = c.Render(cp, strings.Repeat("t", 80)).WriteTo(&out)
		}
		size[c] = out.Len()
		return time.Since(start).Seconds() * 1e6 / runs
	}
	for range 20 * b.rounds { // short ones, one beside the other, as the machine is never twice the same
		plains, wraps = append(plains, each(plain)), append(wraps, each(wrapped))
	}
	p, w := slices.Min(plains), slices.Min(wraps) // of microseconds the others measure what else the machine does
	row(fmt.Sprintf("a copy in %s in a template of half its words (%.1f KB, compiled in %.1f ms), beside one without (%.1f KB): rendered and written to memory", language, float64(size[wrapped])/1000, compiled, float64(size[plain])/1000),
		fmt.Sprintf("%.1f µs", w), fmt.Sprintf("%.1f µs", p), fmt.Sprintf("%.2f x", w/p), "<= 1.05 x")
	return nil
}

// halves gives a letter with the second half of its words, and a template with the
// first.
func halves(raw []byte) ([]byte, *expand.Template) {
	s := string(raw)
	cut := func(from, to string) (first string) {
		_, rest, _ := strings.Cut(s, from)
		words, _, _ := strings.Cut(rest, to)
		lines := strings.SplitAfter(words, "\r\n")
		first = strings.Join(lines[:len(lines)/2], "")
		s = strings.Replace(s, words, words[len(first):], 1)
		return first
	}
	page := cut("<html><body>", "</body></html>")
	text := cut("text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", "\r\n--alt")
	return []byte(s), &expand.Template{ID: "half", HTML: "<html><body>" + page + "{{Body}}</body></html>", Text: text + "{{Body}}"}
}
