package expand_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"postern/expand"
)

// Octets of base64 go in threes, so what stands behind a value depends on its
// length: every remainder, and stretches shorter and longer than a line.
func TestRule42KoreanTextIsSentAsBase64WhateverTheLengthOfAValue(t *testing.T) {
	for _, stretch := range []int{0, 1, 10, 18, 19, 20, 21, 39, 40, 500} {
		korean := strings.Repeat("가", stretch)
		for _, end := range []string{"", "끝\n", korean + "a"} {
			body := "새 소식입니다, " + korean + "{{Name|x}}" + korean + ".{{Name|x}}{{Point|y}}" + korean + end
			raw := "From: a@example.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n" + body +
				"\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/html; charset=utf-8\n\n" + body + "\n--c\nContent-Type: text/plain\n\nx\n--c--" + "\n--b\nContent-Type: text/plain; charset=utf-8\n\n{{Unsubscribe}}\n--b--\n"
			c := compile(t, raw)
			for n := range 120 {
				name := strings.Repeat("n", n) + "민"
				got := c.Render(copyTo(c, "a@b.example", map[string]string{"Name": name}), "T").Bytes()
				checkWire(t, got)
				want(t, "texts in base64", fmt.Sprint(bytes.Count(got, []byte("Encoding: base64\r\n"))), "2")
				r := receive(t, got)
				value := strings.NewReplacer("{{Name|x}}", name, "{{Point|y}}", "y", "\n", "\r\n").Replace(body)
				want(t, "html", r.html, value)
				checkBase64Lines(t, got)
			}
		}
	}
}

// checkBase64Lines holds that every line can be decoded by itself (some readers do
// so), and that only the last of a part is padded.
func checkBase64Lines(t *testing.T, raw []byte) {
	t.Helper()
	for _, part := range strings.Split(strings.ReplaceAll(string(raw), "--c", "--b"), "--b")[1:] {
		head, body, _ := strings.Cut(part, "\r\n\r\n")
		if !strings.Contains(head, "base64") {
			continue
		}
		all := strings.Split(strings.TrimSpace(body), "\r\n")
		for i, line := range all {
			if _, err := base64.StdEncoding.DecodeString(line); err != nil || len(line) > 76 || i < len(all)-1 && strings.Contains(line, "=") {
				t.Fatalf("line %d of %d: %q: %v", i, len(all), line, err)
			}
		}
	}
}

func TestTheShorterEncodingIsTaken(t *testing.T) {
	for body, coding := range map[string]string{
		"Dear {{Name}}, our new things are here. 안녕! {{Unsubscribe}}": "quoted-printable",
		"{{Name}}님, 새 소식입니다. {{Unsubscribe}}":                         "base64",
		"새 소식입니다.":        "base64",
		"{{Unsubscribe}}": "quoted-printable",
	} {
		in := input(t, textMail(body))
		in.List.Language = "ko"
		if body == "Dear {{Name}}, our new things are here. 안녕! {{Unsubscribe}}" {
			in.List.Language = "en"
		}
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		wantIn(t, body, string(c.Render(copyTo(c, "a@b.example", nil), "T").Bytes()), "Content-Transfer-Encoding: "+coding)
	}
}

// TestWhatAnOlderVersionStoredRenders: testdata/stored/outlook.v1 and its copy were
// written by the program when it knew quoted-printable only.
func TestWhatAnOlderVersionStoredRenders(t *testing.T) {
	stored, err := os.ReadFile("testdata/stored/outlook.v1")
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := os.ReadFile("testdata/stored/outlook.v1.copy.eml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := expand.Load(stored)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": `Kim, "Min" 민 <b>&`, "Point": "1,200"}), "TOKEN_7").Bytes()
	want(t, "copy", string(got), string(wanted))
}
