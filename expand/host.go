package expand

import (
	"crypto/sha256"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"

	"postern/mail"
)

// picture is a part that could be hosted.
type picture struct {
	part   *part
	id     string // its Content-ID, as [foldID] gives it
	octets []byte
	shown  bool        // the reader sees it in the HTML
	stays  bool        // something refers to it that cannot be made a link
	refs   []reference // what can
}

// reference is where a picture's address stands in the source of HTML.
type reference struct {
	text       *text
	start, end int
	as         func(url string) string
}

// hosting moves the large pictures of one mail.
type hosting struct {
	host     func(Image) (string, error)
	over     int64
	bearers  map[string]int // of each Content-ID
	pictures []*picture
	done     map[[sha256.Size]byte]string // addresses by content; "": it stays in the mail
	down     error                        // the place for pictures is not to be asked again
	failures []string
}

// host gives the large pictures that the HTML shows to [Input.Host], links them and
// takes them out of the mail; a picture that must stay is not linked either, since it
// would be carried and fetched. It comes before the texts are compiled and gives what
// is left of root.
func (c *compiler) host(root *part) (*part, error) {
	if c.in.Host == nil || c.in.HostOver <= 0 {
		return root, nil
	}
	h := &hosting{host: c.in.Host, over: c.in.HostOver, bearers: map[string]int{}, done: map[[sha256.Size]byte]string{}}
	h.find(root)
	// Of two parts with one Content-ID nobody can say which is meant.
	h.pictures = slices.DeleteFunc(h.pictures, func(p *picture) bool { return h.bearers[p.id] > 1 })
	if len(h.pictures) == 0 {
		return root, nil
	}
	var texts []*part
	if err := collect(root, &texts); err != nil {
		return nil, err
	}
	h.look(root)
	left := root.without(h.move())
	c.unhosted = h.failures
	if lang, ok := root.header.find("Content-Language"); ok && left != root && left.header.text("Content-Language") == "" {
		left.header = append(slices.Clip(left.header), lang) // of the mail, and now of the part that is the mail
	}
	return left, nil
}

// find collects the pictures that could be hosted. What is the page of a
// multipart/related, or an alternative to it, is more than a picture in it.
func (h *hosting) find(p *part) {
	for _, child := range p.children {
		h.find(child)
		if len(child.children) > 0 {
			continue
		}
		id := foldID(child.header.text("Content-ID"))
		h.bearers[id]++
		if id == "" || p.kind == "multipart/alternative" || p.kind == "multipart/related" && child == p.root() {
			continue
		}
		if octets := h.large(child); octets != nil {
			h.pictures = append(h.pictures, &picture{part: child, id: id, octets: octets})
		}
	}
}

// large is the content of a part that is a picture for the web, no attachment and
// large enough; nil for any other.
func (h *hosting) large(p *part) []byte {
	disposition, _ := parseType(p.header.text("Content-Disposition"))
	if pictureType(p.kind) == "" || disposition == "attachment" || int64(len(p.body)) <= h.over {
		return nil
	}
	octets, err := decodeTransfer(p.coding, p.body)
	if err != nil || int64(len(octets)) <= h.over {
		return nil
	}
	return octets
}

// pictureType is the name by which the web knows a type of pictures; "" for types
// that not every mail reader shows, and for SVG, which is a document.
func pictureType(kind string) string {
	switch kind {
	case "image/png", "image/x-png":
		return "image/png"
	case "image/jpeg", "image/jpg", "image/pjpeg":
		return "image/jpeg"
	case "image/gif", "image/webp":
		return kind
	}
	return ""
}

// move hosts what can be hosted and links it. It gives the parts that are not needed
// any more.
func (h *hosting) move() map[*part]bool {
	gone, edits := map[*part]bool{}, map[*text][]edit{}
	for _, p := range h.pictures {
		if !p.shown || p.stays {
			continue
		}
		address := h.address(p)
		if address == "" {
			continue
		}
		gone[p.part] = true
		for _, r := range p.refs {
			edits[r.text] = append(edits[r.text], edit{r.start, r.end, []piece{{text: r.as(address)}}})
		}
	}
	for t, all := range edits {
		var src strings.Builder
		for _, p := range apply(t.src, all) {
			src.WriteString(p.text)
		}
		t.src, t.hosts = src.String(), true
	}
	return gone
}

// address is where a picture is hosted; "" when that failed.
func (h *hosting) address(p *picture) string {
	sum := sha256.Sum256(p.octets)
	if known, ok := h.done[sum]; ok {
		return known
	}
	m := Image{Name: shorten(cleanValue(p.part.fileName())), Type: pictureType(p.part.kind), Data: p.octets}
	address, err := "", h.down
	if err == nil {
		address, err = h.host(m)
	}
	if err == nil {
		err = checkAddress(address)
	}
	if err != nil {
		// What is wrong with the place is wrong for the next picture too, and somebody
		// waits for the answer to DATA.
		if address = ""; mail.ClassOf(err) != mail.Permanent {
			h.down = err
		}
		h.failures = append(h.failures, fmt.Sprintf("the picture %q (%s) stays in every copy: %v", m.Name, sizeText(len(m.Data)), err))
	}
	h.done[sum] = address
	return address
}

// checkAddress says whether an address can stand in a mail: a whole one of the web, in
// which nobody sees a placeholder.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	odd := strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"<>{}|\`, r) })
	if err != nil || odd || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Contains(strings.ToLower(address), "%7b") {
		return mail.Refuse(0, "", "%q is no address for a picture; mend templates.host_base_url", address)
	}
	return nil
}

// foldID is an id as it is compared. RFC 5322 tells upper case from lower in it, mail
// readers do not.
func foldID(id string) string { return strings.ToLower(contentID(id)) }

// without takes parts out of p and gives what is left: p itself, its only child that
// is left, or nil.
func (p *part) without(gone map[*part]bool) *part {
	if gone[p] {
		return nil
	}
	before := len(p.children)
	for i := 0; i < len(p.children); {
		if left := p.children[i].without(gone); left != nil {
			p.children[i] = left
			i++
			continue
		}
		p.children = slices.Delete(p.children, i, i+1)
		p.gaps = slices.Delete(p.gaps, max(i, 1), max(i, 1)+1)
	}
	switch {
	case len(p.children) == before || len(p.children) > 1:
		return p
	case len(p.children) == 1:
		return p.children[0]
	}
	return nil
}

// inAttribute is an address as a quoted attribute holds it, withQuotes one that had no
// quotes, inStyle one in url() of a style attribute.
func inAttribute(address string) string { return html.EscapeString(address) }
func withQuotes(address string) string  { return `"` + html.EscapeString(address) + `"` }
func inStyle(address string) string {
	return html.EscapeString(strings.NewReplacer("'", "%27", "(", "%28", ")", "%29").Replace(address))
}
