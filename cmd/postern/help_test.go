package main_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commandsAndGroups are those that `postern --help` names, with their groups.
func commandsAndGroups(t *testing.T) []string {
	t.Helper()
	_, help, _ := run(t, "", "--help")
	_, list, ok := strings.Cut(help, "Commands:\n")
	if !ok {
		t.Fatalf("the help names no commands:\n%s", help)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^  (\w+)( \w+)?  `).FindAllStringSubmatch(list, -1) {
		all = append(all, m[1]+m[2])
		if m[2] != "" && !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
	}
	return all
}

func TestHelpOfEveryCommandAndGroupHasAnExample(t *testing.T) {
	all := commandsAndGroups(t)
	if len(all) < 31 {
		t.Fatalf("only these commands were found: %v", all)
	}
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			code, help, stderr := run(t, "", append(strings.Fields(name), "--help")...)
			if code != 0 || stderr != "" {
				t.Fatalf("--help gives exit code %d and %q on stderr", code, stderr)
			}
			_, examples, ok := strings.Cut(help, "Example")
			if !ok || !strings.Contains(examples, "postern "+name) {
				t.Errorf("no example of `postern %s` in its help:\n%s", name, help)
			}
		})
	}
}

func TestWrongCommandLinesAreNamedInOneSentence(t *testing.T) {
	for line, want := range map[string]string{
		"fly":                  "postern: there is no command \"fly\"; see `postern --help`\n",
		"queue fly":            "postern: there is no command \"queue fly\"; see `postern queue --help`\n",
		"queue list fly":       "postern: unexpected argument fly; see `postern queue list --help`\n",
		"queue show":           "postern: expected \"<id>\"; see `postern queue show --help`\n",
		"serve --config":       "postern: --config wants a value; see `postern serve --help`\n",
		"users list --limit x": "postern: --limit: expected a valid 64 bit int but got \"x\"; see `postern users list --help`\n",
	} {
		code, stdout, stderr := run(t, "", strings.Fields(line)...)
		if code != 2 || stdout != "" || stderr != want {
			t.Errorf("postern %s: exit code %d, stdout %q, stderr\n%swant\n%s", line, code, stdout, stderr, want)
		}
	}
}
