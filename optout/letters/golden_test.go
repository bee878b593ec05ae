package letters_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/optout/letters"
)

var update = flag.Bool("update", false, "write the golden letters anew")

// fixture is a letter with its name.
type fixture struct {
	name string
	mail []byte
}

func seoul() *time.Location { return time.FixedZone("KST", 9*60*60) }

var at = time.Date(2026, 11, 28, 9, 30, 0, 0, seoul())

// shop is what a Korean shop shows.
func shop() letters.Data {
	return letters.Data{Company: "예시패션 주식회사", Address: "서울특별시 중구 세종대로 110", Phone: "02-120", Contact: "help@shop.example",
		Email: "minji.kim@example.net", Masked: "m•••@example.net", Date: "2026년 11월 28일", List: "특가 소식",
		Left:        []letters.Choice{{Name: "특가 소식", Date: "2026년 11월 28일", Time: "09:15"}, {Name: "신상품 안내", Date: "2026년 11월 28일", Time: "09:16"}},
		Agreed:      []letters.Choice{{Name: "매거진", Date: "2026년 11월 28일", Time: "09:16"}},
		Preferences: "https://mail.shop.example/p/AQB7mV0sample-token_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
		Link:        "https://mail.shop.example/c/AQB7mV0sample-token", Days: "7", Until: "2026년 12월 5일"}
}

// abroad is a shop that writes in English, and shows little.
func abroad() letters.Data {
	return letters.Data{Company: "Example Fashion Co., Ltd.", Phone: "+82 2 120", Email: "minji.kim@example.net", Date: "28 November 2026", List: "Promotions",
		Left:        []letters.Choice{{Name: "Promotions", Date: "28 November 2026", Time: "09:15"}},
		Agreed:      []letters.Choice{{Name: "New arrivals", Date: "28 November 2026", Time: "09:16"}, {Name: "Magazine", Date: "28 November 2026", Time: "09:16"}},
		Preferences: "https://mail.shop.example/p/AQB7mV0sample-token", Link: "https://mail.shop.example/c/AQB7mV0sample-token", Days: "7", Until: "5 December 2026"}
}

func builtIn(t testing.TB) *letters.Texts {
	t.Helper()
	texts, err := letters.Load("")
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func bytesOf(t testing.TB, l letters.Letter) []byte {
	t.Helper()
	b, err := l.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixtures are all letters in both languages.
func fixtures(t testing.TB) (all []fixture) {
	texts := builtIn(t)
	for language, d := range map[string]letters.Data{"ko": shop(), "en": abroad()} {
		for _, name := range []letters.Name{letters.Left, letters.Agreed, letters.Changed, letters.Confirm, letters.Reminder} {
			l := letters.Letter{ID: "01KB4C0Q80000000000000LETT", Hostname: "mail.shop.example", From: "news@shop.example", Name: d.Company,
				ReplyTo: "help@shop.example", To: "minji.kim@example.net", Date: at}
			if name == letters.Reminder {
				l.Leave = letters.Unsubscribe{Page: "https://mail.shop.example/u/AQB7mV0sample-token", Mailto: "mailto:unsubscribe@lists.shop.example?subject=AQB7mV0sample-token"}
			}
			l.Subject, l.Text = texts.Render(name, language, d)
			all = append(all, fixture{fmt.Sprintf("%s.%s", name, language), bytesOf(t, l)})
		}
	}
	return all
}

// TestGoldenLetters keeps the exact octets of every letter, and beside them the texts
// as people read them.
func TestGoldenLetters(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			if problem := wire(f.mail); problem != "" {
				t.Error(problem)
			}
			golden(t, f.name+".eml", f.mail)
			m := read(t, f.mail)
			golden(t, f.name+".txt", []byte("Subject: "+m.subject+"\n\n"+m.text))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s is another (after a look at the change: go test ./optout/letters -run Golden -update):\n%s", name, got)
	}
}

// TestRule61AResultNamesSenderDateAndResult, and rule 62: a reminder who agreed, when, to
// what, how to keep it and how to withdraw.
func TestRule61AResultNamesSenderDateAndResult(t *testing.T) {
	texts := builtIn(t)
	for name, want := range map[letters.Name][]string{
		letters.Left:     {"전송자: 예시패션 주식회사", "메일: 특가 소식", "수신거부 의사를 표시하신 날짜: 2026년 11월 28일 09:15", "처리 결과: 수신거부 완료", "제50조 제7항", "02-120"},
		letters.Agreed:   {"전송자: 예시패션 주식회사", "메일: 매거진", "수신에 동의하신 날짜: 2026년 11월 28일 09:16", "처리 결과: 수신동의 완료", "무료", "/p/AQB"},
		letters.Changed:  {"메일: 특가 소식", "처리 결과: 수신거부(수신동의 철회) 완료", "메일: 매거진", "처리 결과: 수신동의 완료"},
		letters.Reminder: {"전송자: 예시패션 주식회사", "수신에 동의하신 날짜: 2026년 11월 28일", "계속 받으시려면: 아무것도", "그만 받으시려면:", "/p/AQB", "제50조 제8항"},
		letters.Confirm:  {"/c/AQB", "7일", "2026년 12월 5일", "아무것도 하지 않으셔도"},
	} {
		subject, text := texts.Render(name, "ko", shop())
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s does not say %q:\n%s", name, w, text)
			}
		}
		if strings.Contains(subject, "(광고)") || !strings.HasPrefix(subject, "[예시패션 주식회사] ") {
			t.Errorf("%s: the subject is %q", name, subject)
		}
	}
}
