package main_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	postern "postern/cmd/postern"
)

func TestProgressIsAFewLinesWhereThereIsNoTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		show, end := postern.NewProgress(&out)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := range 3000 { // a minute
			show("%d of 3000", n)
			<-tick.C
		}
		show("3000 of 3000")
		end()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) < 4 || len(lines) > 10 || lines[0] != "0 of 3000" || lines[len(lines)-1] != "3000 of 3000" {
			t.Errorf("%d lines:\n%s", len(lines), out.String())
		}
	})
}

func TestPatientProgressSaysNothingOfWhatIsSoonDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		show, clear := postern.NewPatientProgress(&out)
		show("1 of 2")
		clear()
		if out.Len() > 0 {
			t.Errorf("it says %q at once", out.String())
		}
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		<-tick.C
		show("2 of 2")
		clear()
		if out.String() != "2 of 2\n" {
			t.Errorf("after two seconds it says %q", out.String())
		}
	})
}

func TestProgressOfAnImportTellsTheRateAndTheTimeThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for size, left := range map[int64]string{1000: ", 25 % of the file, 6s left", 0: ""} {
			var out bytes.Buffer
			show, end := postern.NewImportProgress(&out, size)
			show(5000, 20, false)
			<-time.After(2 * time.Second)
			show(40_000, 250, false)
			<-time.After(2 * time.Second)
			show(120_000, 1000, true)
			end()
			want := "5000 rows, 5000 stored, 0 wrong\n40000 rows, 40000 stored, 0 wrong; 20000 rows a second" + left + "\n120000 rows, 120000 stored, 0 wrong; 30000 rows a second\n"
			if out.String() != want {
				t.Errorf("size %d:\n%s\nwant\n%s", size, out.String(), want)
			}
		}
	})
}
