package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

// historyEntry is an entry of the ledger, whole.
type historyEntry struct {
	Number uint64 `json:"number"`
	directory.Entry
	Wording string `json:"wording,omitempty"` // what the person was shown
}

func wholeEntry(e directory.Entry) historyEntry { return historyEntry{e.Number, e, e.Wording} }

// Says is what an entry says of the wording, or in its place.
func (e historyEntry) Says() string {
	for _, s := range []string{e.Wording, e.Note, e.Reason, e.Evidence.Words} {
		if s != "" {
			return s
		}
	}
	if e.From != "" {
		return "was " + string(e.From) + " before"
	}
	if e.To != "" {
		return "is " + string(e.To) + " now"
	}
	if e.Of != 0 {
		return fmt.Sprintf("of entry %d", e.Of)
	}
	return ""
}

// By is who or what brought it about.
func (e historyEntry) By() string {
	if e.How == "" {
		return e.Evidence.How
	}
	return e.How
}

// Client is where from.
func (e historyEntry) Client() string {
	if e.Remote == "" {
		return e.Evidence.Remote
	}
	return e.Remote
}

// personView is one person: what they get, what they left, and how that came about.
type personView struct {
	Address     mail.Address           `json:"address"` // as the directory writes it, where it is known
	InDirectory bool                   `json:"in_directory"`
	Gets        []string               `json:"gets"` // ids of the lists whose mail they get, unless a list's filter leaves them out
	Left        []string               `json:"left"` // ids; "*" is every list
	Suppression *directory.Suppression `json:"suppression,omitempty"`
	Unasked     string                 `json:"directory_error,omitempty"` // why the directory was not asked: then "gets" is by the index alone
	Entries     []historyEntry         `json:"entries"`                   // oldest first
}

// pathEmail reads {email}.
func pathEmail(r *http.Request) (mail.Address, error) {
	addr, err := mail.ParseAddress(strings.TrimSpace(r.PathValue("email")))
	if err != nil {
		return "", bad("%v", err)
	}
	return addr, nil
}

// userKey is the key of a person as the directory writes it; found is false where
// that is not known: then it is as the ledger has it, or as it was asked for. The
// index compares normalised addresses, so that an opt-out holds all the same. down is
// why the directory could not be asked.
func (a *API) userKey(ctx context.Context, addr mail.Address, history []directory.Entry) (key mail.Address, found bool, down error) {
	tried := []mail.Address{addr, mail.Address(addr.Key())}
	for _, e := range slices.Backward(history) {
		if e.Address.Key() == addr.Key() && !slices.Contains(tried, e.Address) {
			tried = append(tried, e.Address)
		}
	}
	for _, t := range tried {
		if u, err := a.Users.Get(ctx, t); err == nil {
			return u.Email, true, nil
		} else if !errors.Is(err, directory.ErrNotFound) {
			down = err // and stays so for the others
			break
		}
	}
	if len(tried) > 2 {
		return tried[2], false, down
	}
	return addr, false, down
}

// person is all that is known about an address, in any spelling.
func (a *API) person(ctx context.Context, addr mail.Address) (personView, error) {
	v := personView{Address: addr, Gets: []string{}, Left: []string{}, Entries: []historyEntry{}}
	if err := errors.Join(a.needIndex(), a.needUsers()); err != nil {
		return v, err
	}
	history, err := a.Index.History(addr)
	if err != nil {
		return v, err
	}
	for _, e := range history {
		v.Entries = append(v.Entries, wholeEntry(e))
	}
	v.Address, _, _ = a.userKey(ctx, addr, history)
	state, err := a.Index.State(ctx, a.Users, v.Address, a.Lists)
	if err != nil {
		return v, err
	}
	v.InDirectory = state.Found
	if state.Directory != nil {
		v.Unasked = sentence(state.Directory)
	}
	for _, id := range a.Lists {
		if state.On[id] && (state.Found || state.Directory != nil) {
			v.Gets = append(v.Gets, id)
		}
	}
	left, err := a.Index.Left(addr)
	if err != nil {
		return v, err
	}
	v.Left = append(v.Left, left...)
	s, suppressed, err := a.Index.Suppression(addr)
	if suppressed {
		v.Suppression = &s
	}
	if err == nil && len(history) == 0 && !suppressed && !v.InDirectory && v.Unasked == "" {
		err = &notHere{"there is no user " + string(addr) + " in the directory, and the ledger says nothing about this address"}
	}
	return v, err
}

// moveAddress is POST /api/users/{email}/move: {"to": ADDRESS, "evidence": ""}. What the
// person has left holds for the new address from then on. The answer is the new
// address's person.
func (a *API) moveAddress(w http.ResponseWriter, r *http.Request) error {
	from, err := pathEmail(r)
	if err != nil {
		return err
	}
	var body struct {
		To       string `json:"to"`
		Evidence string `json:"evidence"`
	}
	if err := readJSON(w, r, &body, false); err != nil {
		return err
	}
	to, err := mail.ParseAddress(body.To)
	if err != nil {
		return bad("to: %v", err)
	}
	note, err := needEvidence(body.Evidence)
	if err != nil {
		return err
	}
	if err := a.needIndex(); err != nil {
		return err
	}
	ev := directory.Evidence{At: time.Now(), How: actor(r.Context()), Note: note}
	if err := a.Index.Moved(r.Context(), from, to, ev); err != nil {
		return err
	}
	a.Log.Info("an operator noted that an address has changed", "by", actor(r.Context()))
	v, err := a.person(r.Context(), to)
	if err == nil {
		answer(w, http.StatusOK, v)
	}
	return err
}

// showHistory is GET /api/users/{email}/history, in any spelling.
func (a *API) showHistory(w http.ResponseWriter, r *http.Request) error {
	addr, err := pathEmail(r)
	if err != nil {
		return err
	}
	v, err := a.person(r.Context(), addr)
	if err == nil {
		answer(w, http.StatusOK, v)
	}
	return err
}

// needEvidence asks for what an administrator's word rests on: it is kept for as long
// as the ledger, for whoever asks later.
func needEvidence(text string) (string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return "", bad("say by what this person asked for it, such as \"by phone on 26 November\": the ledger keeps that as the evidence")
	}
	if len(text) > maxEvidenceText {
		return "", bad("the evidence has more than %d octets: write less, and keep the rest elsewhere", maxEvidenceText)
	}
	return text, nil
}

const maxEvidenceText = 300 // octets; the ledger keeps as many of a reason

// moved is the answer to a leaving or a restoring.
type moved struct {
	Address     mail.Address  `json:"address"`
	InDirectory bool          `json:"in_directory"` // a user is written like this there; else the index alone keeps to it
	List        string        `json:"list"`
	Changed     bool          `json:"changed"` // false: it was so before, or it is a dry run
	DryRun      bool          `json:"dry_run,omitempty"`
	Unasked     string        `json:"directory_error,omitempty"` // why the directory could not be asked: it is told when it answers
	Undone      *historyEntry `json:"undone,omitempty"`          // of restore: the entry of the leaving
	Entry       *historyEntry `json:"entry,omitempty"`           // what the ledger says of it now
}

func (m *moved) findUser(ctx context.Context, a *API, addr mail.Address, history []directory.Entry) {
	var down error
	if m.Address, m.InDirectory, down = a.userKey(ctx, addr, history); down != nil {
		m.Unasked = sentence(down)
	}
}

// leaveRequest is the body of leave and restore.
type leaveRequest struct {
	List     string `json:"list"`
	All      bool   `json:"all"`
	Evidence string `json:"evidence"`
	DryRun   bool   `json:"dry_run"`
}

// leaveByHand is POST /api/users/{email}/leave: {"list": ID} or {"all": true}, and
// "evidence". It is on the disk when it is answered.
func (a *API) leaveByHand(w http.ResponseWriter, r *http.Request) error {
	return a.moveByHand(w, r, a.leave)
}

// restoreByHand is POST /api/users/{email}/restore: {"list": ID, "evidence": "", "dry_run": false}.
func (a *API) restoreByHand(w http.ResponseWriter, r *http.Request) error {
	return a.moveByHand(w, r, a.restore)
}

func (a *API) moveByHand(w http.ResponseWriter, r *http.Request, do func(context.Context, mail.Address, leaveRequest) (moved, error)) error {
	addr, err := pathEmail(r)
	if err != nil {
		return err
	}
	var body leaveRequest
	if err := readJSON(w, r, &body, false); err != nil {
		return err
	}
	m, err := do(r.Context(), addr, body)
	if err == nil {
		answer(w, http.StatusOK, m)
	}
	return err
}

// leave takes a person off a list, for the API and the page alike.
func (a *API) leave(ctx context.Context, addr mail.Address, req leaveRequest) (moved, error) {
	m := moved{Address: addr, List: req.List}
	if req.All {
		m.List = directory.AllLists
	}
	switch {
	case req.All == (req.List != ""):
		return m, bad("name either one list or all of them")
	case req.DryRun:
		return m, bad("leaving has no dry run")
	case !req.All && !slices.Contains(a.Lists, req.List):
		return m, bad("there is no list with the id %q%s", req.List, a.amongLists())
	}
	evidence, err := needEvidence(req.Evidence)
	if err == nil {
		err = errors.Join(a.needIndex(), a.needUsers())
	}
	if err != nil {
		return m, err
	}
	before, err := a.Index.History(addr)
	if err != nil {
		return m, err
	}
	m.findUser(ctx, a, addr, before)
	// Who hangs up has asked all the same.
	err = a.Index.OptOut(context.WithoutCancel(ctx), m.Address, m.List, directory.Evidence{At: time.Now(), How: actor(ctx), Note: evidence,
		Answer: a.Answers != nil && a.Answers(m.List)})
	if err != nil {
		return m, err
	}
	if err := a.newest(&m, before, "opt-out"); err != nil {
		return m, err
	}
	if m.Changed {
		a.Log.Info("a person was taken off by hand", "by", actor(ctx), "list", m.List)
	}
	return m, nil
}

// newest finds the entry that was written since before; none: nothing has changed.
func (a *API) newest(m *moved, before []directory.Entry, kind string) error {
	now, err := a.Index.History(m.Address)
	if err != nil {
		return err
	}
	last := uint64(0)
	if len(before) > 0 {
		last = before[len(before)-1].Number
	}
	for _, e := range slices.Backward(now) {
		if e.Number > last && e.Kind == kind && e.List == m.List {
			whole := wholeEntry(e)
			m.Changed, m.Entry = true, &whole
			break
		}
	}
	return nil
}

func (a *API) amongLists() string {
	if len(a.Lists) == 0 || len(a.Lists) > 10 {
		return ""
	}
	return " (there are: " + strings.Join(a.Lists, ", ") + ")"
}

// restore undoes a leaving that the person did not mean: one person and one list, and
// never anything else, for the API and the page alike.
func (a *API) restore(ctx context.Context, addr mail.Address, req leaveRequest) (moved, error) {
	m := moved{Address: addr, List: req.List, DryRun: req.DryRun}
	if req.List == "" || req.All {
		return m, bad("name the list that the person gets again; %q is every list, where they were taken off all at once", directory.AllLists)
	}
	evidence, err := needEvidence(req.Evidence)
	if err == nil {
		err = errors.Join(a.needIndex(), a.needUsers())
	}
	if err != nil {
		return m, err
	}
	before, err := a.Index.History(addr)
	if err != nil {
		return m, err
	}
	m.findUser(ctx, a, addr, before)
	undone, err := a.leaving(addr, req.List, before)
	if err != nil {
		return m, err
	}
	m.Undone = undone
	if req.DryRun {
		return m, nil
	}
	done, err := a.Index.Restore(context.WithoutCancel(ctx), m.Address, req.List, directory.Evidence{At: time.Now(), How: actor(ctx), Note: evidence})
	switch {
	case errors.Is(err, directory.ErrNotLeft):
		return m, notLeft(addr, req.List)
	case err != nil:
		return m, err
	}
	whole := wholeEntry(done)
	m.Changed, m.Entry = true, &whole
	a.Log.Info("a leaving was undone by hand", "by", actor(ctx), "list", m.List, "entry", undone.Number)
	return m, nil
}

func notLeft(addr mail.Address, list string) error {
	if list == directory.AllLists {
		return &conflict{string(addr) + " has not left all lists at once: name the one list that they are to get again"}
	}
	return &conflict{fmt.Sprintf("%s has not left the list %q, so there is nothing to undo", addr, list)}
}

// leaving finds the entry by which an address is off a list now.
func (a *API) leaving(addr mail.Address, list string, history []directory.Entry) (*historyEntry, error) {
	left, err := a.Index.Left(addr)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(left, list) {
		if slices.Contains(left, directory.AllLists) {
			return nil, &conflict{string(addr) + ` has left all lists at once: undo that with the list "*", which gives them every list again, or let them choose on their page`}
		}
		return nil, notLeft(addr, list)
	}
	for _, e := range slices.Backward(history) {
		if e.Kind == "opt-out" && e.List == list {
			whole := wholeEntry(e)
			return &whole, nil
		}
	}
	return nil, notLeft(addr, list)
}

// verifyLedger is GET /api/ledger/verify: lines of progress, and at last "done" with
// the number of the entries and the hash of the last, or with the first bad entry.
func (a *API) verifyLedger(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	// Before, so that what is told is no more than what was read.
	number, hash, err := a.Index.Head()
	if err != nil {
		return err
	}
	unhurried(w)
	out := newStream(w)
	_, err = a.Index.VerifyLedger(r.Context(), func(done, of uint64) {
		_ = out.send(struct {
			Checked uint64 `json:"checked"`
			Total   uint64 `json:"total"`
		}{done, of})
	})
	end := struct {
		Done    bool   `json:"done"`
		Number  uint64 `json:"number"`
		Hash    string `json:"hash"`
		Bad     uint64 `json:"bad,omitempty"`
		Problem string `json:"problem,omitempty"`
	}{Done: true, Number: number, Hash: hash}
	var wrong *directory.LedgerError
	switch {
	case errors.As(err, &wrong):
		a.Log.Error("the ledger does not add up", "entry", wrong.Number, "problem", wrong.Error())
		end.Bad, end.Problem = wrong.Number, wrong.Error()
	case err != nil:
		a.endWithError(out, r, err)
		return nil
	}
	_ = out.send(end)
	return nil
}

// exportLedger is GET /api/ledger/export: a JSON object a line.
func (a *API) exportLedger(w http.ResponseWriter, r *http.Request) error {
	if err := a.needIndex(); err != nil {
		return err
	}
	return a.download(w, r, "application/x-ndjson", "ledger.jsonl", func(w io.Writer) error { return a.Index.ExportLedger(r.Context(), w) })
}

// rotateKey is POST /api/optout/rotate: a new key seals the links of what is accepted
// from now on; those of the older keys go on working.
func (a *API) rotateKey(w http.ResponseWriter, r *http.Request) error {
	if a.RotateKey == nil {
		return &conflict{"there is no key ring here"}
	}
	key, err := a.RotateKey()
	if err != nil {
		return err
	}
	a.Log.Info("the key of unsubscribe links was changed; older links go on working", "by", actor(r.Context()), "key", key)
	answer(w, http.StatusOK, struct {
		Key uint32 `json:"key"`
	}{key})
	return nil
}
