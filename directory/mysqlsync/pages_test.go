package mysqlsync_test

import (
	"testing"

	"postern/directory/mysqlsync"
)

// TestPagesThatAreJudgedAheadSeeTheOnesBefore: the same address in a page and in the next,
// whichever way the pages are cut.
func TestPagesThatAreJudgedAheadSeeTheOnesBefore(t *testing.T) {
	for chunk := 1; chunk <= 4; chunk++ {
		w := newWorld(t)
		w.cfg.Chunk = chunk
		w.open()
		w.shop(9)
		for _, id := range []int{2, 4, 6} {
			w.table.edit(id, func(p *person) { p.email = "one@example.com" })
		}
		r := w.pass(mysqlsync.Options{})
		if u := w.user("one@example.com"); u.Value("Name") != "김2" || r.New != 7 || r.Bad != 2 {
			t.Errorf("in pages of %d: %s has the address, %+v", chunk, u.Value("Name"), r.Counts)
		}
		if st, err := w.sync.Status(); err != nil || st.Users != 7 || st.Aside != 2 {
			t.Errorf("in pages of %d: %+v %v", chunk, st, err)
		}
	}
}
