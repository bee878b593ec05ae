package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// commandLine is everything that postern can be asked to do.
type commandLine struct {
	Config string `help:"Configuration file; else ${default}." default:"config.toml" placeholder:"FILE" short:"c"`

	Serve     serveCmd     `cmd:"" help:"Run the gateway until SIGTERM."`
	Demo      demoCmd      `cmd:"" help:"Show the main job on sample data: one message in, 200 signed copies out."`
	Preview   previewCmd   `cmd:"" help:"Show what a mail to a list becomes, and what is odd in it."`
	Users     usersCmd     `cmd:"" help:"Import, export, list, show and change the users of the directory."`
	Sync      syncCmd      `cmd:"" help:"Bring users from a table of MySQL into the directory, and keep them in step."`
	Lists     listsCmd     `cmd:"" help:"List the lists, and see who would get a mail to one, and who not."`
	Suppress  suppressCmd  `cmd:"" help:"Look at the addresses that get no mail, and add, lift, import or export them."`
	OptOut    optoutCmd    `cmd:"" name:"optout" help:"Change the key of unsubscribe links, and write the public pages and letters for editing."`
	Ledger    ledgerCmd    `cmd:"" help:"Verify or export the ledger of consents and refusals."`
	Consent   consentCmd   `cmd:"" help:"Remind people of what they agreed to."`
	Queue     queueCmd     `cmd:"" help:"Look at messages, and pause, resume, cancel or retry them."`
	Lane      laneCmd      `cmd:"" help:"See how the lanes stand, and pause or resume one."`
	Sessions  sessionsCmd  `cmd:"" help:"Show the last SMTP sessions of each client, and why one failed."`
	Spool     spoolCmd     `cmd:"" help:"Check, compact or back up the spool."`
	DKIM      dkimCmd      `cmd:"" name:"dkim" help:"Make a signing key."`
	Templates templatesCmd `cmd:"" help:"Look at the templates of list mail, check them, and bring them to SES and back."`
	Footers   footersCmd   `cmd:"" help:"Write the footers of list mail into a folder, for editing."`
	Passwd    passwdCmd    `cmd:"" help:"Turn a password into the hash that config.toml wants."`
	Admin     adminCmd     `cmd:"" help:"Get into the administrators' page."`
	Print     configCmd    `cmd:"" name:"config" help:"Print the effective configuration, or all that is wrong with it."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

// session is one run of the program: what its commands read and write.
type session struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	config string // path
}

// Run does what args ask and returns the exit code: 0 done, 1 failed (a
// sentence that begins with "postern: " is on stderr), 2 wrong usage. Ending ctx
// ends a server in order.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var line commandLine
	helped := false
	parser, err := kong.New(&line,
		kong.Name("postern"),
		kong.Description("A mail gateway: one message to a list address becomes a personal, signed copy for everyone who is subscribed."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), // only --help exits, and has printed by then
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		fmt.Fprintf(stderr, "postern: %v\n", err)
		return exitUsage
	}
	chosen, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "postern: %s; see `%s`\n", plainUsage(err), helpFor(err))
		return exitUsage
	}
	switch chosen.Command() {
	case "serve", "passwd": // these take signals themselves
	default: // Ctrl-C ends the command, which tidies up; a second one kills it
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)
	}
	s := &session{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, config: line.Config}
	if err := chosen.Run(s); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", err)
		}
		fmt.Fprintf(stderr, "postern: %v\n", err)
		var wrong usageError
		if errors.As(err, &wrong) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// usageError is a command line that parses and yet makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

// helpFor names the help of the command on which parsing stopped.
func helpFor(err error) string {
	words := []string{"postern"}
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		for _, p := range parse.Context.Path {
			if p.Command != nil {
				words = append(words, p.Command.Name)
			}
		}
	}
	return strings.Join(append(words, "--help"), " ")
}

// plainUsage says what is wrong with a command line where kong's own words do
// not help.
func plainUsage(err error) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil {
		return err.Error()
	}
	if word, ok := strings.CutPrefix(err.Error(), "unexpected argument "); ok {
		node := parse.Context.Selected()
		byDefault := node != nil && node.Parent != nil && node.Parent.DefaultCmd == node && len(node.Positional) == 0
		if node == nil || byDefault || !node.Leaf() {
			words := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(helpFor(err), "postern "), "--help"))
			if byDefault { // nobody has named it
				words = words[:len(words)-1]
			}
			return fmt.Sprintf("there is no command %q", strings.Join(append(words, word), " "))
		}
	}
	if flag, ok := strings.CutSuffix(err.Error(), `: expected string value but got "EOL" (<EOL>)`); ok {
		return flag + " wants a value"
	}
	return err.Error()
}

// newLog is the log that the configuration asks for.
func newLog(w io.Writer, c LogConfig) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Validate has refused it already
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
