// Package transcript plays SMTP dialogues that are written down as text, for
// tests. A file is read line by line; what is not as written is an error that
// names file and line.
//
//	# text               a comment
//	client: NAME [ADDR]  another connection begins: to the listener NAME, from the local address ADDR
//	C: text              sent with CRLF
//	C| "text"            sent as a Go string says, without CRLF
//	EML file             a mail as DATA wants it: lines end with CRLF, dots are doubled, the last line is a dot
//	BDAT n file          a mail in n chunks of BDAT, all sent at once
//	S: text              the next line of the server begins so
//	S~ regexp            the next line of the server matches
//	S* text              one whole reply, of which the last line begins so
//	TLS                  the client starts TLS
//	CUT                  the client goes away without a word
//	END                  the server closes the connection
//	12 VERB text         that line twelve times, # is 1, 2, 3, ...
//
// Without a line client: the first connection goes to the listener "". Any other
// verb is one of [Player].Verbs.
package transcript
