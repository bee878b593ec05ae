package expand

import (
	"html"
	"regexp"
	"strings"

	xhtml "golang.org/x/net/html"

	"postern/mail"
)

var (
	imageInStyle = regexp.MustCompile(`(?i)[{｛]{2}[\s\x{a0}]*image[\s\x{a0}]*:([^{}｛｝]*)[}｝]{2}`)
	// onlyTemplates are the placeholders that nothing but a template has.
	onlyTemplates = regexp.MustCompile(`(?i)[{｛]{2}[\s\x{a0}]*(?:image[\s\x{a0}]*:[^{}｛｝]*|subject|body)[\s\x{a0}]*[}｝]{2}`)
)

// styles puts the addresses of pictures into the style attributes of a template and
// into its style sheets, where mails have no placeholders, and refuses what would be
// left standing in other attributes, as nobody would see that before it was sent.
func (w *wrapping) styles(src, where string) (string, error) {
	var edits []edit
	if err := w.styleEdits(src, 0, len(src), where, &edits); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, p := range apply(src, edits) {
		out.WriteString(p.text)
	}
	return out.String(), nil
}

func (w *wrapping) styleEdits(src string, from, to int, where string, edits *[]edit) error {
	return eachToken(src[from:to], func(k token) error {
		k.start, k.end = k.start+from, k.end+from
		switch {
		case k.hidden && k.kind == xhtml.TextToken:
			return w.styleEdit(src, k.start, k.end, where, false, edits)
		case k.kind == xhtml.CommentToken:
			if m := forOutlook.FindStringSubmatchIndex(src[k.start:k.end]); m != nil {
				return w.styleEdits(src, k.start+m[2], k.start+m[3], where, edits)
			}
		case k.kind == xhtml.StartTagToken || k.kind == xhtml.SelfClosingTagToken:
			for _, a := range attributes(src[k.start:k.end], k.start) {
				if oneOf(a.name, links()) || oneOf(a.name, captions()) {
					continue
				}
				if a.name == "style" && a.quoted {
					if err := w.styleEdit(src, a.start, a.end, where, true, edits); err != nil {
						return err
					}
				} else if at := onlyTemplates.FindString(src[a.start:a.end]); at != "" {
					return mail.Refuse(550, "5.6.0", "in %s: %s stands in the attribute %s, in which nothing is put in; write it as src, href, background, alt, title or in a style=\"...\"", where, shorten(at), shorten(a.name))
				}
			}
		}
		return nil
	})
}

// styleEdit looks at the CSS from octet from to octet to.
func (w *wrapping) styleEdit(src string, from, to int, where string, attribute bool, edits *[]edit) error {
	css := src[from:to]
	for _, m := range imageInStyle.FindAllStringSubmatchIndex(css, -1) {
		address, _, err := w.fill("image:"+html.UnescapeString(css[m[2]:m[3]]), where, asURL)
		if err != nil {
			return err
		}
		if address = inStyle(html.UnescapeString(address)); !attribute {
			address = html.UnescapeString(address)
		}
		*edits = append(*edits, edit{from + m[0], from + m[1], []piece{{text: address}}})
	}
	if at := onlyTemplates.FindString(imageInStyle.ReplaceAllString(css, "")); at != "" {
		return mail.Refuse(550, "5.6.0", "in %s: %s stands in a style or a script, in which only pictures are put in; write it where readers see it", where, shorten(at))
	}
	return nil
}
