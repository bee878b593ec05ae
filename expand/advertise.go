package expand

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// adLabel begins the Subject of advertising mail, as Korean law wants it: these
// four characters, with nothing between them and nothing before them (the decree
// to the Network Act, article 61 and annex 6).
const adLabel = "(광고)"

// labelled gives a Subject that begins with one label and one blank. What stands
// there instead of a label, to get around filters, goes: "(광 고)", "[광고]", "(AD)".
// A label behind "Re:", a tag such as "[Shop]" or a mark goes to the front. It is
// its own fixed point.
func labelled(s string) string {
	for {
		next := strings.TrimSpace(adLabel + " " + withoutLabels(s))
		if next == s {
			return s
		}
		s = next
	}
}

// The labels and what may stand before one, in the text of [adFold]. A label is the
// word 광고, 廣告 or AD in brackets; of the first two, one bracket or a colon is
// enough. {{ and }} are no brackets.
const (
	adBetween = `[\s\p{Z}\p{Pc}\p{Pd}\p{Po}\p{Sc}\p{Sk}\p{So}\x{119E}+=|~¬±×÷\x{2190}-\x{22FF}]*` // what disguises put between letters; U+119E is Korean's middle dot
	adOpens   = `(?:[\p{Ps}<«‹]\s*){1,3}`
	adCloses  = `(?:\s*[\p{Pe}>»›]){1,3}`
	adKorean  = `(?:ᄀ` + adBetween + `ᅩ` + adBetween + `ᅡ` + adBetween + `ᄋ` + adBetween + `ᄀ` + adBetween + `ᅩ|[廣広广]` + adBetween + `告)`
	adLatin   = `(?:advert(?:isement|ising)?|a` + adBetween + `d` + adBetween + `[sv]?)`
)

var (
	adClosed = regexp.MustCompile(`^` + adOpens + adBetween + `(?:` + adKorean + `|` + adLatin + `)` +
		`(?:` + adBetween + `(?:` + adKorean + `|` + adLatin + `))*` + adBetween + adCloses + `:?`)
	adUnopened = regexp.MustCompile(`^` + adKorean + `(?:` + adCloses + `:?|\s*:)`)
	adUnclosed = regexp.MustCompile(`^` + adOpens + adBetween + adKorean + `(?:\s*:|\s|$)`) // and no bracket closes behind it
	adClosing  = regexp.MustCompile(`[\p{Pe}>»›]`)
	adBefore   = regexp.MustCompile(`^(?:[\p{Ps}<«‹][^\p{Ps}\p{Pe}<>«»‹›]{0,80}[\p{Pe}>»›]` + // [FW], [Shop]
		`|[\p{L}\p{N}]{1,40}(?:[\[(]\d{1,4}[\])])?\s*:` + // Re:, Re[2]:, 전달:
		`|[\p{Pd}\p{Po}\p{Sc}\p{Sk}\p{So}+=|~]{1,20})`) // ★
)

// maxBeginning is how much of a Subject is its beginning, in octets: every copy's
// is looked at.
const maxBeginning = 400

// withoutLabels cuts the labels out of the start of s, and what stands before the
// first and behind the last of them stays.
func withoutLabels(s string) string {
	folded, at := adFold(s[:wholeRunes(s, maxBeginning)])
	var kept strings.Builder
	pos := blanks(folded)
	for {
		rest := folded[pos:]
		n, isLabel := labelAt(rest), true
		if n == 0 {
			n, isLabel = len(adBefore.FindString(rest)), false
		}
		if n == 0 || strings.Contains(rest[:n], "{{") || strings.Contains(rest[:n], "}}") {
			return strings.TrimSpace(kept.String() + s[at[pos]:])
		}
		next := pos + n + blanks(rest[n:])
		if !isLabel {
			kept.WriteString(s[at[pos]:at[next]])
		}
		pos = next
	}
}

// blanks is how much blank there is at the start of s.
func blanks(s string) int { return len(s) - len(strings.TrimLeftFunc(s, unicode.IsSpace)) }

// labelAt is the length of the label at the start of folded text; 0: there is none.
func labelAt(rest string) int {
	if m := adClosed.FindString(rest); m != "" {
		return len(m)
	}
	if m := adUnopened.FindString(rest); m != "" {
		return len(m)
	}
	m := adUnclosed.FindString(rest)
	if m != "" && adClosing.MatchString(rest[len(m):]) {
		return 0 // "(광고 없는 세상)"
	}
	return len(m)
}

// adFold gives s as labels are looked for in it: compatibility forms as the plain
// ones, Hangul in single letters, Latin in lower case, without what nobody sees.
// at is where in s the character came from of which an octet is, and ends with the
// length of s.
func adFold(s string) (folded string, at []int) {
	var out strings.Builder
	for i, r := range s {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		for _, f := range norm.NFKD.String(s[i : i+size]) {
			if !shapeless(f) {
				out.WriteString(letter(unicode.ToLower(f)))
			}
		}
		for len(at) < out.Len() {
			at = append(at, i)
		}
	}
	return out.String(), append(at, len(s))
}

// letter gives a Hangul letter the form it has at the start of a syllable, and the
// vowel of 광 as its two parts: so people type them one by one.
func letter(r rune) string {
	switch r {
	case 'ᆼ':
		return "ᄋ"
	case 'ᅪ':
		return "ᅩᅡ"
	}
	return string(r)
}

// shapeless are characters without a shape of their own: format characters, marks on
// others, fillers.
func shapeless(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, 0x2800:
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.M)
}
