package main_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	postern "postern/cmd/postern"
)

const listsNeed = "[[lane]]\nname = \"out\"\ndriver = \"maildir\"\n[fields]\nName = {alias = [\"이름\"]}\nGender = {}\nGrade = {}\nCreateTime = {type = \"number\"}\n"

// What docs/lists.md shows works as it stands: its lists, and each of its filters.
func TestTheGuideToListsIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	lists, filters := 0, 0
	for _, block := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], "[[list]]") {
			cfg, err := postern.ParseConfig(listsNeed + block[1])
			if err != nil {
				t.Errorf("%v\n%s", err, block[1])
			}
			lists += len(cfg.Lists)
			continue
		}
		for line := range strings.Lines(block[1]) {
			filters++
			if err := parseList(line); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	if lists != 3 || filters != 5 {
		t.Errorf("%d lists and %d filters were found", lists, filters)
	}
	if err := parseList("filter = 'CreateTime >= daysAgo(30) * 1000'\n"); err != nil {
		t.Error(err)
	}
}

func parseList(line string) error {
	_, err := postern.ParseConfig(listsNeed + "[[list]]\nid = \"a\"\naddress = \"a@lists.example.com\"\n" + line)
	return err
}

// The lists that the shipped configuration shows as comments are lists once they are none.
func TestTheListsInTheShippedCommentsAreLists(t *testing.T) {
	text, err := os.ReadFile("../../config.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "# More lists of the same users")
	comments, _, _ := strings.Cut(rest, "# ----")
	_, comments, _ = strings.Cut(comments, "\n")
	cfg, err := postern.ParseConfig(listsNeed + regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(comments, ""))
	if err != nil || !found || len(cfg.Lists) != 3 {
		t.Fatalf("%v: %+v", err, cfg)
	}
}
