package expand

import (
	"context"
	"hash/maphash"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

// Standing is how somebody in the directory stands to a list.
type Standing uint8

const (
	Receives      Standing = iota // gets a copy of its mail
	NotSubscribed                 // SubscriptionStatus is false, missing, or nothing that is understood
	HasLeft                       // this list or all of them, by the directory or by what is known here
	Suppressed                    // gets no mail at all
	NoAddress                     // the key is no address
	NotChosen                     // by the list's filter
	NotJudged                     // the filter cannot say: the copy is stored as skipped
	Repeated                      // for Count alone: the same address, in another spelling, was met before
	NumStandings  = iota
)

// String is a word for programs, such as "not-chosen".
func (s Standing) String() string {
	return []string{"receives", "not-subscribed", "left", "suppressed", "no-address", "not-chosen", "not-judged", "repeated"}[s]
}

// Verdict is what an Audience says of a user.
type Verdict struct {
	Standing
	To  mail.Address // where the copy goes; of Receives and NotJudged
	Why string       // there is no copy that could be sent, in words; "" of Receives
}

// Audience decides who gets the mail of a list: for expansion, for a release and for
// whoever wants to know beforehand.
type Audience struct {
	List   string // its id
	Filter *Filter
	// Blocked asks what is known here of an address; nil: nothing.
	Blocked func(addr mail.Address, list string) (directory.Block, bool)
	// Now is when the mail was accepted, from which the filter counts.
	Now time.Time
}

// Judge says how u stands to the list.
func (a *Audience) Judge(u *directory.User) Verdict {
	switch {
	case !u.Subscribed:
		return Verdict{Standing: NotSubscribed, Why: "is not subscribed"}
	case !u.Receives(a.List):
		return Verdict{Standing: HasLeft, Why: "has left the list"}
	}
	if a.Blocked != nil {
		if b, blocked := a.Blocked(u.Email, a.List); blocked {
			v := Verdict{Standing: HasLeft, Why: strings.TrimSpace("blocked here: " + b.Reason)}
			if b.Kind == "suppressed" {
				v.Standing = Suppressed
			}
			return v
		}
	}
	to, err := mail.ParseAddress(string(u.Email))
	if err != nil {
		return Verdict{Standing: NoAddress, Why: err.Error()}
	}
	chosen, err := a.Filter.Match(u, a.Now)
	switch {
	case err != nil:
		return Verdict{NotJudged, to, err.Error()}
	case !chosen:
		return Verdict{Standing: NotChosen, Why: "is not chosen by the list's filter"}
	}
	return Verdict{Standing: Receives, To: to}
}

// Census is how everybody in a directory stands to a list.
type Census struct {
	Users   int // in the directory
	By      [NumStandings]int
	Unknown int // of those not subscribed: nothing that is understood says whether they are
	// Lacking counts, for each field at which the filter looks, who has nothing there,
	// or nothing of its type, of those at whom the filter looked.
	Lacking map[string]int
}

// Count judges everybody in the directory. each is told of every user and verdict,
// progress after every page; both may be nil. What it says of who receives is what an
// expansion would store now of a mail without placeholders: one copy for an address,
// in however many spellings it is there. It takes some 15 octets of memory for each of
// them. An error is the directory's, ctx's or each's.
func (a *Audience) Count(ctx context.Context, store directory.Store, each func(*directory.User, Verdict) error, progress func(Census)) (Census, error) {
	c := Census{Lacking: map[string]int{}}
	met := newKeys()
	var at directory.Checkpoint
	for {
		page, err := store.Scan(ctx, at)
		if err != nil {
			return c, err
		}
		for i := range page.Users {
			u := &page.Users[i]
			v := a.Judge(u)
			if v.To != "" && met.add(v.To.Key()) {
				v = Verdict{Standing: Repeated, Why: "has another spelling of an address that was met before"}
			}
			c.add(a, u, v)
			if each != nil {
				if err := each(u, v); err != nil {
					return c, err
				}
			}
		}
		if progress != nil {
			progress(c)
		}
		if at = page.Next; at == nil {
			return c, nil
		}
	}
}

func (c *Census) add(a *Audience, u *directory.User, v Verdict) {
	c.Users++
	c.By[v.Standing]++
	if u.Unknown && v.Standing == NotSubscribed {
		c.Unknown++
	}
	if v.Standing == Receives || v.Standing == NotChosen || v.Standing == NotJudged {
		for _, field := range a.Filter.Lacks(u) {
			c.Lacking[field]++
		}
	}
}

// keys is a set of addresses that remembers 64 bits of each, half the memory of a map:
// two of a million are taken for one in one count of 30 million.
type keys struct {
	seed  maphash.Seed
	slots []uint64 // a power of two of them; 0 is free
	n     int
}

func newKeys() *keys { return &keys{seed: maphash.MakeSeed(), slots: make([]uint64, 1024)} }

// add says whether the key was there before.
func (k *keys) add(key string) (again bool) {
	if k.n >= len(k.slots)/4*3 {
		old := k.slots
		k.slots = make([]uint64, 2*len(old))
		for _, h := range old {
			if h != 0 {
				k.slots[k.place(h)] = h
			}
		}
	}
	h := max(maphash.String(k.seed, key), 1)
	i := k.place(h)
	if k.slots[i] == h {
		return true
	}
	k.slots[i] = h
	k.n++
	return false
}

// place is where h stands, or belongs.
func (k *keys) place(h uint64) int {
	i := int(h) & (len(k.slots) - 1)
	for k.slots[i] != 0 && k.slots[i] != h {
		i = (i + 1) & (len(k.slots) - 1)
	}
	return i
}
