package ses

import "postern/mail"

// The stages of a request, for the table of errors.
const (
	NotTried  = notTried
	Dialling  = dialling
	Connected = connected
	Broken    = broken
	Written   = written
)

// Classify is the pure function that every Send's error goes through.
func Classify(err error, at stage) *mail.Error { return classify(err, at) }
