package dialogue

import "slices"

// Verdict is a cause in words.
type Verdict struct {
	Outcome Outcome
	Reason  string // a word for scripts
	Text    string // what happened, and what to do at the device or at the gateway
}

// Explain says why a session went as it did. The first rule that fits decides:
// what kept the client from speaking at all, then what it was refused, in the
// order in which one refusal leads to the next, then how it ended.
func Explain(f *Facts) Verdict {
	v := Verdict{Outcome: f.outcome()}
	for _, group := range [][]rule{beforeSMTP, refusals, endings} {
		i := slices.IndexFunc(group, func(r rule) bool { return r.when(f) })
		if i >= 0 {
			v.Reason, v.Text = group[i].reason, group[i].say(f)
			return v
		}
	}
	return v
}

// outcome follows from the facts alone.
func (f *Facts) outcome() Outcome {
	refused := f.refusal().Code != 0
	switch {
	case f.Accepted > 0 && (refused || f.Waiting == ForText || f.Waiting == ForChunk):
		if !f.Ended && !refused {
			return Open
		}
		return Partly
	case !f.Ended:
		return Open
	case f.Accepted > 0:
		return Sent
	case f.Refused == "" && f.Stranger == "" && f.Handshake != HandshakeFailed && !refused && f.peaceful():
		return Nothing
	}
	return Failed
}

// wordless is a session without a dialogue.
func (f *Facts) wordless() bool { return f.Last == "" && f.Accepted == 0 && f.Octets == 0 }

// refusal is the one from which the others follow: RCPT and DATA are out of order
// when what went before was refused, and what is no command may be a mail or a
// log-in that nobody asked for any more.
func (f *Facts) refusal() (first Reply) {
	for _, r := range [...]*Reply{&f.NoAuth, &f.NoData, &f.NoRecipient, &f.NoMail, &f.NoTLS} {
		switch {
		case r.Code == 0:
		case !r.outOfOrder():
			return *r
		case first.Code == 0:
			first = *r
		}
	}
	if first.Code == 0 {
		return f.NoOther
	}
	return first
}

func (r *Reply) outOfOrder() bool { return r.Code == 503 || r.is(502, "5.5.1") }

// peaceful is a session that was ended in order, or in which nothing was asked
// for: somebody looked whether the port is open.
func (f *Facts) peaceful() bool {
	return f.Farewell.Code == 221 || f.Last == "" && f.Octets == 0 && f.Handshake == NoHandshake && f.Listener.TLS != "implicit"
}

// rule is one cause.
type rule struct {
	reason string
	when   func(*Facts) bool
	say    func(*Facts) string
}

// Reasons are the words that [Explain] knows, in the order of its rules.
func Reasons() []string {
	var all []string
	for _, group := range [][]rule{beforeSMTP, refusals, endings} {
		for _, r := range group {
			if !slices.Contains(all, r.reason) {
				all = append(all, r.reason)
			}
		}
	}
	return all
}

func says(s string) func(*Facts) string { return func(*Facts) string { return s } }
