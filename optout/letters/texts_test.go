package letters_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/optout/letters"
)

// folder is a folder with these files.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAFolderOfTextsTakesThePlaceOfTheBuiltIn(t *testing.T) {
	dir := folder(t, map[string]string{
		"confirm.en.txt": "\xef\xbb\xbfSubject: Again, {{.List}}?\r\n\r\n{{if .Phone}}Call {{.Phone}}{{else}}Do not call{{end}}, {{.Company}}\r\n{{.Link}}\r\n\r\n\r\n",
		".swp":           "\x00", "left.ko.txt~": "draft",
	})
	texts, err := letters.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	subject, text := texts.Render(letters.Confirm, "en", abroad())
	if want := "Call +82 2 120, Example Fashion Co., Ltd.\nhttps://mail.shop.example/c/AQB7mV0sample-token\n"; subject != "Again, Promotions?" || text != want {
		t.Errorf("%q\n%q", subject, text)
	}
	_, ours := texts.Render(letters.Confirm, "ko", shop())
	if _, want := builtIn(t).Render(letters.Confirm, "ko", shop()); ours != want {
		t.Error("a file that is missing is not the built-in one:", ours)
	}
	if _, other := texts.Render(letters.Confirm, "fr", abroad()); other != text {
		t.Error("what is not Korean is not English:", other)
	}
}

// TestMistakesInTextsAreNamed with the file, the line and what to do, all at once.
func TestMistakesInTextsAreNamed(t *testing.T) {
	good := "{{.Company}}\n{{range .Left}}{{.Name}} {{.Date}}\n{{end}}"
	for name, c := range map[string]struct{ file, text, want string }{
		"no subject":          {"left.ko.txt", "안녕하세요\n" + good, "line 1: a letter begins with its subject"},
		"empty":               {"left.ko.txt", "", "line 1: a letter begins with its subject"},
		"empty subject":       {"left.ko.txt", "Subject: \n" + good, "line 1: the subject is empty"},
		"long subject":        {"left.ko.txt", "Subject: " + strings.Repeat("가", 130) + "\n" + good, "line 1: the subject has more than 120"},
		"misspelt":            {"left.ko.txt", "Subject: x\n\n{{.Compny}}\n" + good, "line 3: there is no {{.Compny}} in this letter; there are {{.Company}}, "},
		"misspelt in subject": {"left.ko.txt", "Subject: {{.Nmae}}\n" + good, "line 1: there is no {{.Nmae}}"},
		"misspelt in if":      {"left.ko.txt", "Subject: x\n" + good + "{{if .Tel}}x{{end}}", "there is no {{.Tel}}"},
		"of another letter":   {"left.ko.txt", "Subject: x\n" + good + "{{.Link}}", "there is no {{.Link}} in this letter"},
		"within a range":      {"left.ko.txt", "Subject: x\n{{.Company}}\n{{range .Left}}\n{{.Name}} {{.Date}} {{.Company}}\n{{end}}", "line 4: there is no {{.Company}} here; there are {{.Name}}, {{.Date}}, {{.Time}}; all others are written as {{$.Company}} here"},
		"a list as a value":   {"left.ko.txt", "Subject: x\n{{.Company}} {{.Left}}", "line 2: {{.Left}} is a list: write {{range .Left}}"},
		"a list of another":   {"left.ko.txt", "Subject: x\n{{range .Agreed}}{{end}}", "line 2: nothing of that name can be listed; there are {{range .Left}}"},
		"nothing to list":     {"confirm.ko.txt", "Subject: x\n{{range .Left}}{{end}}", "line 2: nothing of that name can be listed; this letter lists nothing"},
		"not closed":          {"left.ko.txt", "Subject: x\n\n{{.Company\n", "line 4: unclosed action started at left.ko.txt:3"},
		"no end":              {"left.ko.txt", "Subject: x\n\n{{if .Phone}}\nx\n", "unexpected EOF"},
		"a function":          {"left.ko.txt", "Subject: x\n{{printf \"%d\" 1}}", "line 2: a letter cannot do {{printf \"%d\" 1}}; it knows {{.Name}}, {{if .Name}}"},
		"a number":            {"left.ko.txt", "Subject: x\n{{range 1000000000}}{{end}}", "line 2: nothing of that name can be listed"},
		"a nest":              {"left.ko.txt", "Subject: x\n{{range .Left}}{{range $.Left}}{{end}}{{end}}", "line 2: there is a {{range}} within another"},
		"a definition":        {"left.ko.txt", "Subject: x\n{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "no {{define}}"},
		"a variable":          {"left.ko.txt", "Subject: x\n{{$x := .Company}}", "line 2: a letter cannot do"},
		"a method":            {"left.ko.txt", "Subject: x\n{{.Company.Len}}", "line 2: a letter cannot do"},
		"not UTF-8":           {"left.ko.txt", "Subject: \xb1\xa4\n", "it is not UTF-8"},
		"controls":            {"left.ko.txt", "Subject: \x00\n", "it holds control characters"},
		"too long":            {"left.ko.txt", "Subject: x\n" + strings.Repeat("x", 65<<10), "more than 64 KB"},
		"another name":        {"left.fr.txt", "Subject: x\n", "this is the name of no letter; they are called agreed.en.txt, agreed.ko.txt, "},
		"no company":          {"left.ko.txt", "Subject: {{.Company}}\n{{range .Left}}{{.Name}} {{.Date}}{{end}}", "a reader does not see {{.Company}} in it, and the law wants that it names its sender"},
		"no date":             {"left.ko.txt", "Subject: x\n{{.Company}}{{range .Left}}{{.Name}}{{end}}", "does not see {{.Date}} within {{range .Left}}"},
		"only with a phone":   {"left.ko.txt", "Subject: x\n{{if .Phone}}" + good + "{{end}}", "does not see {{.Company}}"},
		"no way out":          {"reminder.ko.txt", "Subject: x\n{{.Company}}{{range .Agreed}}{{.Name}} {{.Date}}{{end}}", "does not see {{.Preferences}} in it, and the law wants that it says how to withdraw"},
		"no link":             {"confirm.ko.txt", "Subject: x\n{{.Company}}", "does not see {{.Link}}"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{c.file: c.text, "agreed.en.txt": "nothing"})
			_, err := letters.Load(dir)
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range []string{filepath.Join(dir, c.file) + ": ", c.want, filepath.Join(dir, "agreed.en.txt") + ": line 1"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "template:") || strings.Contains(err.Error(), "parse.") {
				t.Error("the error speaks of the program's parts:", err)
			}
		})
	}
}

func TestAFolderThatIsMissingIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := letters.Load(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "postern optout letters "+dir) {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "left.ko.txt"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := letters.Load(dir); err == nil || !strings.Contains(err.Error(), "it is not a file") {
		t.Error(err)
	}
}

func TestTheBuiltInTextsAreWrittenWhereThereAreNone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "left.ko.txt")
	if err := os.WriteFile(mine, []byte("Subject: 제 것\n{{.Company}}{{range .Left}}{{.Name}} {{.Date}}{{end}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := letters.WriteDefaults(dir)
	if err != nil || len(all) != len(letters.Names()) {
		t.Fatal(all, err)
	}
	for _, w := range all {
		if w.Kept != (w.Path == mine) {
			t.Errorf("%+v", w)
		}
	}
	texts, err := letters.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if subject, _ := texts.Render(letters.Left, "ko", shop()); subject != "제 것" {
		t.Error(subject)
	}
	_, ours := texts.Render(letters.Reminder, "ko", shop())
	if _, want := builtIn(t).Render(letters.Reminder, "ko", shop()); ours != want {
		t.Error("what is written out says something else than the built-in text")
	}
	if _, err := letters.WriteDefaults(mine); err == nil || !strings.Contains(err.Error(), mine) {
		t.Error("a file is taken for a folder:", err)
	}
}

// FuzzTexts: whatever a file holds, it is refused in words or renders a letter.
func FuzzTexts(f *testing.F) {
	for _, name := range letters.Names() {
		b, err := letters.BuiltIn(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, b)
	}
	for _, s := range []string{"Subject: {{", "Subject: x\n{{range .Left}}{{$.Company}}{{.Name}}{{.Date}}{{else}}{{end}}", "Subject: {{/* x */}}y\n{{- .Company -}}\n{{.Link}}", "Subject:{{block \"x\" .}}{{end}}",
		"Subject: x\n{{if not .Phone}}{{else if .Address}}{{end}}", "Subject: x\n{{with .Company}}{{.}}{{end}}", "Subject: x\n{{break}}", "Subject: x\n{{((((.Company))))}}", "Subject: x\n{{\"\\u202e\"}}"} {
		f.Add("left.en.txt", []byte(s))
		f.Add("confirm.ko.txt", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		if !strings.HasSuffix(name, ".txt") || strings.ContainsAny(name, "/\x00") || len(name) > 40 || name == ".txt" {
			name = "left.en.txt"
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), src, 0o600); err != nil {
			t.Fatal(err)
		}
		texts, err := letters.Load(dir)
		if err != nil {
			if !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "nil pointer") {
				t.Fatal(err)
			}
			return
		}
		for _, which := range []letters.Name{letters.Left, letters.Confirm, letters.Reminder, letters.Agreed, letters.Changed} {
			for _, language := range []string{"ko", "en"} {
				l := letters.Letter{ID: "1", Hostname: "localhost", From: "a@shop.example", To: "min@example.net", Date: at}
				l.Subject, l.Text = texts.Render(which, language, shop())
				if problem := wire(bytesOf(t, l)); problem != "" {
					t.Fatal(problem)
				}
			}
		}
	})
}
