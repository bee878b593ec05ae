package admin

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"

	"postern/directory"
	"postern/expand"
	"postern/mail"
)

// List is a configured list, as it is written: what is empty there is empty here.
type List struct {
	ID       string       `json:"id"`
	Address  mail.Address `json:"address"`
	Name     string       `json:"name"`
	Owner    mail.Address `json:"owner"`
	Lane     string       `json:"lane"`
	Filter   string       `json:"filter"`
	Template string       `json:"template"`
	Language string       `json:"language"`
}

// ListCount is how the users of the directory stand to a list. Users is the sum of all
// that follows but Subscribed, Chosen, Unknown and Lacking.
type ListCount struct {
	Users         int `json:"users"`
	Subscribed    int `json:"subscribed"`
	NotSubscribed int `json:"not_subscribed"`
	Unknown       int `json:"unknown"`    // of these: nothing that is understood says whether they are
	Left          int `json:"left"`       // this list or all, by the directory or the index
	Suppressed    int `json:"suppressed"` // they get no mail at all
	NoAddress     int `json:"no_address"` // what stands there is no mail address
	NotChosen     int `json:"not_chosen"` // by the filter
	NotJudged     int `json:"not_judged"` // the filter cannot say: they would be skipped
	Chosen        int `json:"chosen"`     // by the filter
	Repeated      int `json:"repeated"`   // of these: another spelling of the same address came first
	Receives      int `json:"receives"`   // what is left: who would get a mail now
	// Lacking counts, for each field at which the filter looks, who has nothing there,
	// or nothing of its type: 0, false or the empty text counts.
	Lacking map[string]int `json:"lacking"`
}

func countOf(c expand.Census) ListCount {
	return ListCount{Users: c.Users, Subscribed: c.Users - c.By[expand.NotSubscribed], NotSubscribed: c.By[expand.NotSubscribed], Unknown: c.Unknown,
		Left: c.By[expand.HasLeft], Suppressed: c.By[expand.Suppressed], NoAddress: c.By[expand.NoAddress], NotChosen: c.By[expand.NotChosen],
		NotJudged: c.By[expand.NotJudged], Chosen: c.By[expand.Receives] + c.By[expand.Repeated], Repeated: c.By[expand.Repeated],
		Receives: c.By[expand.Receives], Lacking: c.Lacking}
}

// listLine is a line of an answer about a list: how far the count is, or its end. With
// the end come the users of a sample.
type listLine struct {
	Done   bool             `json:"done,omitempty"`
	Count  *ListCount       `json:"count,omitempty"`
	Sample []directory.User `json:"sample,omitzero"`
}

// listLists is GET /api/lists.
func (a *API) listLists(w http.ResponseWriter, _ *http.Request) error {
	answer(w, http.StatusOK, append([]List{}, a.Configured...))
	return nil
}

// audience finds who gets the mail of the list that the path names.
func (a *API) audience(id string) (*expand.Audience, error) {
	if !slices.Contains(a.Lists, id) {
		return nil, &notHere{"there is no list with the id " + id + a.amongLists()}
	}
	if a.Audience == nil {
		return nil, &conflict{"there are no lists here"}
	}
	if err := errors.Join(a.needIndex(), a.needUsers()); err != nil {
		return nil, err
	}
	return a.Audience(id)
}

// countList is GET /api/lists/{id}/count: reads the whole directory; lines of progress,
// and at last one with "done", or "error".
func (a *API) countList(w http.ResponseWriter, r *http.Request) error {
	audience, err := a.audience(r.PathValue("id"))
	if err != nil {
		return err
	}
	unhurried(w)
	out := newStream(w)
	c, err := audience.Count(r.Context(), a.Users, nil, progressTo(out))
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	count := countOf(c)
	_ = out.send(listLine{Done: true, Count: &count})
	return nil
}

// progressTo tells how far a count is; what cannot be told is not missed: the request's
// context ends the count when the client is gone.
func progressTo(out *stream) func(expand.Census) {
	return func(c expand.Census) {
		count := countOf(c)
		_ = out.send(listLine{Count: &count})
	}
}

const (
	usualSample = 5
	maxSample   = 1000
)

// sampleList is GET /api/lists/{id}/sample?n=: as countList; the last line has up to n
// users who would get a mail, any of them as likely as any other.
func (a *API) sampleList(w http.ResponseWriter, r *http.Request) error {
	audience, err := a.audience(r.PathValue("id"))
	if err != nil {
		return err
	}
	n, err := number(r.URL.Query(), "n", 31)
	switch {
	case err != nil:
		return err
	case n == 0:
		n = usualSample
	case n > maxSample:
		return bad("a sample has at most %d users", maxSample)
	}
	unhurried(w)
	out := newStream(w)
	sample, c, err := a.sample(r.Context(), audience, int(n), progressTo(out))
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	count := countOf(c)
	_ = out.send(listLine{Done: true, Count: &count, Sample: sample})
	return nil
}

// sample chooses n of those who receive while it counts them, keeping n in memory
// (algorithm R).
func (a *API) sample(ctx context.Context, audience *expand.Audience, n int, progress func(expand.Census)) (kept []directory.User, c expand.Census, err error) {
	kept = []directory.User{}
	met := 0
	c, err = audience.Count(ctx, a.Users, func(u *directory.User, v expand.Verdict) error {
		if v.Standing != expand.Receives {
			return nil
		}
		met++
		if len(kept) < n {
			kept = append(kept, *u)
		} else if i := rand.IntN(met); i < n {
			kept[i] = *u
		}
		return nil
	}, progress)
	return kept, c, err
}

// ListReason is whether one person would get a mail of a list now, and why not: all
// reasons, where there are several.
type ListReason struct {
	Address     mail.Address      `json:"address"` // as the directory writes it, where it is there
	InDirectory bool              `json:"in_directory"`
	Receives    bool              `json:"receives"`
	Standing    string            `json:"standing"` // the first reason: as in a count, or "unknown"
	Why         string            `json:"why"`      // in words; "" of who receives
	Subscribed  bool              `json:"subscribed"`
	Left        []string          `json:"left"`       // ids of lists; "*" is every list
	Suppressed  string            `json:"suppressed"` // why the address gets no mail at all; "" for one that does
	Chosen      bool              `json:"chosen"`     // by the filter
	Fields      map[string]string `json:"fields"`     // at which the filter looks, and what stands there
	Lacking     []string          `json:"lacking"`    // of these: nothing there, or nothing of their type
}

// whyOfList is GET /api/lists/{id}/why/{email}, in any spelling that is known.
func (a *API) whyOfList(w http.ResponseWriter, r *http.Request) error {
	audience, err := a.audience(r.PathValue("id"))
	if err != nil {
		return err
	}
	addr, err := pathEmail(r)
	if err != nil {
		return err
	}
	reason, err := a.reason(r.Context(), audience, addr)
	if err == nil {
		answer(w, http.StatusOK, reason)
	}
	return err
}

func (a *API) reason(ctx context.Context, audience *expand.Audience, addr mail.Address) (ListReason, error) {
	v := ListReason{Address: addr, Standing: "unknown", Why: "is not in the directory", Fields: map[string]string{}, Lacking: []string{}}
	history, err := a.Index.History(addr)
	if err != nil {
		return v, err
	}
	key, found, down := a.userKey(ctx, addr, history)
	if down != nil {
		return v, down
	}
	if v.Left, err = a.Index.Left(addr); err != nil {
		return v, err
	}
	s, suppressed, err := a.Index.Suppression(addr)
	if err != nil {
		return v, err
	}
	if suppressed {
		v.Suppressed = s.Reason
	}
	if found {
		u, err := a.Users.Get(ctx, key)
		if err != nil {
			return v, err
		}
		v.judge(audience, &u)
	}
	v.Left = append([]string{}, v.Left...)
	return v, nil
}

// judge adds what the directory says.
func (v *ListReason) judge(audience *expand.Audience, u *directory.User) {
	verdict := audience.Judge(u)
	v.Address, v.InDirectory, v.Subscribed = u.Email, true, u.Subscribed
	v.Receives, v.Standing, v.Why = verdict.Standing == expand.Receives, verdict.Standing.String(), verdict.Why
	v.Left = directory.Union(v.Left, u.OptOut)
	v.Chosen, _ = audience.Filter.Match(u, audience.Now)
	v.Fields, v.Lacking = audience.Filter.Looks(u), append(v.Lacking, audience.Filter.Lacks(u)...)
}
