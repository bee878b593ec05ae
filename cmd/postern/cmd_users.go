package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

type usersCmd struct {
	Import usersImportCmd `cmd:"" help:"Store the users of a CSV file."`
	Export usersExportCmd `cmd:"" help:"Print all users as CSV."`
	List   usersListCmd   `cmd:"" help:"List users."`
	Show   usersShowCmd   `cmd:"" help:"Show one user as stored."`
	Set    usersSetCmd    `cmd:"" help:"Change attributes of a user."`

	Move    usersMoveCmd    `cmd:"" help:"Note that one person's address has changed: what they left stays left."`
	History usersHistoryCmd `cmd:"" help:"Show what one person gets and left, and how that came about."`
	Leave   usersLeaveCmd   `cmd:"" help:"Take one person off a list, or off all."`
	Restore usersRestoreCmd `cmd:"" help:"Undo one person's leaving that was none."`
}

func (usersCmd) Help() string {
	return `For both directory drivers, embedded and dynamodb; while the gateway runs and while it does not.

Examples:

  postern users import users.csv
  postern users show min@example.net --json
  postern users set min@example.net Name=민수 SubscriptionStatus=false
  postern users history min@example.net
  postern users export users.csv`
}

type usersImportCmd struct {
	File string `arg:"" help:"A CSV file in UTF-8; - is stdin."`
}

func (usersImportCmd) Help() string {
	return `The first row names the columns: Email, Name, Gender, CreateTime, SubscriptionStatus; any other column is an attribute. Importing the same file again changes nothing. A row that cannot be stored is named with its number, and the others are stored.

Examples:

  postern users import users.csv
  zcat users.csv.gz | postern users import -`
}

// imported is a line of the import's answer.
type imported struct {
	Done   bool `json:"done"`
	Rows   int  `json:"rows"`
	Stored int  `json:"stored"`
	Bad    int  `json:"bad"`
	Errors []struct {
		Row   int    `json:"row"`
		Error string `json:"error"`
	} `json:"errors"`
}

func (c usersImportCmd) Run(s *session) error {
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
	var last imported
	err = conn.Lines(s.ctx, http.MethodPost, "/api/users/import", "text/csv", io.NopCloser(file), func(line json.RawMessage) error {
		last = imported{}
		if err := json.Unmarshal(line, &last); err != nil {
			return fmt.Errorf("the gateway's answer cannot be read: %w", err)
		}
		shown.show("%d rows, %d stored, %d wrong", last.Rows, last.Stored, last.Bad)
		return nil
	})
	shown.end()
	if err != nil {
		return fmt.Errorf("%w (after %d rows of %s; importing it again is safe)", err, last.Rows, name)
	}
	if !last.Done {
		return fmt.Errorf("the import broke off after %d rows of %s: importing it again is safe", last.Rows, name)
	}
	for _, e := range last.Errors {
		fmt.Fprintf(s.stderr, "%s: row %d: %s\n", name, e.Row, clean(e.Error))
	}
	if last.Bad > 0 {
		return fmt.Errorf("%d of %d rows were not stored: mend them and import the file again", last.Bad, last.Rows)
	}
	_, err = fmt.Fprintf(s.stdout, "%d %s stored\n", last.Stored, plural(last.Stored, "user", "users"))
	return err
}

type usersExportCmd struct {
	File string `arg:"" optional:"" help:"The CSV file to write; without it, stdout. An existing file is never overwritten."`
}

func (usersExportCmd) Help() string {
	return `The file is complete, or there is none. It can be imported again.

Examples:

  postern users export users.csv
  postern users export | gzip > users.csv.gz`
}

func (c usersExportCmd) Run(s *session) error { return s.export("/api/users/export", c.File) }

// export brings what the API exports into a file, whole or not at all, or to stdout.
func (s *session) export(path, file string) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	text, err := conn.Request(s.ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer text.Close()
	if file != "" && file != "-" {
		_, err = saveWhole(file, text)
		return err
	}
	if _, err := io.Copy(s.stdout, text); err != nil {
		return fmt.Errorf("the export broke off, so this is not all: %w", err)
	}
	return nil
}

type usersListCmd struct {
	Limit int  `help:"At most this many; 0 is all." default:"0" placeholder:"N"`
	JSON  bool `name:"json" help:"Print one JSON object a line."`
}

func (usersListCmd) Help() string {
	return `Examples:

  postern users list --limit 20
  postern users list --json`
}

func (c usersListCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	path := "/api/users"
	if c.Limit > 0 {
		path += "?limit=" + strconv.Itoa(c.Limit)
	}
	t := &rows{Writer: table(s.stdout), head: "EMAIL\tSUBSCRIBED\tATTRIBUTES\n"}
	err = conn.Lines(s.ctx, http.MethodGet, path, "", nil, func(line json.RawMessage) error {
		if c.JSON {
			_, err := fmt.Fprintf(s.stdout, "%s\n", line)
			return err
		}
		user, err := readUser(line)
		if err != nil {
			return err
		}
		var rest []string
		for _, key := range restOf(user) {
			rest = append(rest, key+"="+valueText(user[key]))
		}
		return t.add("%s\t%s\t%s\n", valueText(user["Email"]), valueText(user["SubscriptionStatus"]), strings.Join(rest, " "))
	})
	if err == nil && t.n == 0 && !c.JSON {
		_, err = fmt.Fprintln(s.stdout, "There are no users.")
	}
	return errors.Join(err, t.Flush())
}

type usersShowCmd struct {
	Email string `arg:"" help:"The user's address, as it is written in the directory."`
	JSON  bool   `name:"json" help:"Print the attributes as one JSON object."`
}

func (usersShowCmd) Help() string {
	return `Examples:

  postern users show min@example.net
  postern users show min@example.net --json`
}

func (c usersShowCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var line json.RawMessage
	if err := conn.Call(s.ctx, http.MethodGet, userPath(c.Email), nil, &line); err != nil {
		return fmt.Errorf("%s: %w", c.Email, err)
	}
	if c.JSON {
		return printJSON(s.stdout, line)
	}
	user, err := readUser(line)
	if err != nil {
		return err
	}
	t := table(s.stdout)
	for _, key := range append([]string{"Email", "SubscriptionStatus"}, restOf(user)...) {
		fmt.Fprintf(t, "%s\t%s\n", clean(key), valueText(user[key]))
	}
	return t.Flush()
}

type usersSetCmd struct {
	Email   string   `arg:"" help:"The user's address, as it is written in the directory."`
	Changes []string `arg:"" help:"FIELD=VALUE; FIELD= removes it." name:"changes"`
}

func (usersSetCmd) Help() string {
	return `A value is stored as the type that [fields] gives the field, else as a text. SubscriptionStatus is true or false. Email is the key and does not change.

Example:

  postern users set min@example.net Name=민수 CreateTime=1700000000`
}

func (c usersSetCmd) Run(s *session) error {
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	change, err := parseChanges(c.Changes, cfg.Fields)
	if err != nil {
		return err
	}
	if err := conn.Call(s.ctx, http.MethodPatch, userPath(c.Email), change, nil); err != nil {
		return fmt.Errorf("%s: %w", c.Email, err)
	}
	_, err = fmt.Fprintf(s.stdout, "%s: changed\n", c.Email)
	return err
}

type userChange struct {
	Subscribed *bool          `json:"SubscriptionStatus,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"` // null removes
}

func parseChanges(words []string, fields map[string]FieldConfig) (userChange, error) {
	change := userChange{Attributes: map[string]any{}}
	for _, word := range words {
		field, text, ok := strings.Cut(word, "=")
		switch {
		case !ok || field == "":
			return change, usageError(fmt.Sprintf("%q is not FIELD=VALUE", word))
		case field == "Email":
			return change, usageError("Email is the key and does not change: import the user under the new address, and unsubscribe the old one")
		case field == "SubscriptionStatus":
			on, err := parseBool(text)
			if err != nil {
				return change, usageError(fmt.Sprintf("SubscriptionStatus is true or false, not %q", text))
			}
			change.Subscribed = &on
		default:
			value, err := typedValue(text, fields[field].Type)
			if err != nil {
				return change, usageError(fmt.Sprintf("%s: %v", field, err))
			}
			change.Attributes[field] = value
		}
	}
	return change, nil
}

func typedValue(text, kind string) (any, error) {
	switch {
	case text == "":
		return nil, nil
	case kind == "number":
		if n := json.Number(text); json.Valid([]byte(text)) && strings.ContainsAny(text[:1], "-0123456789") {
			return n, nil
		}
		return nil, fmt.Errorf("%q is not a number", text)
	case kind == "bool":
		on, err := parseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not true or false", text)
		}
		return on, nil
	}
	return text, nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("neither true nor false")
}

func userPath(email string) string { return "/api/users/" + url.PathEscape(email) }

func readUser(line json.RawMessage) (map[string]any, error) {
	decoder := json.NewDecoder(strings.NewReader(string(line)))
	decoder.UseNumber()
	var user map[string]any
	if err := decoder.Decode(&user); err != nil {
		return nil, fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return user, nil
}

func restOf(user map[string]any) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(user)), func(k string) bool { return k == "Email" || k == "SubscriptionStatus" })
}

func valueText(v any) string {
	if text, ok := v.(string); ok {
		return dash(text)
	}
	if v == nil {
		return "-"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "-"
	}
	return clean(string(text))
}
