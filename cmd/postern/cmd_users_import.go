package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"postern/directory"
)

type usersImportCmd struct {
	File      string   `arg:"" help:"A CSV file; - is stdin."`
	Map       []string `help:"Read an attribute from the column with this heading. May come again." placeholder:"ATTRIBUTE=HEADING" sep:"none"`
	Omit      []string `help:"Leave the column with this heading out. May come again." placeholder:"HEADING" sep:"none"`
	Encoding  string   `help:"auto, utf-8 or euc-kr (Excel's in Korea)." default:"auto" placeholder:"NAME"`
	Separator string   `help:"The sign between columns, such as ';' or tab; else it is found out." placeholder:"SIGN"`
	Rejects   string   `help:"Write the rows that are not stored into this new CSV file, with the reasons." placeholder:"FILE"`
	Resume    bool     `help:"Go on where the import of this file broke off."`
	DryRun    bool     `help:"Write nothing; count what is new, changed, the same and wrong."`
	JSON      bool     `name:"json" help:"Print the result as JSON."`
}

func (usersImportCmd) Help() string {
	return `The first row names the columns: Email, Name, Gender, CreateTime, SubscriptionStatus; any other column is an attribute. The other names of a field in [fields] are known too. Importing the same file again changes nothing. A row that cannot be stored is named with its number, and the others are stored; then the exit code is 1. Nobody who has left becomes subscribed.

Examples:

  postern users import users.csv
  postern users import members.csv --map Email=이메일 --map Name=성명 --omit 비고
  postern users import members.csv --dry-run --rejects wrong.csv
  postern users import --resume users.csv
  zcat users.csv.gz | postern users import -`
}

// some are addresses, counted, with examples.
type some struct {
	Count    int      `json:"count"`
	Examples []string `json:"examples"`
}

// imported is a line of the import's answer.
type imported struct {
	Done      bool   `json:"done"`
	DryRun    bool   `json:"dry_run"`
	Rows      int    `json:"rows"`
	Stored    int    `json:"stored"`
	Bad       int    `json:"bad"`
	Bytes     int64  `json:"bytes"`
	Encoding  string `json:"encoding"`
	Separator string `json:"separator"`
	Resumed   int    `json:"resumed"`
	Again     some   `json:"again"`
	Spelt     some   `json:"spelt"`
	Left      some   `json:"left"`
	New       int    `json:"new"`
	Changed   int    `json:"changed"`
	Same      int    `json:"same"`
	Errors    []struct {
		Row   int    `json:"row"`
		Error string `json:"error"`
	} `json:"errors"`
	Rejected *struct {
		Error string   `json:"error"`
		Cells []string `json:"cells"`
	} `json:"rejected"`
}

func (c usersImportCmd) Run(s *session) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	file, name := s.stdin, "stdin"
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", c.File, plainPathError(err))
		}
		defer f.Close()
		file, name = f, c.File
	}
	query.Set("name", filepath.Base(name))
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	rejects, err := newRejects(c.Rejects)
	if err != nil {
		return err
	}
	shown := &importProgress{newProgress(s.stderr), sizeOf(file), time.Now(), c.DryRun}
	var last imported
	var text json.RawMessage
	err = conn.Lines(s.ctx, http.MethodPost, "/api/users/import?"+query.Encode(), "text/csv", io.NopCloser(file), func(line json.RawMessage) error {
		var l imported
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		if l.Rejected != nil {
			return rejects.add(l.Rejected.Error, l.Rejected.Cells)
		}
		last, text = l, line
		shown.show(&last)
		return nil
	})
	shown.end()
	if err == nil && !last.Done {
		err = errors.New("the import broke off")
	}
	if err != nil {
		rejects.drop()
		return fmt.Errorf("%w (%s)", err, c.after(last.Rows, name))
	}
	if err := rejects.save(); err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s.stdout, text)
	} else {
		_, err = fmt.Fprint(s.stdout, last.summary())
	}
	return errors.Join(err, last.problem(s.stderr, name, c.Rejects))
}

// query is what the flags ask of the gateway.
func (c usersImportCmd) query() (url.Values, error) {
	q := url.Values{}
	for _, m := range c.Map {
		if attribute, heading, ok := strings.Cut(m, "="); !ok || attribute == "" || heading == "" {
			return nil, usageError(fmt.Sprintf("--map is ATTRIBUTE=HEADING, such as Email=이메일, and not %q", m))
		}
		q.Add("map", m)
	}
	for _, o := range c.Omit {
		q.Add("omit", o)
	}
	switch e := strings.ToLower(c.Encoding); e {
	case "auto":
	case "utf-8", "euc-kr":
		q.Set("encoding", e)
	case "utf8":
		q.Set("encoding", "utf-8")
	case "euckr", "cp949":
		q.Set("encoding", "euc-kr")
	default:
		return nil, usageError(fmt.Sprintf("--encoding is auto, utf-8 or euc-kr, and not %q", c.Encoding))
	}
	switch sign := c.Separator; {
	case sign == "":
	case sign == "tab" || sign == `\t`:
		q.Set("separator", "\t")
	case utf8.RuneCountInString(sign) == 1:
		q.Set("separator", sign)
	default:
		return nil, usageError(fmt.Sprintf("--separator is one sign, or tab, and not %q", sign))
	}
	if c.Resume && c.DryRun {
		return nil, usageError("--resume and --dry-run do not go together")
	}
	for name, on := range map[string]bool{"resume": c.Resume, "dry_run": c.DryRun, "rejects": c.Rejects != ""} {
		if on {
			q.Set(name, "true")
		}
	}
	return q, nil
}

// after says what to do with an import that broke off.
func (c usersImportCmd) after(rows int, name string) string {
	if rows == 0 || c.DryRun {
		return fmt.Sprintf("after %d rows of %s; importing it again is safe", rows, name)
	}
	return fmt.Sprintf("after %d rows of %s, which are stored; go on with `postern users import --resume %s`, or import it again: both are safe", rows, name, c.File)
}

// summary is what became of the file, in sentences.
func (i *imported) summary() string {
	var b strings.Builder
	if users := i.Stored - i.Again.Count; i.DryRun {
		fmt.Fprintf(&b, "%d %s would be new, %d changed, %d %s as they are; nothing was written\n", i.New, plural(i.New, "user", "users"), i.Changed, i.Same, plural(i.Same, "stays", "stay"))
	} else {
		fmt.Fprintf(&b, "%d %s stored\n", users, plural(users, "user", "users"))
	}
	if i.Resumed > 0 {
		fmt.Fprintf(&b, "The first %d rows were stored before.\n", i.Resumed)
	}
	separators := map[string]string{";": "semicolons", "\t": "tabs"}
	switch how := separators[i.Separator]; {
	case i.Encoding == "" || i.Encoding == "utf-8" && how == "":
	case how == "":
		fmt.Fprintf(&b, "The file was read as %s.\n", strings.ToUpper(i.Encoding))
	default:
		fmt.Fprintf(&b, "The file was read as %s, separated by %s.\n", strings.ToUpper(i.Encoding), how)
	}
	for _, one := range []struct {
		some
		one, many string
	}{
		{i.Again, "row has an address that came before%s: the later row counts.", "rows have an address that came before%s: the later row counts."},
		{i.Spelt, "row has an address that came before in another spelling%s: that is a user too, and the person gets one copy of a mail.",
			"rows have an address that came before in another spelling%s: those are users too, and a person gets one copy of a mail."},
		{i.Left, "row says subscribed of a person who has left here%s: what was left stays left.", "rows say subscribed of people who have left here%s: what was left stays left."},
	} {
		if one.Count > 0 {
			fmt.Fprintf(&b, "%d "+plural(one.Count, one.one, one.many)+"\n", one.Count, one.such())
		}
	}
	return b.String()
}

// such names the examples.
func (s some) such() string {
	var names []string
	for _, e := range s.Examples {
		names = append(names, clean(e))
	}
	if len(names) == 0 {
		return ""
	}
	if s.Count > len(names) {
		names = append(names, "…")
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// problem names the rows that were not stored.
func (i *imported) problem(w io.Writer, name, rejects string) error {
	for _, e := range i.Errors {
		fmt.Fprintf(w, "%s: row %d: %s\n", name, e.Row, clean(e.Error))
	}
	if more := i.Bad - len(i.Errors); more > 0 && len(i.Errors) > 0 {
		fmt.Fprintf(w, "%s: and %d more\n", name, more)
	}
	switch {
	case i.Bad == 0:
		return nil
	case rejects != "":
		return fmt.Errorf("%d of %d rows were not stored; they are in %s: mend them there and import that file", i.Bad, i.Rows, rejects)
	case i.DryRun:
		return fmt.Errorf("%d of %d rows would not be stored", i.Bad, i.Rows)
	}
	return fmt.Errorf("%d of %d rows were not stored: mend them and import the file again", i.Bad, i.Rows)
}

// rejects is the file of rows that are not stored; nil where nobody wants one.
type rejects struct {
	path string
	file *io.PipeWriter
	csv  *csv.Writer
	rows int
	done chan error
}

// newRejects begins the file, which comes to be when an import with bad rows has ended.
func newRejects(path string) (*rejects, error) {
	if path == "" {
		return nil, nil
	}
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s exists and is not overwritten: choose another file, or move it away", path)
	}
	from, to := io.Pipe()
	r := &rejects{path: path, file: to, csv: csv.NewWriter(to), done: make(chan error, 1)}
	go func() {
		_, err := saveWhole(path, from)
		from.CloseWithError(err)
		r.done <- err
	}()
	return r, nil
}

// add writes a row; the first is the header. Excel knows UTF-8 by its BOM.
func (r *rejects) add(reason string, cells []string) error {
	if r == nil {
		return nil
	}
	if reason == "" {
		if _, err := io.WriteString(r.file, "\ufeff"); err != nil {
			return err
		}
		reason = directory.RejectedColumn
	} else {
		r.rows++
	}
	if err := r.csv.Write(append([]string{reason}, cells...)); err != nil {
		return fmt.Errorf("cannot write %s: %w", r.path, err)
	}
	return nil
}

var errNoRejects = errors.New("there are no rejected rows")

// drop leaves no file.
func (r *rejects) drop() {
	if r != nil {
		r.file.CloseWithError(errNoRejects)
		<-r.done
	}
}

func (r *rejects) save() error {
	if r == nil {
		return nil
	}
	if r.rows == 0 {
		r.drop()
		return nil
	}
	r.csv.Flush()
	r.file.CloseWithError(r.csv.Error())
	return <-r.done
}

// importProgress shows how far an import has come, how fast it is, and, where the size of
// the file is known, when it will end.
type importProgress struct {
	*progress
	size  int64 // of the file; 0: unknown
	began time.Time
	dry   bool
}

func (p *importProgress) show(i *imported) {
	text := fmt.Sprintf("%d rows, %d stored, %d wrong", i.Rows, i.Stored, i.Bad)
	if p.dry {
		text = fmt.Sprintf("%d rows, %d wrong", i.Rows, i.Bad)
	}
	p.progress.show("%s%s", text, pace(i.Rows, i.Bytes, p.size, time.Since(p.began), i.Done))
}

// pace is the rate, and the time that is left; nothing within the first second.
func pace(rows int, read, size int64, since time.Duration, done bool) string {
	if since < time.Second || rows == 0 {
		return ""
	}
	text := fmt.Sprintf("; %.0f rows a second", float64(rows)/since.Seconds())
	if !done && read > 0 && size >= read {
		left := time.Duration(float64(since) * float64(size-read) / float64(read))
		text += fmt.Sprintf(", %d %% of the file, %s left", 100*read/size, left.Round(time.Second))
	}
	return text
}

// sizeOf is the size of a regular file, and else 0.
func sizeOf(r io.Reader) int64 {
	f, ok := r.(*os.File)
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}
