package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
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
	Check  usersCheckCmd  `cmd:"" help:"Count who is subscribed, and show what is odd in the directory."`

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
  postern users check
  postern users export users.csv`
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
