package optout

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"golang.org/x/text/language"
)

// texts are what the pages of one language say: section, then key.
type texts map[string]map[string]string

// notices are the sections that tell of what did not work.
func notices() []string {
	return []string{sectionInvalid, sectionLimited, sectionExpired, sectionVoid, sectionLater, sectionUnread, sectionMethod, sectionMissing}
}

const (
	sectionInvalid = "invalid"
	sectionLimited = "limited"
	sectionExpired = "expired"
	sectionVoid    = "void"
	sectionLater   = "later"
	sectionUnread  = "unread"
	sectionMethod  = "method"
	sectionMissing = "missing"
	sectionWords   = "words"
)

// readTexts reads a file of texts strictly: a key that nobody knows would be a text
// that nobody sees. What is missing is the built-in text.
func readTexts(name, source string) (texts, error) {
	b, err := builtIn.ReadFile("pages/" + name)
	if err != nil {
		return nil, err
	}
	var all, own texts
	if err := toml.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := toml.Unmarshal([]byte(source), &own); err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return all, fmt.Errorf("%s:%d: %s", name, at.Position.Line, at.Message)
		}
		return all, fmt.Errorf("%s: %s; every text is written as key = \"text\" under its [section]", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	var problems []error
	for section, keys := range own {
		if all[section] == nil {
			problems = append(problems, fmt.Errorf("%s:%d: there is no section [%s]: delete it, or mend its name", name, lineOf(source, section, ""), section))
			continue
		}
		for key, text := range keys {
			if problem := checkText(all[section], key, text); problem != "" {
				problems = append(problems, fmt.Errorf("%s:%d: %s", name, lineOf(source, section, key), problem))
				continue
			}
			all[section][key] = text
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return all, errors.Join(problems...)
}

// anyWord finds what looks like one of our words in a text.
var anyWord = regexp.MustCompile(`\{[A-Za-z]+\}`)

func checkText(known map[string]string, key, text string) string {
	builtIn, ok := known[key]
	if !ok {
		return fmt.Sprintf("nothing shows the text %q: delete it, or mend its name", key)
	}
	if strings.TrimSpace(text) == "" && builtIn != "" {
		return fmt.Sprintf("the text %q is empty, and the page needs it: write it, or delete the line for the built-in one", key)
	}
	for _, word := range anyWord.FindAllString(text, -1) {
		if !slices.Contains([]string{"{list}", "{who}", "{date}"}, word) {
			return fmt.Sprintf("the text %q asks for %s; there are {list}, {who} and {date}", key, word)
		}
	}
	return ""
}

// lineOf finds the line of a key, or of a section for "", as well as a reader of
// lines can; 1 when it is written in another way.
func lineOf(source, section, key string) int {
	in := ""
	for i, line := range strings.Split(source, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			in = strings.Trim(strings.TrimSpace(strings.SplitN(line, "#", 2)[0]), `[]" `)
			if in == section && key == "" {
				return i + 1
			}
		}
		if name, _, ok := strings.Cut(line, "="); ok && in == section && strings.Trim(strings.TrimSpace(name), `"'`) == key {
			return i + 1
		}
	}
	return 1
}

// maxAcceptLanguage bounds what is parsed of a stranger's header, in octets.
const maxAcceptLanguage = 256

// pickLanguage is the first of Korean and English that was asked for: by
// ?lang=, then by the browser's Accept-Language, then as the list has it.
func pickLanguage(query, accept, list string) string {
	if query == "ko" || query == "en" {
		return query
	}
	if len(accept) <= maxAcceptLanguage {
		tags, weights, err := language.ParseAcceptLanguage(accept)
		for i := range tags {
			base, _ := tags[i].Base()
			if s := base.String(); err == nil && weights[i] > 0 && (s == "ko" || s == "en") {
				return s
			}
		}
	}
	if list == "ko" {
		return "ko"
	}
	return "en"
}
