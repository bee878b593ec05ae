package directory

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"postern/mail"
)

// Mender is a Store whose rows may be in other forms than those that Postern writes.
type Mender interface {
	// Mend brings those of the users to the form that is written now whose meaning is
	// beyond doubt, and says what was done with each, or, dry, would be. It never
	// changes who is subscribed to what, and a word that comes at the same time
	// wins. Of keys that are not there nothing is said.
	Mend(ctx context.Context, keys []mail.Address, f *Forms, dry bool) ([]Mended, error)
}

// Mended is what became of a user.
type Mended struct {
	Email mail.Address
	What  []string // a sentence each
}

// UserCheck says what is looked at. Its zero value, with a Store, looks at everything and
// writes nothing.
type UserCheck struct {
	Store  Store
	Index  *Index            // may be nil: then nobody has left anything here
	Fields map[string]string // as of [NewForms]
	Lists  []string          // ids: how many users get their mail
	Mend   bool              // bring to its form what is beyond doubt
	DryRun bool              // only say what Mend would do
	// Progress is called with every page: users read, and odd ones among them; may be nil.
	Progress func(users, odd int)
}

// UserReport is what a check has found. A user is in one of Subscribed, Unsubscribed and
// Unknown.
type UserReport struct {
	Users        int `json:"users"`
	Subscribed   int `json:"subscribed"`
	Unsubscribed int `json:"unsubscribed"`
	Unknown      int `json:"unknown"` // nothing understandable says whether they are: they are not

	// Of those who are subscribed:
	LeftAll    int            `json:"left_all"`   // have left all lists, here or in the directory
	Suppressed int            `json:"suppressed"` // their address gets nothing
	Lists      map[string]int `json:"lists,omitempty"`

	Missing  map[string]int `json:"missing,omitempty"` // known attribute to the number of users who have none, or an empty one
	Odd      int            `json:"odd"`               // users of whom something is odd
	Oddities []Oddity       `json:"oddities"`          // the most frequent first
	Mended   []Oddity       `json:"mended,omitempty"`  // what was mended, or would be
}

// Oddity is something odd, or mended, of some users.
type Oddity struct {
	What string `json:"what"`
	Some
}

const (
	// maxOddities bounds how many different ones are told apart.
	maxOddities = 200

	otherOddities = "something else that is odd"
	noAddress     = "the address is no mail address: nothing is sent there"
	notSendable   = "the address has letters beyond ASCII before the @: nothing can be sent there"
	speltTwice    = "the address is there in another spelling too: one person, two users"
)

// Run reads the whole directory. Memory does not grow with it, but for about 16 bytes a
// user. What is said is of the end, after mending. The error is the Store's or the
// Index's; the report is then of what was read.
func (c *UserCheck) Run(ctx context.Context) (UserReport, error) {
	r := &checkRun{UserCheck: c, forms: NewForms(c.Fields), seen: newSeen(), odd: map[string]*Some{}, mended: map[string]*Some{}}
	r.report.Missing, r.report.Lists = map[string]int{}, map[string]int{}
	for _, list := range c.Lists {
		r.report.Lists[list] = 0
	}
	for at := Checkpoint(nil); ; {
		page, err := c.Store.Scan(ctx, at)
		if err == nil {
			err = r.page(ctx, page.Users)
		}
		if err != nil {
			return r.told(), fmt.Errorf("check the users: %w", err)
		}
		if at = page.Next; at == nil {
			return r.told(), nil
		}
		if c.Progress != nil {
			c.Progress(r.report.Users, r.report.Odd)
		}
	}
}

type checkRun struct {
	*UserCheck
	forms       *Forms
	seen        *seen
	odd, mended map[string]*Some
	report      UserReport
}

func (r *checkRun) page(ctx context.Context, users []User) error {
	if r.Mend {
		if err := r.mend(ctx, users); err != nil {
			return err
		}
	}
	words := make([]Word, len(users))
	if r.Index != nil {
		addrs := make([]mail.Address, len(users))
		for i := range users {
			addrs[i] = users[i].Email
		}
		var err error
		if words, err = r.Index.Words(addrs); err != nil {
			return err
		}
	}
	for i := range users {
		again, otherwise := r.seen.add(users[i].Email)
		if again {
			continue // a scan may meet a user twice
		}
		unsendable := unsendable(users[i].Email)
		r.count(&users[i], words[i], unsendable == "")
		r.judge(&users[i], unsendable, otherwise)
	}
	return nil
}

// mend brings the odd users of a page to their form, and reads them again.
func (r *checkRun) mend(ctx context.Context, users []User) error {
	mender, can := r.Store.(Mender)
	var keys []mail.Address
	at := map[mail.Address]int{}
	for i := range users {
		if len(users[i].Odd) > 0 || len(r.forms.Odd(users[i].Attributes)) > 0 {
			keys = append(keys, users[i].Email)
			at[users[i].Email] = i
		}
	}
	if !can || len(keys) == 0 {
		return nil
	}
	mended, err := mender.Mend(ctx, keys, r.forms, r.DryRun)
	for _, m := range mended {
		for _, what := range m.What {
			note(r.mended, what, m.Email)
		}
	}
	if err != nil || r.DryRun {
		return err
	}
	fresh, err := r.Store.GetMany(ctx, keys)
	for _, u := range fresh {
		users[at[u.Email]] = u
	}
	return err
}

// unsendable says why nothing can be sent to an address; "" when it can.
func unsendable(addr mail.Address) string {
	if _, err := mail.ParseAddress(string(addr)); err != nil {
		return noAddress
	}
	if _, err := addr.ASCII(); err != nil {
		return notSendable
	}
	return ""
}

func (r *checkRun) count(u *User, w Word, sendable bool) {
	r.report.Users++
	u.OptOut = Union(u.OptOut, w.Left)
	switch {
	case u.Unknown:
		r.report.Unknown++
	case !u.Subscribed:
		r.report.Unsubscribed++
	default:
		r.report.Subscribed++
		if slices.Contains(u.OptOut, AllLists) {
			r.report.LeftAll++
		}
		if w.Suppressed {
			r.report.Suppressed++
		}
		for _, list := range r.Lists {
			if sendable && !w.Suppressed && u.Receives(list) {
				r.report.Lists[list]++
			}
		}
	}
	for name := range r.forms.types {
		if isNothing(u.Attributes[name]) && !r.elsewhere(u, name) {
			r.report.Missing[name]++
		}
	}
}

// elsewhere says that the user has the attribute in another case.
func (r *checkRun) elsewhere(u *User, name string) bool {
	for other, v := range u.Attributes {
		if r.forms.called(other) == name && !isNothing(v) {
			return true
		}
	}
	return false
}

// judge notes what is odd of a user.
func (r *checkRun) judge(u *User, unsendable string, speltOtherwise bool) {
	odd := append(slices.Clip(u.Odd), r.forms.Odd(u.Attributes)...)
	if unsendable != "" {
		odd = append(odd, unsendable)
	}
	if speltOtherwise {
		odd = append(odd, speltTwice)
	}
	if len(odd) > 0 {
		r.report.Odd++
	}
	for _, what := range odd {
		note(r.odd, what, u.Email)
	}
}

func note(all map[string]*Some, what string, addr mail.Address) {
	some := all[what]
	if some == nil && len(all) >= maxOddities {
		what = otherOddities
		some = all[what]
	}
	if some == nil {
		some = &Some{}
		all[what] = some
	}
	some.add(addr)
}

// told is the report so far.
func (r *checkRun) told() UserReport {
	report := r.report
	report.Oddities, report.Mended = byFrequency(r.odd), byFrequency(r.mended)
	return report
}

func byFrequency(all map[string]*Some) []Oddity {
	list := []Oddity{}
	for what, some := range all {
		list = append(list, Oddity{what, *some})
	}
	slices.SortFunc(list, func(a, b Oddity) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.What, b.What)) })
	return list
}
