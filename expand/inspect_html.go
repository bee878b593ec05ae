package expand

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	xhtml "golang.org/x/net/html"

	"postern/mail"
)

// review says of the template's texts what [Review] says of a mail's.
func (n *inspector) review() {
	r := &reviewer{in: Input{Vocabulary: n.v, List: mail.ListPolicy{Language: "en"}}, parts: map[string]string{}, shown: map[string]bool{}}
	r.heard = func(code string, places []string) {
		if len(places) == 0 {
			places = []string{""}
		}
		for _, p := range places {
			n.hears(r, code, p)
		}
	}
	n.part, n.src, r.at = PartText, lines(n.t.Text), -1
	r.plain(&text{src: n.src})
	n.part, n.src = PartHTML, lines(n.t.HTML)
	r.html(n.src)
}

// hears writes one of those warnings for a template.
func (n *inspector) hears(r *reviewer, code, place string) {
	line := n.line(r.at)
	if file := n.pictureCalled(place); file != "" && (code == "no-scheme" || code == "file-picture" || code == "missing-picture") {
		n.warn("no-placeholder", n.part, line, "The picture is called %s, and no reader has a file of that name: write {{image:%s}}", readPlace(place), file)
		return
	}
	if code == "stray-braces" && slices.ContainsFunc(n.out.Findings, func(f Finding) bool { return f.Problem && f.Part == n.part }) {
		return // most likely those of the problem
	}
	if code == "missing-picture" {
		n.warn(code, n.part, line, "cid:%s is no picture of the template: put the file into it and write {{image:FILE}}", readPlace(place))
		return
	}
	if strings.Contains(place, hole) && r.at >= 0 { // as it is written
		for _, a := range attributes(tagAt(n.src, r.at), r.at) {
			if a.name == "src" || a.name == "href" {
				place = n.src[a.start:a.end]
			}
		}
	}
	said := r.warningText(code)
	if strings.Contains(said, "%s") {
		said = fmt.Sprintf(said, readPlace(place))
	}
	n.warn(code, n.part, line, "%s", said)
}

func (n *inspector) pictureCalled(place string) string {
	base := path.Base(strings.ReplaceAll(place, `\`, "/"))
	if slices.ContainsFunc(n.t.Images, func(m Image) bool { return m.Name == base }) {
		return base
	}
	return ""
}

// tagAt is the tag that begins at an octet.
func tagAt(src string, at int) string {
	tag := ""
	_ = eachToken(src[at:], func(k token) error {
		tag = src[at : at+k.end]
		return errStop
	})
	return tag
}

// errStop ends a walk over HTML.
var errStop = errors.New("stop")

// anywhere is a placeholder wherever it stands.
var anywhere = regexp.MustCompile(`\{\{([^{}]{1,300})\}\}`)

// unfilled notes placeholders in the HTML where nothing is filled in.
func (n *inspector) unfilled() {
	n.part, n.src = PartHTML, lines(n.t.HTML)
	look := func(from, to int) {
		for _, m := range anywhere.FindAllStringSubmatchIndex(n.src[from:to], -1) {
			if whole, inner := n.src[from+m[0]:from+m[1]], n.src[from+m[2]:from+m[3]]; n.means(inner) {
				n.warn("not-filled", PartHTML, n.line(from+m[0]),
					"%s is sent as it is written: a style, a script, a comment and an attribute that is neither an address nor words for readers are not filled in.", readPlace(whole))
			}
		}
	}
	_ = eachToken(n.src, func(k token) error {
		switch {
		case k.hidden, k.kind == xhtml.CommentToken && !forOutlook.MatchString(n.src[k.start:k.end]):
			look(k.start, k.end)
		case k.kind == xhtml.StartTagToken, k.kind == xhtml.SelfClosingTagToken:
			for _, a := range attributes(n.src[k.start:k.end], k.start) {
				if !oneOf(a.name, links()) && !oneOf(a.name, captions()) {
					look(a.start, a.end)
				}
			}
		}
		return nil
	})
}

// means says whether a placeholder would mean anything where placeholders are filled.
func (n *inspector) means(inner string) bool {
	name, _, _ := strings.Cut(inner, "|")
	switch folded := foldName(name); {
	case folded == templateBody, folded == templateSubject, strings.HasPrefix(folded, templateImage):
		return true
	}
	_, err := resolve(inner, "", n.v)
	return err == nil
}

// bodyPlaces warns of a {{Body}} where no page can stand: what the mail brings has
// paragraphs and tables of its own, and links.
func (n *inspector) bodyPlaces() {
	n.part, n.src = PartHTML, lines(n.t.HTML)
	bodies := slices.Sorted(slices.Values(n.bodies[PartHTML]))
	var open []string // of those that matter
	drop := func(name string) {
		for i, o := range slices.Backward(open) {
			if o == name {
				open = slices.Delete(open, i, i+1)
				return
			}
		}
	}
	_ = eachToken(n.src, func(k token) error {
		for len(bodies) > 0 && bodies[0] < k.end {
			if len(open) > 0 {
				n.warn("body-inside", PartHTML, n.line(bodies[0]), "{{Body}} stands within <%s>, and a mail has paragraphs and links of its own, which cannot stand there: put it into a <div> or a <td>.", open[len(open)-1])
			}
			bodies = bodies[1:]
		}
		if k.kind == xhtml.StartTagToken && isBlock(k.name) && k.name != "br" || k.kind == xhtml.EndTagToken && isBlock(k.name) {
			drop("p")
		}
		switch k.name {
		case "p", "a", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "button":
			if k.kind == xhtml.StartTagToken {
				open = append(open, k.name)
			} else if k.kind == xhtml.EndTagToken {
				drop(k.name)
			}
		}
		return nil
	})
}
