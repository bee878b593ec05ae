package letters

import (
	"net/url"
	"slices"
	"time"
	"unicode/utf8"

	"postern/mail"
)

// Data is what a text can show, each as {{.Name}}.
type Data struct {
	Company string // of [list.identity], else the name of the list; never empty
	Address string // of [list.identity], may be ""; so may the next two
	Phone   string
	Contact string // its e-mail address
	Email   string // the recipient's address
	Masked  string // the same as "m•••@example.com"
	Date    string // of today
	List    string // the name of the list; of several, the first

	Left        []Choice // lists that were left
	Agreed      []Choice // lists whose mail the recipient agreed to get
	Preferences string   // link to the page where all of it can be changed

	Link  string // of the confirmation
	Days  string // for so long it works
	Until string // and until then
}

// Choice is what was chosen about a list, within {{range .Left}} and {{range .Agreed}}.
type Choice struct {
	Name string // of the list
	Date string // when: "26 November 2026"
	Time string // "14:02"; "" where only the day is known
}

// fields are what a letter's text can show.
func (n Name) fields() []string {
	all := []string{"Company", "Address", "Phone", "Contact", "Email", "Masked", "Date", "List"}
	if n == Confirm {
		return append(all, "Link", "Days", "Until")
	}
	return append(all, "Preferences")
}

// ranges are what it can list.
func (n Name) ranges() []string {
	switch n {
	case Left:
		return []string{"Left"}
	case Agreed, Reminder:
		return []string{"Agreed"}
	case Changed:
		return []string{"Left", "Agreed"}
	}
	return nil
}

// rangeFields are what there is of each that is listed.
func rangeFields() []string { return []string{"Name", "Date", "Time"} }

// maxShown is the longest value, in characters. Links are not cut.
const maxShown = 200

// clean makes each value a line that changes nothing around it.
func (d Data) clean() Data {
	for _, s := range []*string{&d.Company, &d.Address, &d.Phone, &d.Contact, &d.Masked, &d.Date, &d.List, &d.Days, &d.Until} {
		*s = line(*s, maxShown)
	}
	d.Email = line(d.Email, 320)
	d.Preferences, d.Link = link(d.Preferences), link(d.Link)
	d.Left, d.Agreed = cleanChoices(d.Left), cleanChoices(d.Agreed)
	return d
}

func cleanChoices(all []Choice) []Choice {
	all = slices.Clone(all)
	for i, c := range all {
		all[i] = Choice{Name: line(c.Name, maxShown), Date: line(c.Date, maxShown), Time: line(c.Time, maxShown)}
	}
	return all
}

// link is an address that a reader can open, "" for what is none.
func link(s string) string {
	if len(s) > 2000 || !printable(s) {
		return ""
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return s
}

// printable says that s is one word of ASCII that can stand in angle brackets.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '<' || s[i] == '>' {
			return false
		}
	}
	return s != ""
}

// mask shows enough of an address for its owner to know it.
func mask(a mail.Address) string {
	_, n := utf8.DecodeRuneInString(a.Local())
	if n == len(a.Local()) {
		n = 0
	}
	return a.Local()[:n] + "•••@" + a.Domain()
}

func day(t time.Time, language string) string {
	if language == "ko" {
		return t.Format("2006년 1월 2일")
	}
	return t.Format("2 January 2006")
}

func clock(t time.Time) string { return t.Format("15:04") }
