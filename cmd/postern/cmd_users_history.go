package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"postern/directory"
	"postern/mail"
)

type usersHistoryCmd struct {
	Email string `arg:"" help:"The person's address, in any spelling."`
	JSON  bool   `name:"json" help:"Print all of it as JSON, with the whole wordings."`
}

func (usersHistoryCmd) Help() string {
	return `What the person gets, what they left, and every consent, refusal, restoring and suppression in the order in which it happened: when, by what, from where, and what they were shown, shortened. The exit code is 1 when neither the directory nor the ledger knows the address.

Examples:

  postern users history min@example.net
  postern users history min@example.net --json`
}

// person is the API's answer about one address.
type person struct {
	Address     mail.Address           `json:"address"`
	InDirectory bool                   `json:"in_directory"`
	Gets        []string               `json:"gets"`
	Left        []string               `json:"left"`
	Suppression *directory.Suppression `json:"suppression"`
	Unasked     string                 `json:"directory_error"`
	Entries     []ledgerEntry          `json:"entries"`
}

// ledgerEntry is an entry of the ledger, whole.
type ledgerEntry struct {
	Number uint64 `json:"number"`
	directory.Entry
	Wording string `json:"wording"`
}

func (c usersHistoryCmd) Run(s *session) error {
	conn, cfg, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var text json.RawMessage
	if err := conn.Call(s.ctx, http.MethodGet, userPath(c.Email)+"/history", nil, &text); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, text)
	}
	var p person
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	if _, err := fmt.Fprint(s.stdout, p.summary(cfg.Location())); err != nil {
		return err
	}
	if len(p.Entries) == 0 {
		_, err = fmt.Fprintln(s.stdout, "The ledger has no entry about this address.")
		return err
	}
	t := &rows{Writer: table(s.stdout), head: "ENTRY\tWHEN\tWHAT\tLIST\tBY\tFROM\tSHOWN OR SAID\n"}
	for _, e := range p.Entries {
		if err := t.add("%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Number, e.At.In(cfg.Location()).Format(time.DateTime), clean(e.Kind), dash(listWord(e.List)),
			dash(e.by()), dash(e.client()), dash(shortened(e.says()))); err != nil {
			return err
		}
	}
	return t.Flush()
}

// summary is how things stand with a person.
func (p *person) summary(where *time.Location) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s gets %s", clean(string(p.Address)), orNothing(p.Gets))
	if len(p.Left) > 0 {
		fmt.Fprintf(&b, "; has left %s", orNothing(p.Left))
	}
	b.WriteString("\n")
	switch {
	case p.Unasked != "":
		fmt.Fprintf(&b, "The directory could not be asked (%s): this is by the ledger of this machine alone.\n", clean(p.Unasked))
	case !p.InDirectory:
		b.WriteString("The directory holds no user who is written like this.\n")
	}
	if s := p.Suppression; s != nil {
		fmt.Fprintf(&b, "No mail at all goes there since %s (%s): %s\n", s.At.In(where).Format(time.DateTime), s.Kind, clean(s.Reason))
	}
	return b.String()
}

func orNothing(lists []string) string {
	if len(lists) == 0 {
		return "no list"
	}
	if slices.Contains(lists, directory.AllLists) {
		return "all lists"
	}
	return clean(strings.Join(lists, ", "))
}

func listWord(list string) string {
	if list == directory.AllLists {
		return "all lists"
	}
	return list
}

func (e *ledgerEntry) by() string {
	if e.How != "" {
		return e.How
	}
	return e.Evidence.How
}

func (e *ledgerEntry) client() string {
	if e.Remote != "" {
		return e.Remote
	}
	return e.Evidence.Remote
}

// says is what an entry has in words.
func (e *ledgerEntry) says() string {
	switch {
	case e.From != "":
		return "was " + string(e.From) + " before"
	case e.To != "":
		return "is " + string(e.To) + " now"
	}
	for _, text := range []string{e.Note, e.Wording, e.Reason, e.Evidence.Words} {
		if text != "" {
			return text
		}
	}
	if e.Of != 0 {
		return fmt.Sprintf("of entry %d", e.Of)
	}
	return ""
}

// shownWords is how many characters of a wording fit into a table.
const shownWords = 60

// shortened is a text on one line, cut.
func shortened(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) <= shownWords {
		return text
	}
	return string([]rune(text)[:shownWords-1]) + "…"
}

type usersLeaveCmd struct {
	Email    string `arg:"" help:"The person's address, in any spelling."`
	List     string `help:"The id of the list that they leave." placeholder:"ID"`
	All      bool   `help:"They leave every list, those to come too."`
	Evidence string `help:"By what they asked for it; the ledger keeps it." required:"" placeholder:"TEXT"`
	JSON     bool   `name:"json" help:"Print the result as JSON."`
}

func (usersLeaveCmd) Help() string {
	return `For somebody who asked by phone or by letter. It is on the disk when the command is done: nothing more is sent, copies that wait included, whatever the directory or a later sync says.

Examples:

  postern users leave min@example.net --list promo --evidence "by phone on 26 November, Kim took the call"
  postern users leave min@example.net --all --evidence "letter of 26 November"`
}

// moved is the API's answer to a leaving or a restoring.
type moved struct {
	Address mail.Address `json:"address"`
	Known   bool         `json:"in_directory"`
	Unasked string       `json:"directory_error"`
	List    string       `json:"list"`
	Changed bool         `json:"changed"`
	Undone  *ledgerEntry `json:"undone"`
	Entry   *ledgerEntry `json:"entry"`
}

func (c usersLeaveCmd) Run(s *session) error {
	if c.All == (c.List != "") {
		return usageError("give either --list ID or --all")
	}
	text, m, _, err := s.move(c.Email, "leave", map[string]any{"list": c.List, "all": c.All, "evidence": c.Evidence})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, text)
	}
	if !m.Changed {
		_, err = fmt.Fprintf(s.stdout, "%s: had left %s before\n", clean(string(m.Address)), listWord(m.List))
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s: has left %s (entry %d of the ledger)\n", clean(string(m.Address)), listWord(m.List), m.Entry.Number)
	switch {
	case err != nil || m.Known:
	case m.Unasked != "":
		_, err = fmt.Fprintf(s.stdout, "The directory could not be asked (%s); it is told when it answers, and nothing is sent meanwhile.\n", clean(m.Unasked))
	default:
		_, err = fmt.Fprintln(s.stdout, "No user was found who is written like this in the directory, so it cannot be told; nothing is sent there in any spelling.")
	}
	return err
}

// move asks for a leaving or a restoring.
func (s *session) move(email, what string, body map[string]any) (json.RawMessage, moved, *Config, error) {
	var m moved
	conn, cfg, err := s.control()
	if err != nil {
		return nil, m, cfg, err
	}
	defer conn.Close()
	var text json.RawMessage
	if err := conn.Call(s.ctx, http.MethodPost, userPath(email)+"/"+what, body, &text); err != nil {
		return nil, m, cfg, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, m, cfg, fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return text, m, cfg, nil
}

type usersRestoreCmd struct {
	Email    string `arg:"" help:"The person's address, in any spelling."`
	List     string `help:"The id of the list that they get again." required:"" placeholder:"ID"`
	Evidence string `help:"How it is known that they did not mean to leave; the ledger keeps it." required:"" placeholder:"TEXT"`
	DryRun   bool   `help:"Only show what would be undone."`
	JSON     bool   `name:"json" help:"Print the result as JSON."`
}

func (usersRestoreCmd) Help() string {
	return `For one person whom a scanner or a mistake has taken off a list. The entry that is undone is shown, and stays in the ledger. Who left all lists at once is restored with --list '*', and gets every list again that they had not left singly.

There is no such thing for many people at once: whoever really left and is mailed again has a right to complain.

Examples:

  postern users restore min@example.net --list promo --evidence "says by phone that she never clicked" --dry-run
  postern users restore min@example.net --list promo --evidence "says by phone that she never clicked"`
}

func (c usersRestoreCmd) Run(s *session) error {
	text, m, cfg, err := s.move(c.Email, "restore", map[string]any{"list": c.List, "evidence": c.Evidence, "dry_run": c.DryRun})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, text)
	}
	if m.Undone == nil {
		return errors.New("the gateway's answer does not say what was undone")
	}
	u := m.Undone
	from := ""
	if u.client() != "" {
		from = " from " + clean(u.client())
	}
	verb := "is undone"
	if c.DryRun {
		verb = "would be undone"
	}
	if _, err := fmt.Fprintf(s.stdout, "entry %d of %s, left %s by %s%s, %s\n", u.Number, u.At.In(cfg.Location()).Format(time.DateTime), listWord(u.List), dash(u.by()), from, verb); err != nil {
		return err
	}
	if c.DryRun {
		_, err = fmt.Fprintf(s.stdout, "%s would get %s again; nothing was changed\n", clean(string(m.Address)), listWord(m.List))
		return err
	}
	_, err = fmt.Fprintf(s.stdout, "%s: gets %s again (entry %d of the ledger)\n", clean(string(m.Address)), listWord(m.List), m.Entry.Number)
	return err
}

type usersMoveCmd struct {
	Old      string `arg:"" help:"The person's address until now."`
	New      string `arg:"" help:"Their address from now on."`
	Evidence string `help:"By what that is known; the ledger keeps it." required:"" placeholder:"TEXT"`
	JSON     bool   `name:"json" help:"Print the person as JSON."`
}

func (usersMoveCmd) Help() string {
	return `What the person has left, and a suppression because of their complaint, hold for the new address from now on, and so does what they do by links in older mails. The user in the directory is not changed: bring the new address there as all users come there.

Example:

  postern users move min@example.net min.kim@example.org --evidence "changed in the shop on 26 November"`
}

func (c usersMoveCmd) Run(s *session) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	var text json.RawMessage
	if err := conn.Call(s.ctx, http.MethodPost, userPath(c.Old)+"/move", map[string]string{"to": c.New, "evidence": c.Evidence}, &text); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, text)
	}
	var p person
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	left := ""
	if len(p.Left) > 0 {
		left = "; has left " + orNothing(p.Left)
	}
	_, err = fmt.Fprintf(s.stdout, "%s was %s before%s\n", clean(c.New), clean(c.Old), left)
	return err
}
