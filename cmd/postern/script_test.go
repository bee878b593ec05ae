package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	postern "postern/cmd/postern"
	"postern/internal/peer"
)

// TestMain lets the scripts run the program itself, as `postern`, and three
// helpers: until SOCKET|ADDRESS answers|refuses, and hold ADDRESS FILE.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"postern": func() {
			os.Exit(postern.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
		"until": func() { must(until(os.Args[1], os.Args[2])) },
		"hold":  func() { must(hold(os.Args[1], os.Args[2])) },
	})
}

// TestScripts runs testdata/script: what the program says, command by command.
// $PORT is free for a listener; `signal TERM` reaches the gateway that a script
// started in the background.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"signal": signalGateway},
		Setup: func(e *testscript.Env) error {
			e.Setenv("ROOT", root)
			e.Setenv("PORT", strconv.Itoa(peer.Port(t)))
			e.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector waits a second at each command's end
			return nil
		},
	})
}

func signalGateway(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	for _, cmd := range slices.Backward(ts.BackgroundCmds()) {
		if filepath.Base(cmd.Path) == "postern" {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
			return
		}
	}
	ts.Fatalf("no gateway runs in the background")
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// until waits until somebody answers at a Unix socket or a TCP address, or until
// nobody does. A gateway opens its control socket after every other listener.
func until(address, what string) error {
	network := "unix"
	if strings.Contains(address, ":") {
		network = "tcp"
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		conn, err := net.Dial(network, address)
		if err == nil {
			conn.Close()
		}
		if (err == nil) == (what == "answers") {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("after a minute it is still not so that %s %s: %v", address, what, err)
		}
	}
}

// hold submits a mail up to the middle of DATA, makes a file to say so, and
// stays until the gateway hangs up.
func hold(address, file string) error {
	client, err := smtp.Dial(address)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := errors.Join(client.Hello("client.example.com"), client.Mail("a@example.com"), client.Rcpt("b@example.net")); err != nil {
		return err
	}
	w, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, "Subject: half\r\n"); err != nil {
		return err
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	_, _ = client.Text.ReadLine() // its end is what is waited for
	return nil
}
