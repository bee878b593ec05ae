package templates

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/expand"
)

const (
	maxShown    = 10   // names in a sentence
	maxCompared = 2000 // names that are searched for the nearest
)

// names is what List said.
type names struct {
	infos []Info // in the order of their IDs
	all   bool   // and not only the first
	until time.Time
}

// list asks the source for the names, once for all who want them in the next few
// seconds. What it cannot get in a short time is left out.
func (c *Cache) list(ctx context.Context) names {
	got, _, _ := c.listing.Do("", func() (any, error) {
		c.mu.Lock()
		n := c.names
		c.mu.Unlock()
		if time.Now().Before(n.until) {
			return n, nil
		}
		ctx, cancel := context.WithTimeout(ctx, listTimeout)
		defer cancel()
		infos, err := c.source.List(ctx)
		slices.SortFunc(infos, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
		n = names{infos, err == nil, time.Now().Add(holdOff)}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.names = n
		return n, nil
	})
	return got.(names)
}

func (n names) has(id string) bool {
	_, ok := slices.BinarySearchFunc(n.infos, id, func(i Info, id string) int { return cmp.Compare(i.ID, id) })
	return ok
}

// unknown is the error for a template that is not there, with the names of those
// that are, the nearest first.
func (n names) unknown(id string) error {
	e := unknown(id)
	if len(n.infos) == 0 {
		if n.all {
			e.Public += "; there is none at all yet"
		}
		return e
	}
	type near struct {
		id string
		d  int
	}
	var all []near
	for _, i := range n.infos[:min(len(n.infos), maxCompared)] {
		all = append(all, near{i.ID, expand.EditDistance([]byte(strings.ToLower(id)), []byte(strings.ToLower(i.ID)))})
	}
	slices.SortStableFunc(all, func(a, b near) int { return cmp.Compare(a.d, b.d) })
	var shown []string
	for _, c := range all[:min(len(all), maxShown)] {
		shown = append(shown, c.id)
	}
	e.Public += "; there are " + strings.Join(shown, ", ")
	if more := len(n.infos) - len(shown); more > 0 {
		e.Public += fmt.Sprintf(" and %d more", more)
	}
	return e
}
