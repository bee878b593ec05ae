package expand

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	xhtml "golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"postern/mail"
)

// inside is a page's content, fit to stand within another page.
type inside struct {
	inner  string // balanced: it closes what it opens, and nothing else
	sheets string // its <style> elements; their rules hold within an element of class alone
	css    string // what they say in the page
	spaces string // the namespaces of VML, which Outlook wants at the top; " xmlns:v=..."
	open   bool   // it ends in a paragraph, which the end of a block closes
	looks  string // attributes that the element around it needs
}

// insideOf takes the content out of a page: what stands in its head and in further
// pages' heads goes, as gateways put one page behind another. class is that of the
// element which will stand around it.
func insideOf(page, class, where string) (*inside, error) {
	in := &inside{}
	var out, sheets, css strings.Builder
	head, gone, sheet := false, "", false
	_ = eachToken(page, func(k token) error {
		raw := page[k.start:k.end]
		starts := k.kind == xhtml.StartTagToken || k.kind == xhtml.SelfClosingTagToken
		switch {
		case sheet && k.kind == xhtml.TextToken:
			sheets.WriteString(scoped(raw, "."+class))
			css.WriteString(raw)
		case k.name == "style":
			if starts && !sheet {
				sheets.WriteString(raw + "\r\n")
			} else if sheet {
				sheets.WriteString("</style>\r\n")
			}
			sheet = starts
		case gone != "":
			if k.kind == xhtml.EndTagToken && k.name == gone {
				gone = ""
			}
		case oneOf(k.name, []string{"html", "head", "body", "meta", "link", "base", "plaintext", "frameset"}):
			in.top(k, raw)
			if oneOf(k.name, []string{"html", "head", "body"}) {
				head = k.name == "head" && starts
			}
		case starts && oneOf(k.name, []string{"title", "script"}):
			gone = k.name
		case k.kind == xhtml.DoctypeToken, k.kind == xhtml.CommentToken && !strings.HasSuffix(raw, ">"):
		case head && (k.kind == xhtml.CommentToken || k.kind == xhtml.TextToken && strings.TrimSpace(raw) == ""):
		default:
			head = head && strings.Contains(k.name, ":") // Word's smart tags
			if starts && k.name == "img" {
				raw = fitted(raw)
			}
			out.WriteString(raw)
		}
		return nil
	})
	if sheet {
		sheets.WriteString("</style>\r\n")
	}
	in.inner, in.sheets, in.css = strings.TrimLeft(out.String(), "\r\n"), sheets.String(), css.String()
	if !strings.Contains(in.inner, "<v:") {
		in.spaces = ""
	}
	if !contained(in.inner, "div") {
		if in.inner = balanced(in.inner); !contained(in.inner, "div") {
			return nil, mail.Refuse(554, "5.6.0", "%s has HTML that cannot be put into a template: its tags are nested too deep, or end where they did not begin; send it as simpler HTML or as plain text", where)
		}
	}
	in.open = !contained(in.inner, "span")
	return in, nil
}

// framed is the content with what it needs around it.
func (in *inside) framed(class string) string {
	tag := in.looks
	if class != "" {
		tag = ` class="` + class + `"` + tag
	}
	if tag == "" && !in.open {
		return in.inner
	}
	return "<div" + tag + ">" + in.inner + "</div>"
}

// top looks at the tags that a page has once.
func (in *inside) top(k token, raw string) {
	if k.kind != xhtml.StartTagToken {
		return
	}
	switch {
	case k.name == "body" && in.looks == "":
		in.looks = looks(raw)
	case k.name == "html" && in.spaces == "":
		for _, a := range attributes(raw, 0) {
			if strings.HasPrefix(a.name, "xmlns:") && a.quoted {
				in.spaces += " " + a.name + `="` + strings.ReplaceAll(raw[a.start:a.end], `"`, "") + `"`
			}
		}
	}
}

// looks are the attributes of a body that its inside needs. White and black are what
// programs write unasked, and a template has colours of its own.
func looks(tag string) string {
	var out, css strings.Builder
	style := ""
	for _, a := range attributes(tag, 0) {
		value := strings.ReplaceAll(tag[a.start:a.end], `"`, "&quot;")
		colour := strings.ToLower(strings.TrimSpace(value))
		switch {
		case a.name == "lang" || a.name == "dir":
			out.WriteString(" " + a.name + `="` + value + `"`)
		case a.name == "style":
			style = value
		case strings.ContainsAny(value, ";:&") || oneOf(colour, []string{"", "white", "#ffffff", "#fff", "black", "#000000", "#000"}):
		case a.name == "bgcolor":
			css.WriteString("background-color:" + value + ";")
		case a.name == "text":
			css.WriteString("color:" + value + ";")
		}
	}
	if css.WriteString(style); css.Len() > 0 {
		out.WriteString(` style="` + css.String() + `"`)
	}
	return out.String()
}

// widePicture is the width in CSS pixels from which a picture may be wider than its
// place: that of the column of a page on a telephone.
const widePicture = 320

// cssWidth is a width in CSS, in pixels or in whatever else.
var cssWidth = regexp.MustCompile(`(?i)(?:^|[;\s])width\s*:\s*(?:([0-9.]+)px|[0-9.]*(%|[a-z]*))`)

// fitted is the tag of a picture, which becomes no wider than its place where that is
// narrow: a photograph as wide as a screen would make the template's page as wide.
func fitted(tag string) string {
	const fit = "max-width:100%;height:auto"
	wide, style := false, attribute{}
	for _, a := range attributes(tag, 0) {
		switch a.name {
		case "width":
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(tag[a.start:a.end]), "px"), 64)
			wide = err == nil && n > widePicture
		case "style":
			style = a
		}
	}
	css := tag[style.start:style.end]
	switch n := cssWidth.FindStringSubmatch(css); {
	case len(n) > 0 && n[1] != "":
		px, err := strconv.ParseFloat(n[1], 64)
		wide = err == nil && px > widePicture
	case len(n) > 0 || strings.Contains(strings.ToLower(css), "max-width"):
		wide = wide && len(n) > 0 && n[2] != "%" && n[2] != "auto"
	}
	switch {
	case !wide || style.name != "" && !style.quoted:
		return tag
	case style.name == "":
		return tag[:len("<img")] + ` style="` + fit + `"` + tag[len("<img"):]
	case strings.TrimRight(css, "; \t\r\n") == "":
		return tag[:style.start] + fit + tag[style.end:]
	}
	return tag[:style.start] + strings.TrimRight(css, "; \t\r\n") + ";" + fit + tag[style.end:]
}

// contained says whether HTML in an element of a table's cell leaves all around that
// as it is, as browsers read it.
func contained(inner, element string) bool {
	if tangled(inner) {
		return false
	}
	doc, err := xhtml.Parse(strings.NewReader("<!doctype html><html><head></head><body><table><tbody><tr><td><" + element + ">" + inner + "</" + element + ">x<hr></td></tr></tbody></table></body></html>"))
	if err != nil {
		return false
	}
	n := doc.LastChild.LastChild // body
	for _, name := range []string{"table", "tbody", "tr", "td"} {
		if n = n.FirstChild; n == nil || n.Data != name || n.NextSibling != nil {
			return false
		}
	}
	var names []string
	for c := range n.ChildNodes() {
		names = append(names, c.Data) // the x is not bold or a link either
	}
	return slices.Equal(names, []string{element, "x", "hr"})
}

// balanced writes HTML as browsers read it.
func balanced(inner string) string {
	if tangled(inner) {
		return inner
	}
	nodes, err := xhtml.ParseFragment(strings.NewReader(inner), &xhtml.Node{Type: xhtml.ElementNode, Data: "div", DataAtom: atom.Div})
	if err != nil {
		return inner
	}
	var out strings.Builder
	for _, n := range nodes {
		for _, d := range all(n) {
			if d.Type == xhtml.CommentNode && !strings.Contains(d.Data, ">") && (strings.HasPrefix(d.Data, "[if ") || d.Data == "[endif]") {
				d.Type, d.Data = xhtml.RawNode, "<!"+d.Data+">" // Outlook tells the two forms apart
			}
		}
		if err := xhtml.Render(&out, n); err != nil {
			return inner
		}
	}
	return lines(out.String())
}

// maxTangle is how many formats browsers may have to begin anew: a few hundred that
// are left open before many paragraphs are millions.
const maxTangle = 2_000_000

// tangled says that HTML leaves so many formats open that nobody should read it.
func tangled(inner string) bool {
	open, now, sum := map[string]int{}, 0, 0
	_ = eachToken(inner, func(k token) error {
		if k.kind == xhtml.StartTagToken || k.kind == xhtml.TextToken {
			sum += now
		}
		if !oneOf(k.name, []string{"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}) {
			return nil
		}
		switch {
		case k.kind == xhtml.EndTagToken && open[k.name] > 0:
			open[k.name]--
			now--
		case k.kind != xhtml.EndTagToken:
			open[k.name]++
			now++
		}
		return nil
	})
	return sum > maxTangle
}

// all are a node and those below it.
func all(n *xhtml.Node) []*xhtml.Node {
	return append(slices.Collect(n.Descendants()), n)
}
