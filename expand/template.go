package expand

// Template wraps what a marketer wrote.
type Template struct {
	ID      string
	Purpose string // for people; "" for none
	Subject string // in the place of the mail's, which {{Subject}} in it is; "" leaves the mail's
	HTML    string // UTF-8; "" for a template of text alone
	Text    string // UTF-8; "": made from the HTML
	Images  []Image
}

// Image is a picture of a template.
type Image struct {
	Name string // as {{image:NAME}} calls it
	Type string // image/png, image/jpeg, image/gif, image/webp
	Data []byte // nil of one that can only be linked
	URL  string // https, where it can be linked; "" for none
}
