package main

import (
	"time"

	"postern/admin"
	"postern/directory"
	"postern/expand"
)

// serveLists gives the administrators' API the configured lists, and who gets their
// mail by the very rules of expansion.
func (c *Config) serveLists(api *admin.API, index *directory.Index, fields func() (*expand.Fields, error)) {
	for i := range c.Lists {
		l := &c.Lists[i]
		api.Configured = append(api.Configured, admin.List{ID: l.ID, Address: l.Address, Name: l.Name, Owner: l.Owner, Lane: l.Lane,
			Filter: l.Filter, Template: l.Template, Language: l.Language})
	}
	api.Audience = func(id string) (*expand.Audience, error) {
		l, err := c.listCalled(id)
		if err != nil {
			return nil, plainly(err)
		}
		f, err := fields()
		if err != nil {
			return nil, plainly(err)
		}
		filter, err := expand.CompileFilter(l.Filter, f, c.Location())
		if err != nil {
			return nil, plainly(err)
		}
		return &expand.Audience{List: l.ID, Filter: filter, Blocked: index.Blocked, Now: time.Now()}, nil
	}
}
