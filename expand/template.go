package expand

// Template wraps what a marketer wrote: the mail's own text goes into the place
// that the template leaves for it. Package templates fetches it; nobody changes
// one that was fetched, because many messages share it.
type Template struct {
	ID      string  // as the address and the configuration name it
	Purpose string  // for people: TemplateName of the table; "" for none
	Subject string  // SES's subject part, one line; "" leaves the mail's
	HTML    string  // UTF-8; "" when the template has only text
	Text    string  // UTF-8; "": made from the HTML
	Images  []Image // in the order of the table or folder, no name twice
}

// Image is a picture that a template may show. It has Data, or a URL, or both.
type Image struct {
	Name string // as {{image:NAME}} calls it: the file name, the last segment of its URL
	Type string // sniffed from Data: image/png, image/jpeg, image/gif, image/webp; "" without Data
	Data []byte // nil where the picture is only linked
	URL  string // https address where it can be linked; "" for none
}
