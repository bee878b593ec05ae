package expand_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/directory"
	"postern/mail"
)

// unordered are n pages of 8 users each, such that no two that are neighbours by
// address are on one page.
func unordered(n int) [][]directory.User {
	pages := make([][]directory.User, n)
	for i := range 8 * n {
		pages[i%n] = append(pages[i%n], kim(fmt.Sprintf("u%04d@example.com", i), "Kim"))
	}
	return pages
}

// stores are the calls that stored copies.
func (q *memQueue) stores() []string {
	return slices.DeleteFunc(slices.Clone(q.calls), func(c string) bool { return !strings.HasPrefix(c, "AddCopies") })
}

// The first copies go at once; later ones wait for others, and then go in the order of
// their addresses with the last page's checkpoint.
func TestExpandStoresManyCopiesInTheOrderOfTheirAddresses(t *testing.T) {
	pages := unordered(40)
	e, q, _ := newExpander(t, promo(), pages...)
	if err := e.Expand(t.Context(), q.stored()); err != nil {
		t.Fatal(err)
	}
	calls := q.stores()
	if len(q.copies) != 320 || len(calls) > 30 || calls[0] != "AddCopies 1" || calls[1] != "AddCopies 2" || calls[len(calls)-1] != "AddCopies 39" {
		t.Fatalf("%d copies in the calls %q; want 320, page by page at first, in fewer calls than there are pages", len(q.copies), calls)
	}
	falls := 0
	for i := 1; i < len(q.copies); i++ {
		if q.copies[i].To < q.copies[i-1].To {
			falls++
		}
	}
	if falls != len(calls)-1 {
		t.Errorf("the addresses fall %d times; want once between two of %d calls", falls, len(calls))
	}
	slices.SortFunc(q.copies, func(a, b mail.Copy) int { return strings.Compare(string(a.To), string(b.To)) })
	for i, c := range q.copies {
		if want := fmt.Sprintf("u%04d@example.com", i); string(c.To) != want || c.UserKey != want {
			t.Fatalf("copy %d is to %s (key %s), want %s", i, c.To, c.UserKey, want)
		}
	}
}

// Copies with much in them do not wait for many others: a page of a directory has 1 MB.
func TestExpandGathersNoMoreThanFitsIntoMemory(t *testing.T) {
	pages := unordered(60)
	long := strings.Repeat("x", 128<<10) // 1 MB a page
	for i := range pages {
		for k := range pages[i] {
			pages[i][k].Attributes["Name"] = long
		}
	}
	e, q, _ := newExpander(t, promo(), pages...)
	if err := e.Expand(t.Context(), q.stored()); err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, call := range q.stores() {
		var through int
		if _, err := fmt.Sscanf(call, "AddCopies %d", &through); err != nil {
			t.Fatal(err)
		}
		if through-last > 4 {
			t.Errorf("the pages up to %d were stored together with %d others", through, through-last-1)
		}
		last = through
	}
}

// Of a person who is there in two spellings the one that was met first counts, also when
// both wait for the same commit.
func TestExpandKeepsTheFirstSpellingOfThoseThatItStoresTogether(t *testing.T) {
	pages := unordered(40)
	for i := range len(pages) - 1 {
		pages[i] = append(pages[i], kim(fmt.Sprintf("Twice%d@example.com", i), "First"))
		pages[i+1] = append(pages[i+1], kim(fmt.Sprintf("twice%d@example.com", i), "Second"))
	}
	e, q, _ := newExpander(t, promo(), pages...)
	if err := e.Expand(t.Context(), q.stored()); err != nil {
		t.Fatal(err)
	}
	for _, c := range q.copies {
		if c.Values[0] == "Second" {
			t.Errorf("the copy is that of %s, who was met second", c.To)
		}
	}
}

// A directory that keeps us waiting holds back nobody's copy for longer than a second.
func TestExpandStoresWhatItHasWhileTheDirectoryIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages := unordered(40)
		e, q, s := newExpander(t, promo(), pages...)
		s.before = func(string) error {
			<-time.After(1100 * time.Millisecond)
			return nil
		}
		if err := e.Expand(t.Context(), q.stored()); err != nil {
			t.Fatal(err)
		}
		if calls := q.stores(); len(calls) != 40 {
			t.Errorf("the pages were stored in %d calls, want each as it came", len(calls))
		}
	})
}
