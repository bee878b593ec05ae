package sqs

// Place is where a queue's URL says that it is.
func Place(queue string) (region, endpoint string, emulator bool, err error) {
	p, err := parseURL(queue)
	return p.region, p.endpoint, p.emulator, err
}

// Region is the one whose signatures a Reader makes.
func (r *Reader) SigningRegion() string { return r.api.Options().Region }
