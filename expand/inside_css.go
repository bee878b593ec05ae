package expand

import "strings"

// scoped is a style sheet of which every rule holds only within what the selector
// within selects: a mail's `p {margin:0}` would change the template's paragraphs.
// The marks <!-- and --> of old sheets go, and @import with them.
func scoped(css, within string) string {
	s := &sheet{css: strings.NewReplacer("<!--", "", "-->", "").Replace(css), within: within}
	s.rules(0)
	return strings.TrimRight(s.out.String(), "\r\n") + "\r\n"
}

// sheet is a style sheet that is being read.
type sheet struct {
	css, within string
	at          int
	out         strings.Builder
}

// maxRules is how deep blocks are looked into.
const maxRules = 5

// rules reads up to the end of the sheet, or of the block that they stand in.
func (s *sheet) rules(depth int) {
	for {
		prelude, mark := s.until("{};")
		name := strings.TrimSpace(prelude)
		switch {
		case mark == '}' && depth > 0, mark == 0:
			return
		case mark != '{':
			continue // @import, @charset, or a mark too many
		case hasPrefixFold(name, "@media") || hasPrefixFold(name, "@supports"):
			if depth >= maxRules {
				s.block()
				continue
			}
			s.out.WriteString(name + "{\r\n")
			s.rules(depth + 1)
			s.out.WriteString("}\r\n")
		case strings.HasPrefix(name, "@"):
			s.out.WriteString(name + "{" + s.block() + "}\r\n")
		default:
			s.out.WriteString(s.selectors(name) + "{" + s.block() + "}\r\n")
		}
	}
}

// block reads a block, of which the brace has been read, and its end.
func (s *sheet) block() string {
	var out strings.Builder
	for depth := 1; ; {
		part, mark := s.until("{}")
		out.WriteString(part)
		switch mark {
		case '{':
			depth++
		case '}':
			depth--
		}
		if mark == 0 {
			depth = min(depth, maxRules*2)
			return out.String() + strings.Repeat("}", depth-1)
		}
		if depth == 0 {
			return out.String()
		}
		out.WriteByte(mark)
	}
}

// until reads up to one of the marks, which it passes, and gives it; 0 at the end.
// Comments go; marks in quotes and in parentheses are none.
func (s *sheet) until(marks string) (string, byte) {
	var out strings.Builder
	quote, nested := byte(0), 0
	for s.at < len(s.css) {
		c := s.css[s.at]
		if quote == 0 && strings.HasPrefix(s.css[s.at:], "/*") {
			end := strings.Index(s.css[s.at+2:], "*/")
			if end < 0 {
				s.at = len(s.css)
				break
			}
			s.at += end + 4
			continue
		}
		s.at++
		switch {
		case c == '\\' && s.at < len(s.css):
			out.WriteByte(c)
			c = s.css[s.at]
			s.at++
		case quote != 0:
			if c == quote || c == '\n' {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(':
			nested++
		case c == ')':
			nested = max(0, nested-1)
		case strings.IndexByte(marks, c) >= 0 && (nested == 0 || c != ';' && c != ','):
			return out.String(), c
		}
		out.WriteByte(c)
	}
	if quote != 0 {
		out.WriteByte(quote)
	}
	return out.String(), 0
}

// selectors puts each of a list within.
func (s *sheet) selectors(list string) string {
	one := &sheet{css: list}
	var out []string
	for {
		selector, mark := one.until(",")
		if selector = strings.TrimSpace(selector); selector != "" {
			out = append(out, within(selector, s.within))
		}
		if mark == 0 {
			return strings.Join(out, ", ")
		}
	}
}

// within is a selector of what is within another; what it says of the page it says of
// that.
func within(selector, scope string) string {
	rest, page := selector, false
	for {
		n := rootName(rest)
		if n == 0 {
			break
		}
		page, rest = true, rest[n:]
		next := strings.TrimLeft(rest, " \t\r\n>")
		if rootName(next) == 0 {
			break
		}
		rest = next
	}
	if page {
		return scope + rest
	}
	return scope + " " + selector
}

// rootName is the length of the name of the page itself, with which a selector begins.
func rootName(selector string) int {
	for _, name := range []string{"html", "body", ":root"} {
		if hasPrefixFold(selector, name) && strings.IndexFunc(selector[len(name):], func(r rune) bool {
			return r == '-' || r == '_' || r >= 0x80 || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z'
		}) != 0 {
			return len(name)
		}
	}
	return 0
}
