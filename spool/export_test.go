package spool

// What the tests see of rows.

var (
	EncodeCopy = encodeCopy
	DecodeCopy = decodeCopy
)
