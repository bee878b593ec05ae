package expand_test

import (
	"runtime"
	"strings"
	"testing"

	"postern/expand"
)

// What a made-up mail costs grows with its size and no faster. Where only time
// would tell, the mail is so large that the test would not end.
func TestAMadeUpMailCostsNoMoreThanItsSize(t *testing.T) {
	repeat := func(s string, size int) string { return strings.Repeat(s, size/len(s)) }
	const size = 1 << 20
	html := plainHead + "Content-Type: text/html\n\n"
	for name, raw := range map[string]string{
		"boundaries in one line":          plainHead + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + repeat("--b ", 2*size) + "\n--b--\n",
		"links behind a long word":        plainHead + "\n" + repeat("a", 2*size) + strings.Repeat("%7B%7BName%7D%7D", 4000),
		"words like our own marks":        html + "<p>xslot" + repeat("x", size) + "</p>",
		"placeholders":                    html + repeat("{{Name}}", size),
		"placeholders of nobody":          plainHead + "\n" + repeat("{{a}}", size),
		"what nobody sees in braces":      plainHead + "\n{{\"" + repeat("\u200b", size) + strings.Repeat("}", 280),
		"what nobody sees, and quotation": html + "{{a" + repeat("&#8203;", size) + strings.Repeat("\"", 280),
		"fields":                          plainHead + repeat("a:\n", size) + "\nx",
	} {
		in := input(t, raw)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := expand.Compile(in)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(50*len(in.Raw)) {
			t.Errorf("%s: compiling %d MB took %d MB (%v)", name, len(in.Raw)>>20, used>>20, err)
		}
	}
}
