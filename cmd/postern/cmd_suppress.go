package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"postern/directory"
	"postern/mail"
)

type suppressCmd struct {
	List   suppressListCmd   `cmd:"" help:"List the addresses that get no mail, and why."`
	Show   suppressShowCmd   `cmd:"" help:"Show why one address gets no mail, and by what evidence."`
	Add    suppressAddCmd    `cmd:"" help:"Suppress addresses: nothing is sent there any more."`
	Remove suppressRemoveCmd `cmd:"" help:"Let an address get mail again."`
	Import suppressImportCmd `cmd:"" help:"Suppress the addresses of a CSV file or of Amazon's list."`
	Export suppressExportCmd `cmd:"" help:"Print all suppressions as CSV."`
}

func (suppressCmd) Help() string {
	return `An address that bounces for good, or whose owner calls a mail spam, is suppressed by itself. Works while the gateway runs and while it does not.

Examples:

  postern suppress list --kind complaint
  postern suppress show min@example.net
  postern suppress add min@example.net --reason "asked by phone"
  postern suppress remove min@example.net
  postern suppress import amazon.json`
}

type suppressListCmd struct {
	Kind  string `help:"Only bounce, soft-bounces, complaint, manual or import." placeholder:"KIND"`
	Since string `help:"Only from this day or moment on, such as 2026-11-01." placeholder:"WHEN"`
	JSON  bool   `name:"json" help:"Print the suppressions as a JSON array."`
}

func (suppressListCmd) Help() string {
	return `In the order of the addresses. WHEN is a day, a day and a time ("2026-11-01 18:30", in the configured time zone) or RFC 3339.

Examples:

  postern suppress list
  postern suppress list --kind soft-bounces --since 2026-11-01
  postern suppress list --json`
}

func (c suppressListCmd) Run(s *session) error {
	if _, err := readWhen(c.Since, time.UTC); err != nil {
		return err
	}
	if c.Kind != "" && !slices.Contains(directory.Kinds(), directory.Kind(c.Kind)) {
		return usageError(fmt.Sprintf("--kind is bounce, soft-bounces, complaint, manual or import, not %q", c.Kind))
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	path := "/api/suppressions?" + c.query(cfg.Location()).Encode()
	if c.JSON {
		return streamJSON(s, conn, path)
	}
	t := &rows{Writer: table(s.stdout), head: "ADDRESS\tKIND\tSINCE\tTOLD BY\tWHY\n"}
	err = conn.Elements(s.ctx, path, nothing, func(element json.RawMessage) error {
		one, err := readSuppression(element)
		if err != nil {
			return err
		}
		return t.add("%s\t%s\t%s\t%s\t%s\n", clean(string(one.Address)), one.Kind, one.At.In(cfg.Location()).Format(time.DateTime),
			dash(one.Evidence.How), dash(one.Reason))
	})
	if err == nil && t.n == 0 {
		text := "No address is suppressed."
		if c.Kind != "" || c.Since != "" {
			text = "No suppression fits."
		}
		_, err = fmt.Fprintln(s.stdout, text)
	}
	return errors.Join(err, t.Flush())
}

func (c suppressListCmd) query(where *time.Location) url.Values {
	q := url.Values{}
	if c.Kind != "" {
		q.Set("kind", c.Kind)
	}
	if since, _ := readWhen(c.Since, where); !since.IsZero() { // it was read before
		q.Set("since", since.Format(time.RFC3339))
	}
	return q
}

// readWhen reads a day or a moment; "" is the zero time.
func readWhen(text string, where *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, where); err == nil {
			return t, nil
		}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usageError(fmt.Sprintf("%q is no day such as 2026-11-01 and no moment such as \"2026-11-01 18:30\"", text))
	}
	return t, nil
}

// suppression is an answer of the API.
type suppression struct {
	directory.Suppression
	Added bool     `json:"added"` // of add
	Left  []string `json:"left"`  // lists, of show and remove
}

func readSuppression(text json.RawMessage) (suppression, error) {
	var s suppression
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return s, nil
}

type suppressShowCmd struct {
	Address string `arg:"" help:"The address, in any spelling."`
	JSON    bool   `name:"json" help:"Print the suppression as JSON."`
}

func (suppressShowCmd) Help() string {
	return `The exit code is 1 when the address is not suppressed.

Examples:

  postern suppress show min@example.net
  postern suppress show min@example.net --json`
}

func (c suppressShowCmd) Run(s *session) error {
	path, err := suppressionPath(c.Address)
	if err != nil {
		return err
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var text json.RawMessage
	if err := conn.Call(s.ctx, http.MethodGet, path, nil, &text); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, text)
	}
	one, err := readSuppression(text)
	if err != nil {
		return err
	}
	t, e := table(s.stdout), one.Evidence
	for _, line := range [][2]string{{"Address", string(one.Address)}, {"Kind", string(one.Kind)}, {"Why", one.Reason}, {"Since", one.At.In(cfg.Location()).Format(time.DateTime)},
		{"Told by", e.How}, {"Client", e.Remote}, {"Message", string(e.Message)}, {"Copy", e.Copy}, {"Status", e.Status}, {"Server said", e.Words},
		{"Upstream id", e.UpstreamID}, {"Event id", e.EventID}, {"User", string(e.UserKey)}, {"Has left", one.lists()}} {
		if line[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", line[0], clean(line[1]))
		}
	}
	return t.Flush()
}

func suppressionPath(address string) (string, error) {
	addr, err := mail.ParseAddress(address)
	return "/api/suppressions/" + url.PathEscape(string(addr)), err
}

type suppressAddCmd struct {
	Addresses []string `arg:"" help:"The addresses." name:"addresses"`
	Reason    string   `help:"Why, for those who look it up later." placeholder:"TEXT"`
	JSON      bool     `name:"json" help:"Print the suppressions as a JSON array."`
}

func (suppressAddCmd) Help() string {
	return `Copies that wait for these addresses are not sent either. An address that is suppressed already keeps its reason. For many addresses use import.

Examples:

  postern suppress add min@example.net --reason "asked by phone"
  postern suppress add min@example.net jisu@example.net`
}

// addressesAtOnce is less than one request may name.
const addressesAtOnce = 500

func (c suppressAddCmd) Run(s *session) error {
	for _, address := range c.Addresses {
		if _, err := mail.ParseAddress(address); err != nil {
			return err
		}
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var all []json.RawMessage
	for some := range slices.Chunk(c.Addresses, addressesAtOnce) {
		var answer []json.RawMessage
		body := map[string]any{"addresses": some, "reason": c.Reason}
		if err := conn.Call(s.ctx, http.MethodPost, "/api/suppressions", body, &answer); err != nil {
			return err
		}
		all = append(all, answer...)
	}
	if c.JSON {
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return printJSON(s.stdout, text)
	}
	for _, text := range all {
		one, err := readSuppression(text)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s: suppressed", clean(string(one.Address)))
		if !one.Added {
			line += " already, " + sinceWhen(one, cfg.Location())
		}
		if _, err := fmt.Fprintln(s.stdout, line); err != nil {
			return err
		}
	}
	return nil
}

func (s suppression) lists() string {
	if slices.Contains(s.Left, directory.AllLists) {
		return "all lists"
	}
	return clean(strings.Join(s.Left, ", "))
}

func sinceWhen(one suppression, where *time.Location) string {
	return fmt.Sprintf("since %s (%s): %s", one.At.In(where).Format(time.DateTime), one.Kind, clean(one.Reason))
}

type suppressRemoveCmd struct {
	Address   string `arg:"" help:"The address, in any spelling."`
	Complaint bool   `help:"Lift also what a complaint has suppressed: this person has asked for mail again."`
	Reason    string `help:"Why, for the ledger." placeholder:"TEXT"`
	JSON      bool   `name:"json" help:"Print what was lifted as JSON."`
}

func (suppressRemoveCmd) Help() string {
	return `Bounces and complaints from before this moment do not suppress the address again, also when they come late. Lists that the person has left stay left.

Whoever mails people again who called its mail spam is refused by their providers: so a complaint is lifted only with --complaint.

Examples:

  postern suppress remove min@example.net --reason "the mailbox is back"
  postern suppress remove jisu@example.net --complaint`
}

func (c suppressRemoveCmd) Run(s *session) error {
	path, err := suppressionPath(c.Address)
	if err != nil {
		return err
	}
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	q := url.Values{"reason": {c.Reason}}
	if c.Complaint {
		q.Set("complaint", "true")
	}
	var text json.RawMessage
	if err := conn.Call(s.ctx, http.MethodDelete, path+"?"+q.Encode(), nil, &text); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, text)
	}
	was, err := readSuppression(text)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(s.stdout, "%s: gets mail again; it was suppressed %s\n", clean(string(was.Address)), sinceWhen(was, cfg.Location())); err != nil {
		return err
	}
	if len(was.Left) > 0 {
		_, err = fmt.Fprintf(s.stdout, "This person has left %s; that stays until they join again.\n", was.lists())
	}
	return err
}

type suppressImportCmd struct {
	File string `arg:"" help:"A CSV file in UTF-8, or Amazon's JSON; - is stdin."`
	JSON bool   `name:"json" help:"Print the result as JSON."`
}

func (suppressImportCmd) Help() string {
	return `CSV: the first row names the columns, in any case and order: Address (or Email), and any of Reason, Kind, At. Other columns are passed over, but those of an export. JSON: what "aws sesv2 list-suppressed-destinations" prints; its columns EmailAddress, Reason and LastUpdateTime are known in CSV too.

Importing the same file again changes nothing. An address whose suppression was lifted after the row's time stays lifted. A row that cannot be taken is named with its number, and the others are taken.

Examples:

  postern suppress import gone.csv
  aws sesv2 list-suppressed-destinations | postern suppress import -`
}

// importedSuppressions is a line of the import's answer.
type importedSuppressions struct {
	Done    bool `json:"done"`
	Rows    int  `json:"rows"`
	Added   int  `json:"added"`
	Already int  `json:"already"`
	Lifted  int  `json:"lifted"`
	Bad     int  `json:"bad"`
	Errors  []struct {
		Row   int    `json:"row"`
		Error string `json:"error"`
	} `json:"errors"`
}

func (c suppressImportCmd) Run(s *session) error {
	file, name := s.stdin, "stdin"
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", c.File, plainPathError(err))
		}
		defer f.Close()
		file, name = f, c.File
	}
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	shown := newProgress(s.stderr)
	var last importedSuppressions
	var text json.RawMessage
	err = conn.Lines(s.ctx, http.MethodPost, "/api/suppressions/import", "application/octet-stream", io.NopCloser(file), func(line json.RawMessage) error {
		last, text = importedSuppressions{}, line
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		shown.show("%d rows, %d suppressed, %d wrong", last.Rows, last.Added, last.Bad)
		return nil
	})
	shown.end()
	if err != nil {
		return fmt.Errorf("%w (after %d rows of %s; importing it again is safe)", err, last.Rows, name)
	}
	if !last.Done {
		return fmt.Errorf("the import broke off after %d rows of %s: importing it again is safe", last.Rows, name)
	}
	if c.JSON {
		err = printJSON(s.stdout, text)
	} else {
		_, err = fmt.Fprintln(s.stdout, last.summary())
	}
	return errors.Join(err, last.problem(s.stderr, name))
}

func (i importedSuppressions) summary() string {
	text := fmt.Sprintf("%d %s suppressed", i.Added, plural(i.Added, "address", "addresses"))
	if i.Already > 0 {
		text += fmt.Sprintf(", %d before", i.Already)
	}
	if i.Lifted > 0 {
		text += fmt.Sprintf("; %d not, because somebody has lifted %s since", i.Lifted, plural(i.Lifted, "it", "them"))
	}
	return text
}

// problem names the rows that were not taken.
func (i importedSuppressions) problem(w io.Writer, name string) error {
	for _, e := range i.Errors {
		fmt.Fprintf(w, "%s: row %d: %s\n", name, e.Row, clean(e.Error))
	}
	if i.Bad == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d rows were not taken: mend them and import the file again", i.Bad, i.Rows)
}

type suppressExportCmd struct {
	File string `arg:"" optional:"" help:"The CSV file to write; without it, stdout. An existing file is never overwritten."`
}

func (suppressExportCmd) Help() string {
	return `The file is complete, or there is none. Imported again it gives the same list, with its evidence.

Examples:

  postern suppress export suppressions.csv
  postern suppress export | gzip > suppressions.csv.gz`
}

func (c suppressExportCmd) Run(s *session) error { return s.export("/api/suppressions/export", c.File) }
