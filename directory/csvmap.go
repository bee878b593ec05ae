package directory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// heading is a cell of the header.
type heading struct {
	text string // the attribute's name, with its kind where it says one
	was  string // as it stands in the file
	omit bool
}

// headings reads the cells of a header: which are called otherwise (Map), which are
// left out (Omit), and which are another name of a field (Resolve).
func (o *ImportOptions) headings(cells []string) ([]heading, error) {
	all := make([]heading, len(cells))
	for i, cell := range cells {
		cell = strings.TrimFunc(cell, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
		all[i] = heading{text: cell, was: cell}
	}
	said := map[int]bool{}
	find := func(what string) (*heading, error) {
		i := findHeading(all, what)
		if i < 0 {
			return nil, fmt.Errorf("there is no column %q; the file has %s", clip(what), headingNames(all))
		}
		if said[i] {
			return nil, fmt.Errorf("the column %q is mapped or left out twice", clip(what))
		}
		said[i] = true
		return &all[i], nil
	}
	for _, attribute := range slices.Sorted(maps.Keys(o.Map)) {
		h, err := find(o.Map[attribute])
		if err != nil {
			return nil, err
		}
		h.rename(attribute)
	}
	for _, what := range o.Omit {
		h, err := find(what)
		if err != nil {
			return nil, err
		}
		h.omit = true
	}
	if o.Resolve != nil {
		resolveAll(all, said, o.Resolve)
	}
	return all, nil
}

// rename keeps the kind that the cell says, unless the new name has one.
func (h *heading) rename(to string) {
	c, explicit := splitHeading(h.text)
	if h.text = to; explicit {
		if _, both := splitHeading(to); !both {
			h.text += ":" + string(c.kind)
		}
	}
}

// findHeading finds a column by its heading, with or without its kind, and then in any
// case; -1 is none.
func findHeading(all []heading, what string) int {
	what = strings.TrimSpace(what)
	name := func(h heading) string { c, _ := splitHeading(h.was); return c.name }
	for _, same := range []func(heading) bool{
		func(h heading) bool { return h.was == what },
		func(h heading) bool { return name(h) == what },
		func(h heading) bool { return strings.EqualFold(name(h), what) },
	} {
		if i := slices.IndexFunc(all, same); i >= 0 {
			return i
		}
	}
	return -1
}

// resolveAll calls columns by their field's name, where no other column has that.
func resolveAll(all []heading, said map[int]bool, resolve func(string) (string, bool)) {
	taken := map[string]bool{}
	for _, h := range all {
		if c, _ := splitHeading(h.text); !h.omit {
			taken[standardName(c.name)] = true
		}
	}
	for i := range all {
		c, _ := splitHeading(all[i].text)
		if field, ok := resolve(c.name); ok && !said[i] && !taken[standardName(field)] && standardName(c.name) != field {
			all[i].rename(field)
			taken[standardName(field)] = true
		}
	}
}

// standardName is the name of one of the columns with a meaning, in any case; any
// other stays as it is.
func standardName(name string) string {
	for _, standard := range append(standardColumns(), "OptOut") {
		if strings.EqualFold(name, standard) {
			return standard
		}
	}
	return name
}

func headingNames(all []heading) string {
	var names []string
	for _, h := range all {
		names = append(names, clip(h.was))
	}
	if len(names) > 40 {
		names = append(names[:40], fmt.Sprintf("and %d more", len(names)-40))
	}
	return strings.Join(names, ", ")
}
