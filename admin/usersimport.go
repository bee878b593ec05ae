package admin

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"postern/directory"
)

// importUsers is POST /api/users/import: CSV in, lines of progress out, the last
// of them with "done" or "error". The query says how the file is to be read:
// map=ATTRIBUTE=HEADING and omit=HEADING (each may come again), encoding, separator;
// and what is wanted: name and resume (see [directory.ImportOptions]), dry_run,
// and rejects for a line {"rejected": ...} of the header and of every bad row.
func (a *API) importUsers(w http.ResponseWriter, r *http.Request) error {
	if err := a.needUsers(); err != nil {
		return err
	}
	o, err := a.importOptions(r.URL.Query())
	if err != nil {
		return err
	}
	unhurried(w)
	_ = http.NewResponseController(w).EnableFullDuplex() // progress while the file still comes
	out := newStream(w)
	o.Progress = func(p directory.Progress) { _ = out.send(progressOf(p)) }
	if r.URL.Query().Get("rejects") == "true" {
		o.Reject = func(row directory.Reject) { _ = out.write(rejectedLine{rejected{row.Row, row.Reason, row.Cells}}) }
	}
	result, err := directory.Import(r.Context(), r.Body, a.Users, o)
	if err == nil && a.Learn != nil && !o.DryRun {
		err = a.Learn(result.Fields)
	}
	if err != nil {
		a.endWithError(out, r, err)
		return nil
	}
	a.Log.Info("users were imported", "by", actor(r.Context()), "rows", result.Rows, "stored", result.Stored, "bad", result.Bad, "dry_run", o.DryRun)
	_ = out.send(importedOf(result, o.DryRun))
	return nil
}

func (a *API) importOptions(q url.Values) (*directory.ImportOptions, error) {
	o := &directory.ImportOptions{
		Map: map[string]string{}, Omit: q["omit"], Encoding: directory.Encoding(strings.ToLower(q.Get("encoding"))), Types: a.Types, Resolve: a.Resolve,
		Index: a.Index, Name: q.Get("name"), Resume: q.Get("resume") == "true", DryRun: q.Get("dry_run") == "true",
	}
	for _, s := range q["map"] {
		attribute, heading, ok := strings.Cut(s, "=")
		if _, twice := o.Map[attribute]; !ok || attribute == "" || heading == "" || twice {
			return nil, bad("map=%q is not ATTRIBUTE=HEADING, or the attribute is mapped twice", s)
		}
		o.Map[attribute] = heading
	}
	if s := q.Get("separator"); s != "" {
		r, size := utf8.DecodeRuneInString(s)
		if size != len(s) {
			return nil, bad("separator=%q is not one sign", s)
		}
		o.Separator = r
	}
	if len(o.Name) > 1000 {
		return nil, bad("the name of an import has at most 1000 bytes")
	}
	return o, nil
}

// progress is how far an import has come, in rows of the file.
type progress struct {
	Rows   int   `json:"rows"`
	Stored int   `json:"stored"`
	Bad    int   `json:"bad"`
	Bytes  int64 `json:"bytes"` // of the file
}

func progressOf(p directory.Progress) progress { return progress(p) }

type rowError struct {
	Row   int    `json:"row"` // the line on which it begins; the header is on 1
	Error string `json:"error"`
}

type rejectedLine struct {
	Rejected rejected `json:"rejected"`
}

// rejected is a row that is not taken; of the header Error is "".
type rejected struct {
	Row   int      `json:"row"`
	Error string   `json:"error"`
	Cells []string `json:"cells"`
}

// imported is the last line.
type imported struct {
	Done   bool `json:"done"`
	DryRun bool `json:"dry_run,omitempty"`
	progress
	Encoding  directory.Encoding `json:"encoding"`
	Separator string             `json:"separator"`
	Resumed   int                `json:"resumed,omitempty"` // rows that an earlier import has stored
	Again     directory.Some     `json:"again,omitzero"`    // rows whose address came before
	Spelt     directory.Some     `json:"spelt,omitzero"`    // in another spelling
	Left      directory.Some     `json:"left,omitzero"`     // rows that say subscribed, of people who have left
	New       int                `json:"new,omitempty"`     // of a dry run
	Changed   int                `json:"changed,omitempty"`
	Same      int                `json:"same,omitempty"`
	Errors    []rowError         `json:"errors"` // of the first bad rows
}

func importedOf(r directory.ImportResult, dryRun bool) imported {
	rows := make([]rowError, len(r.Errors))
	for i, e := range r.Errors {
		rows[i] = rowError{e.Row, e.Reason}
	}
	return imported{Done: true, DryRun: dryRun, progress: progressOf(r.Progress), Encoding: r.Encoding, Separator: string(r.Separator), Resumed: r.Resumed,
		Again: r.Again, Spelt: r.Spelt, Left: r.Left, New: r.New, Changed: r.Changed, Same: r.Same, Errors: rows}
}
