package expand

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	xhtml "golang.org/x/net/html"
)

const (
	hole        = "\ufffc" // stands where a placeholder stood
	shownBraces = "\ufffb" // stands where {{"…"}} stood
	newBlock    = '\u2029' // the glyph between two blocks, over which no placeholder goes
)

// readGlyphs is what a reader sees of the glyphs, with a hole for each placeholder.
func readGlyphs(gs []glyph) string {
	f := new(finder)
	for _, g := range gs {
		if g.r == newBlock {
			f.stop()
			continue
		}
		f.feed(g)
	}
	f.stop()
	in := map[int]string{} // what stands for the glyphs of placeholders, by where they start
	for _, p := range f.found {
		for _, g := range p.glyphs {
			in[g.start] = ""
		}
		if in[p.glyphs[0].start] = hole; isLiteral(p) {
			in[p.glyphs[0].start] = shownBraces
		}
	}
	var s strings.Builder
	for _, g := range gs {
		switch mark, inside := in[g.start]; {
		case g.r == newBlock:
			s.WriteByte('\n')
		case inside:
			s.WriteString(mark)
		case invisible(g.r):
		case g.r == '［':
			s.WriteByte('[')
		case g.r == '］':
			s.WriteByte(']')
		default:
			s.WriteRune(narrow(g.r))
		}
	}
	return s.String()
}

func isLiteral(p found) bool {
	_, ok := literal(p.inner)
	return ok
}

// plain looks through a text/plain part.
func (r *reviewer) plain(t *text) {
	var gs []glyph
	s := t.src
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		if n := percentPlaceholder(s[i:]); n > 0 {
			c, size = '\ufffc', n
		} else if strings.HasPrefix(s[i:], "\r\n\r\n") {
			gs = append(gs, glyph{'\n', i, i + 2})
			c, size = newBlock, 4
		} else if t.delsp && strings.HasPrefix(s[i:], " \r\n") {
			c, size = '\u200b', 3
		}
		gs = append(gs, glyph{c, i, i + size})
		i += size
	}
	seen := strings.ReplaceAll(readGlyphs(gs), "\r", "")
	r.stray(r.marks(seen))
	r.addresses(seen)
	r.leftovers(seen)
	if answers.MatchString(seen) {
		r.say("quoted-mail")
	}
	r.text += seen
}

// percentText undoes percent-encoding as far as that goes.
func percentText(s string) string {
	return word(percentDecoded(slices.Collect(glyphs(s, 0))))
}

// html looks through a text/html part.
func (r *reviewer) html(src string) {
	w := &htmlReview{reviewer: r, src: src}
	w.walk(0, len(src))
	w.end()
	r.page += w.seen
}

// htmlReview walks over one HTML text.
type htmlReview struct {
	*reviewer
	src    string
	gs     []glyph // the text so far
	anchor string  // the href of the link that is open
	from   int     // where its text begins in gs
	seen   string  // once all is read
}

func (w *htmlReview) walk(from, to int) {
	_ = eachToken(w.src[from:to], func(k token) error {
		k.start, k.end = k.start+from, k.end+from
		w.at = k.start
		switch k.kind {
		case xhtml.TextToken:
			if !k.hidden {
				w.gs = slices.AppendSeq(w.gs, glyphs(w.src[k.start:k.end], k.start))
			}
		case xhtml.CommentToken:
			w.comment(k)
		case xhtml.StartTagToken, xhtml.SelfClosingTagToken:
			w.tag(k)
			w.block(k)
		case xhtml.EndTagToken:
			if k.name == "a" {
				w.closeLink()
			}
			w.block(k)
		}
		return nil
	})
}

func (w *htmlReview) block(k token) {
	if isBlock(k.name) {
		w.gs = append(w.gs, glyph{newBlock, k.start, k.start})
	}
}

// comment looks into a conditional one as if it were a text of its own.
func (w *htmlReview) comment(k token) {
	m := forOutlook.FindStringSubmatchIndex(w.src[k.start:k.end])
	if m == nil {
		return
	}
	in := &htmlReview{reviewer: w.reviewer, src: w.src}
	in.walk(k.start+m[2], k.start+m[3])
	in.end()
}

// end judges what was visible.
func (w *htmlReview) end() {
	seen := readGlyphs(w.gs)
	w.at = -1
	w.stray(w.marks(seen))
	w.leftovers(seen)
	w.seen = seen
}

// tag judges a start tag by its attributes.
func (w *htmlReview) tag(k token) {
	at := map[string]string{}
	for _, a := range attributes(w.src[k.start:k.end], k.start) {
		value := w.src[a.start:a.end]
		if len(value) > maxAttribute {
			if (a.name == "src" || a.name == "background") && strings.HasPrefix(value, "data:") {
				w.say("data-picture")
			}
			at[a.name] = value[:20]
			continue
		}
		at[a.name] = w.attribute(a.name, value)
	}
	w.traces(k.name, at)
	vml := strings.HasPrefix(k.name, "v:")
	if href, ok := at["href"]; ok && (k.name == "a" || k.name == "area" || vml) {
		w.href(href)
		if k.name == "a" {
			w.anchor, w.from = href, len(w.gs)
		}
	}
	if src, ok := at["src"]; ok && (k.name == "img" || vml) {
		w.picture(src)
	}
	if src, ok := at["background"]; ok {
		w.picture(src)
	}
	if _, ok := at["alt"]; !ok && k.name == "img" && !isPixel(at) {
		w.say("no-alt", w.pictureName(at["src"]))
	}
}

// attribute is what an attribute says, with holes for placeholders.
func (w *htmlReview) attribute(name, value string) string {
	gs := slices.Collect(glyphs(value, 0))
	address := oneOf(name, links())
	if address {
		gs = percentDecoded(gs)
	}
	seen := readGlyphs(gs)
	switch {
	case address:
		w.marks(seen)
	case oneOf(name, captions()):
		w.stray(w.marks(seen))
	}
	return strings.TrimSpace(seen)
}

// isPixel: a picture that nobody is to see needs no text.
func isPixel(at map[string]string) bool {
	return tiny(at["width"]) || tiny(at["height"])
}

func tiny(s string) bool { return s == "0" || s == "1" || s == "0px" || s == "1px" }

func (w *htmlReview) closeLink() {
	if w.anchor == "" {
		return
	}
	w.label(strings.TrimSpace(readGlyphs(w.gs[w.from:])), w.anchor)
	w.anchor = ""
}

// pictureName is what people call a picture.
func (r *reviewer) pictureName(src string) string {
	if id, ok := cid(src); ok {
		if name := r.parts[id]; name != "" {
			return name
		}
		return id
	}
	if strings.HasPrefix(src, "data:") {
		return "data:…"
	}
	path, _, _ := strings.Cut(src, "?")
	if name := path[strings.LastIndexAny(path, `/\`)+1:]; name != "" {
		return name
	}
	return src
}

// cid is the Content-ID in an address (RFC 2392), which readGlyphs has decoded.
func cid(src string) (string, bool) {
	if len(src) > 4 && strings.EqualFold(src[:4], "cid:") {
		return src[4:], true
	}
	return "", false
}

// traces are what Word and mail programs leave in HTML.
func (r *reviewer) traces(name string, at map[string]string) {
	class := " " + strings.ToLower(at["class"]) + " "
	style := strings.ToLower(strings.ReplaceAll(at["style"], " ", ""))
	_, cited := at["cite"]
	_, dated := at["datetime"]
	switch {
	case (name == "ins" || name == "del") && (cited || dated), strings.Contains(class, " msoins "), strings.Contains(class, " msodel "):
		r.say("tracked-changes")
	case strings.Contains(class, " msocommenttext "), strings.Contains(class, " msocommentreference "), strings.Contains(style, "mso-element:comment"):
		r.say("word-comments")
	case strings.Contains(class, " gmail_quote "), strings.Contains(class, " gmail_quote_container "), strings.Contains(class, " moz-cite-prefix "),
		strings.Contains(class, " yahoo_quoted "), name == "blockquote" && strings.EqualFold(at["type"], "cite"),
		strings.EqualFold(at["id"], "divRplyFwdMsg"), strings.EqualFold(at["id"], "appendonsend"):
		r.say("quoted-mail")
	}
}

// Earlier mails as they stand below an answer: a line above them, the first fields of
// their header, or an introduction.
var (
	separator = regexp.MustCompile(`(?i)--- ?(original message|forwarded message|original appointment|원본 메시지|원본 메일|전달된 메시지|전달된 메일) ?---`)
	oldHeader = regexp.MustCompile(`(?mi)^[>\s]*\**(from|보낸 ?사람|발신자|발신인)\**[ \x{a0}]*:(?:.*\n+[>\s]*\**(sent|보낸 ?날짜|보낸 ?시간)|.*@.*\n+[>\s]*\**(date|to|subject|날짜|일시|받는 ?사람|수신인?|제목))\**[ \x{a0}]*:`)
	wrote     = regexp.MustCompile(`(?mi)^on .{8,120}wrote:\s*$|님이 (작성|보냄|쓴 글) ?:\s*$`)
)

// answers are three lines that a mail program quoted.
var answers = regexp.MustCompile(`(?m)^>.*\n>.*\n>`)

// leftovers finds an earlier mail by what is to be read.
func (r *reviewer) leftovers(seen string) {
	if separator.MatchString(seen) || oldHeader.MatchString(seen) || wrote.MatchString(seen) {
		r.say("quoted-mail")
	}
}

// alternatives compares what the two kinds of text say.
func (r *reviewer) alternatives() {
	if r.text == "" || r.page == "" {
		return
	}
	text, page := wordsOf(r.text), wordsOf(r.page)
	same := 0
	for w := range page {
		if text[w] {
			same++
		}
	}
	if len(page) >= 10 && same*4 < len(page) {
		r.say("text-differs")
	}
}

// wordsOf are the different words of a text.
func wordsOf(s string) map[string]bool {
	all := map[string]bool{}
	for w := range strings.FieldsFuncSeq(strings.ToLower(s), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }) {
		if utf8.RuneCountInString(w) > 1 {
			all[w] = true
		}
	}
	return all
}

// unseen notes the placeholders that a copy still has where nobody sees them:
// in comments, styles, scripts and attributes that are not compiled.
func (r *reviewer) unseen(src string) {
	_ = eachToken(src, func(k token) error {
		switch {
		case k.hidden, k.kind == xhtml.CommentToken:
			r.dead(src[k.start:k.end])
		case k.kind == xhtml.StartTagToken, k.kind == xhtml.SelfClosingTagToken:
			for _, a := range attributes(src[k.start:k.end], k.start) {
				compiled := oneOf(a.name, links()) || oneOf(a.name, captions()) || a.name == "originalsrc" // what is left there is meant, or Outlook's
				if !compiled && a.end-a.start <= maxAttribute {
					r.dead(percentText(src[a.start:a.end]))
				}
			}
		}
		return nil
	})
}
