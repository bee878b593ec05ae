package sns

// Canonical is what SNS signs of a message.
func Canonical(body []byte) string {
	m, err := parse(body)
	if err != nil {
		return err.Error()
	}
	return string(m.canonical())
}
