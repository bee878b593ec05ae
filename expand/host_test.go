package expand_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/expand"
	"postern/internal/peer"
	"postern/mail"
)

// photo is what a camera makes, as far as anybody looks.
func photo(seed uint64, size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), 1}).Read(b)
	return "\xff\xd8\xff\xe0\x00\x10JFIF\x00" + string(b)
}

// inlined is a picture as a part; more are further fields.
func inlined(kind, cid, octets string, more ...string) string {
	var body strings.Builder
	for row := range slices.Chunk([]byte(octets), 57) {
		body.WriteString(base64.StdEncoding.EncodeToString(row) + "\n")
	}
	head := append([]string{"Content-Type: " + kind, "Content-Transfer-Encoding: base64", "Content-ID: " + cid}, more...)
	return strings.Join(head, "\n") + "\n\n" + strings.TrimSuffix(body.String(), "\n")
}

// album is where pictures are hosted.
type album struct {
	got  []expand.Image
	fail func(expand.Image) error
}

func (a *album) host(m expand.Image) (string, error) {
	a.got = append(a.got, m)
	if a.fail != nil {
		if err := a.fail(m); err != nil {
			return "", err
		}
	}
	return addressOf(string(m.Data)), nil
}

// addressOf is where the album has a picture. It wants to be escaped.
func addressOf(octets string) string {
	sum := sha256.Sum256([]byte(octets))
	return "https://img.example/mail?a=(1)'&b=" + hex.EncodeToString(sum[:4])
}

// hosted compiles raw with an album for pictures of more than 10,000 octets.
func hosted(t testing.TB, raw string, a *album) (*received, *expand.Compiled) {
	t.Helper()
	in := input(t, raw)
	in.Host, in.HostOver = a.host, 10_000
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	stored, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	again, err := expand.Load(stored)
	if err != nil {
		t.Fatal(err)
	}
	got := again.Render(copyTo(again, "min@example.net", map[string]string{"Name": "민"}), "TOKEN_7").Bytes()
	checkWire(t, got)
	return receive(t, got), c
}

// campaign is what Outlook sends: a photo of 300 KB for VML and for all others, twice
// for the page and once more as a part of its own, a background, a small logo, one
// that only a style sheet shows and one that nothing shows.
func campaign() (raw string, octets map[string]string) {
	octets = map[string]string{"photo": photo(1, 300<<10), "sky": photo(2, 50<<10), "sheet": photo(3, 20<<10), "lost": photo(4, 20<<10), "logo": photo(5, 900), "drawing": "<svg>" + strings.Repeat(" ", 20<<10) + "</svg>"}
	page := "Content-Type: text/html; charset=utf-8\n\n" + `<html xmlns:v="urn:schemas-microsoft-com:vml"><head><style>.s{background:url("cid:image005.jpg@01DD")}</style></head>
<body background="CID:image004.jpg@01DD"><p class=MsoNormal>안녕 {{Name}}
<!--[if gte vml 1]><v:shape id="p" style='width:300pt;height:200pt'><v:imagedata src="cid:image001.jpg@01DD.1234" o:title="winter"/></v:shape><![endif]--><![if !vml]><img width=400 height=267 style='width:300pt;height:200pt' src="cid:image001.jpg@01DD.1234" alt="겨울 {{Name|고객}}" v:shapes="p"><![endif]>
<img border=0 width=40 height=40 id="g" src="cid:image002.jpg@01DD.1234" alt="cid:image002.jpg@01DD.1234"><img src="cid:image003.jpg@01DD"><img src="cid:image006.svg@01DD"></p>
<div style='color:red;background-image:url("cid:image004.jpg%4001DD");height:50px'>x</div><p>{{Unsubscribe}}</p></body></html>`
	plain := "Content-Type: text/plain; charset=utf-8\n\nHi {{Name}} [cid:image001.jpg@01DD.1234] {{Unsubscribe}}"
	inner := strings.ReplaceAll(parts("multipart/alternative", plain, page), "=_b", "=_a")
	raw = parts("multipart/related", inner[strings.Index(inner, "Content-Type: multipart"):],
		inlined(`image/jpeg; name="image001.jpg"`, "<image001.jpg@01DD.1234>", octets["photo"]),
		inlined(`image/pjpeg; name="image002.jpg"`, "<image002.jpg@01DD.1234>", octets["photo"]),
		inlined(`image/jpeg; name="image003.jpg"`, "<image003.jpg@01DD>", octets["logo"]),
		inlined(`image/jpeg; name="image004.jpg"`, "<image004.jpg@01DD>", octets["sky"], "Content-Disposition: inline; filename=\"=?utf-8?B?7ZWY64qYLmpwZw==?=\""),
		inlined(`image/jpeg; name="image005.jpg"`, "<image005.jpg@01DD>", octets["sheet"]),
		inlined(`image/svg+xml; name="image006.svg"`, "<image006.svg@01DD>", octets["drawing"]),
		inlined(`image/jpeg; name="image007.jpg"`, "<image007.jpg@01DD>", octets["lost"]))
	return raw, octets
}

func TestLargePicturesOfOutlookAreHostedOnce(t *testing.T) {
	raw, octets := campaign()
	a := &album{}
	r, c := hosted(t, raw, a)
	var got []string
	for _, m := range a.got {
		got = append(got, m.Name+" "+m.Type+" "+addressOf(string(m.Data)))
	}
	want(t, "hosted", strings.Join(got, "\n"), "image001.jpg image/jpeg "+addressOf(octets["photo"])+"\n하늘.jpg image/jpeg "+addressOf(octets["sky"]))
	photo, sky := html.EscapeString(addressOf(octets["photo"])), html.EscapeString(addressOf(octets["sky"]))
	sky2 := html.EscapeString(strings.NewReplacer("'", "%27", "(", "%28", ")", "%29").Replace(addressOf(octets["sky"])))
	wantIn(t, "html", r.html, `<v:imagedata src="`+photo+`" o:title="winter"/>`, `<body background="`+sky+`">`,
		`<img width=400 height=267 style='width:300pt;height:200pt' src="`+photo+`" alt="겨울 민" v:shapes="p">`,
		`<img border=0 width=40 height=40 id="g" src="`+photo+`" alt="cid:image002.jpg@01DD.1234"><img src="cid:image003.jpg@01DD"><img src="cid:image006.svg@01DD">`,
		`url("`+sky2+`");height:50px'`, `url("cid:image005.jpg@01DD")`)
	wantIn(t, "text", r.text, "[cid:image001.jpg@01DD.1234]")
	if r.files["image/jpeg"] != octets["logo"]+octets["sheet"]+octets["lost"] || r.files["image/svg+xml"] != octets["drawing"] || r.files["image/pjpeg"] != "" {
		t.Errorf("the copy of %d octets carries other pictures than logo, sheet, lost and drawing", len(r.raw))
	}
	if c.Unhosted() != nil {
		t.Errorf("unhosted: %q", c.Unhosted())
	}
}

// A reader that is not ours finds nothing wrong, and nothing differs but the addresses.
func TestPythonReadsTheHostedCopyAsTheOther(t *testing.T) {
	raw, octets := campaign()
	before, after := bothWays(t, map[string][]byte{"campaign.eml": input(t, raw).Raw}, 10_000)
	back := after[0].HTMLs[0]
	for _, name := range []string{"photo", "sky"} {
		back = strings.ReplaceAll(back, html.EscapeString(addressOf(octets[name])), "cid:"+name)
		back = strings.ReplaceAll(back, html.EscapeString(strings.NewReplacer("'", "%27", "(", "%28", ")", "%29").Replace(addressOf(octets[name]))), "cid:"+name)
	}
	wanted := strings.NewReplacer(`src="cid:image001.jpg@01DD.1234"`, `src="cid:photo"`, `src="cid:image002.jpg@01DD.1234"`, `src="cid:photo"`, "CID:image004.jpg@01DD", "cid:sky", "cid:image004.jpg%4001DD", "cid:sky").Replace(before[0].HTMLs[0])
	want(t, "html with the old addresses", back, wanted)
	if n := len(before[0].Files) - len(after[0].Files); n != 3 {
		t.Errorf("%d pictures have left, want 3", n)
	}
}

// bothWays are the copies of mails without and with hosting, as Python sees them. What
// must be the same is.
func bothWays(t *testing.T, mails map[string][]byte, over int64) (before, after []bySomebody) {
	t.Helper()
	dir := t.TempDir()
	var names, paths []string
	for name, raw := range mails {
		for _, host := range []func(expand.Image) (string, error){nil, (&album{}).host} {
			in := input(t, "")
			in.Raw, in.Host, in.HostOver = raw, host, over
			c, err := expand.Compile(in)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민"}), "TOKEN_7").Bytes()
			checkWire(t, got)
			paths = append(paths, filepath.Join(dir, fmt.Sprintf("%d.eml", len(paths))))
			if err := os.WriteFile(paths[len(paths)-1], got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		names = append(names, name)
	}
	read := somebodyReads(t, exec.Command(peer.Python, "testdata/agree.py"), paths)
	for i, name := range names {
		b, a := read[2*i], read[2*i+1]
		stays := slices.DeleteFunc(slices.Clone(b.Files), func(f [4]string) bool { return !slices.Contains(a.Files, f) })
		report(t, slices.Concat(differ(name+" defects", a.Defects, []string{}), differ(name+" Subject", a.Subject, b.Subject), differ(name+" texts", a.Texts, b.Texts),
			differ(name+" what is shown", a.Visible, b.Visible), differ(name+" files", a.Files, stays)))
		before, after = append(before, b), append(after, a)
	}
	return before, after
}

// Every mail of the collection loses its pictures, whatever their size, and nothing else.
func TestPicturesOfEveryMailCanBeHosted(t *testing.T) {
	mails := map[string][]byte{}
	for _, path := range originals(t) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		mails[filepath.Base(path)] = raw
	}
	before, after := bothWays(t, mails, 1)
	gone := 0
	for i := range before {
		gone += len(before[i].Files) - len(after[i].Files)
	}
	if gone < 10 {
		t.Errorf("%d pictures of all mails have left", gone)
	}
}

// In Chromium the page that had its pictures in the mail asks for those that are hosted.
func TestBrowserAsksForTheHostedPictures(t *testing.T) {
	raw, octets := campaign()
	r, _ := hosted(t, raw, &album{})
	path := filepath.Join(t.TempDir(), "copy.eml")
	if err := os.WriteFile(path, r.raw, 0o600); err != nil {
		t.Fatal(err)
	}
	b := &viewer{Browser: peer.NewBrowser(t, pageWidth), dir: t.TempDir()}
	b.open(t, htmlOf(t, []string{path})[0][0])
	var asked []string
	b.Eval(t, `performance.getEntriesByType("resource").map(e => e.name).filter(n => n.startsWith("http")).sort()`, &asked)
	photo, sky := addressOf(octets["photo"]), addressOf(octets["sky"])
	wanted := []string{strings.ReplaceAll(photo, "'", "%27"), strings.ReplaceAll(sky, "'", "%27"), strings.NewReplacer("'", "%27", "(", "%28", ")", "%29").Replace(sky)}
	slices.Sort(wanted)
	want(t, "what the browser fetches", strings.Join(slices.Compact(asked), "\n"), strings.Join(wanted, "\n"))
	var sizes []int
	b.Eval(t, `[...document.images].slice(0, 2).flatMap(i => [i.width, i.height])`, &sizes)
	want(t, "the sizes of the pictures", fmt.Sprint(sizes), "[400 267 40 40]")
}

func TestWhatRefersToAPictureDecidesWhetherItIsHosted(t *testing.T) {
	octets := photo(7, 20<<10)
	address := html.EscapeString(addressOf(octets))
	const cid = "<Big 1%2B(x)@Ab>"
	for name, tc := range map[string]struct{ source, want string }{ // want "": it stays
		"as it is":               {`<img src="cid:Big 1%2B(x)@Ab">`, `<img src="` + address + `">`},
		"encoded":                {`<img src="cid:Big%201%252B(x)%40Ab">`, `<img src="` + address + `">`},
		"case":                   {`<IMG SRC='CID:bIG 1%2b(X)@aB'>`, `<IMG SRC='` + address + `'>`},
		"angle brackets":         {`<img src="cid:&lt;Big 1%2B(x)@Ab&gt;"><img src="cid:%3CBig%201%252B(x)@Ab%3E">`, `<img src="` + address + `"><img src="` + address + `">`},
		"entities":               {`<img src=" &#99;id:Big&#32;1&#37;2B(x)@Ab ">`, `<img src="` + address + `">`},
		"a break":                {"<img src=\"cid:Big \n1%2B(x)@Ab\">", `<img src="` + address + `">`},
		"without quotes":         {`<img src=cid:Big%201%252B(x)@Ab width=5>`, `<img src="` + address + `" width=5>`},
		"a link to it":           {`<a href="cid:Big 1%2B(x)@Ab"><img src="cid:Big 1%2B(x)@Ab"></a>`, `<a href="` + address + `"><img src="` + address + `"></a>`},
		"Outlook's notes":        {`<img originalsrc="cid:Big 1%2B(x)@Ab" src="cid:Big 1%2B(x)@Ab">`, `<img originalsrc="` + address + `" src="` + address + `">`},
		"Word's":                 {`<!--[if mso]><v:fill o:href="cid:Big 1%2B(x)@Ab" src="cid:Big 1%2B(x)@Ab"/><![endif]-->`, `<!--[if mso]><v:fill o:href="` + address + `" src="` + address + `"/><![endif]-->`},
		"a cell":                 {`<td background="cid:Big 1%2B(x)@Ab">`, `<td background="` + address + `">`},
		"a comment":              {`<img src="cid:Big 1%2B(x)@Ab"><!-- <img src="cid:Big 1%2B(x)@Ab"> -->`, `<img src="` + address + `"><!--`},
		"words":                  {`<img src="cid:Big 1%2B(x)@Ab" title="cid:Big 1%2B(x)@Ab"> cid:Big 1%2B(x)@Ab`, `<img src="` + address + `" title="cid:Big`},
		"style":                  {`<p style="background: URL( 'cid:Big%201%252B%28x%29@Ab' ), url(&quot;cid:Big 1%2B(x)@Ab&quot;)">`, "https://img.example/mail?a=%281%29%27&amp;b="},
		"only a link":            {`<a href="cid:Big 1%2B(x)@Ab">x</a>`, ""},
		"nothing":                {`<img src="cid:other@ab">`, ""},
		"only words":             {`<p>cid:Big 1%2B(x)@Ab</p>`, ""},
		"a style sheet":          {`<style>p{background:url(cid:Big%201%252B\28x)@Ab)}</style><style>p{background:url('cid:Big 1%2B(x)@Ab')}</style><img src="cid:Big 1%2B(x)@Ab">`, ""},
		"an unclear style":       {`<img src="cid:Big 1%2B(x)@Ab" style="background:image-set('cid:Big 1%2B(x)@Ab' 1x)">`, ""},
		"a style without quotes": {`<img src="cid:Big 1%2B(x)@Ab"><p style=background:url(cid:Big%201%252B(x)@Ab)>`, ""},
		"srcset":                 {`<img src="cid:Big 1%2B(x)@Ab" srcset="cid:Big%201%252B(x)@Ab 2x">`, ""},
		"a script":               {`<img src="cid:Big 1%2B(x)@Ab"><script>f("cid:Big 1%2B(x)@Ab")</script>`, ""},
		"a template":             {`<img src="cid:Big 1%2B(x)@Ab"><template><img src="cid:Big 1%2B(x)@Ab"></template>`, ""},
		"noscript":               {`<img src="cid:Big 1%2B(x)@Ab"><noscript><iframe><img src="cid:Big 1%2B(x)@Ab"></iframe></noscript>`, `<noscript><iframe><img src="` + address + `"></iframe></noscript>`},
		"a comment cut off":      {`<img src="cid:Big 1%2B(x)@Ab"><!--[if mso]><img src="cid:Big 1%2B(x)@Ab">`, ""},
		"a tag cut off":          {`<img src="cid:Big 1%2B(x)@Ab"><img src="cid:Big 1%2B(x)@Ab"`, ""},
	} {
		a := &album{}
		r, _ := hosted(t, parts("multipart/related", "Content-Type: text/html; charset=utf-8\n\n<p>{{Unsubscribe}}</p>"+tc.source, inlined("image/jpeg", cid, octets), inlined("image/png", "<s@b>", "x")), a)
		if tc.want == "" {
			if len(a.got) > 0 || r.files["image/jpeg"] != octets {
				t.Errorf("%s: the picture is hosted:\n%s", name, r.html)
			}
			wantIn(t, name, r.html, strings.ReplaceAll(tc.source, "\n", "\r\n"))
			continue
		}
		wantIn(t, name, r.html, tc.want)
		if len(a.got) != 1 || r.files["image/jpeg"] != "" {
			t.Errorf("%s: asked %d times, %d octets stay", name, len(a.got), len(r.files["image/jpeg"]))
		}
	}
}

func TestWhatElseKeepsAPictureInTheMail(t *testing.T) {
	octets := photo(8, 20<<10)
	page := "Content-Type: text/html\n\n<img src=\"cid:a@b\">{{Unsubscribe}}"
	big := inlined("image/jpeg", "<a@b>", octets)
	for name, each := range map[string][]string{
		"an attachment":         {page, inlined("image/jpeg", "<a@b>", octets, "Content-Disposition: attachment; filename=a.jpg")},
		"another type":          {page, inlined("image/tiff", "<a@b>", octets)},
		"no type of pictures":   {page, inlined("application/octet-stream", "<a@b>", octets)},
		"an id of two":          {page, big, inlined("image/jpeg", "<A@b>", octets+"x")},
		"size":                  {page, inlined("image/jpeg", "<a@b>", octets[:10_000])},
		"a page as a file":      {page, big, "Content-Type: text/html; name=a.html\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("<img src='CID:a%40b'>"))},
		"an SVG":                {page, big, "Content-Type: image/svg+xml\n\n<svg><image href=\"cid:a@b\"/></svg>"},
		"a sheet":               {page, big, "Content-Type: text/css\nContent-ID: <c@b>\n\np{background:url(cid:a\\@b)}"},
		"a page nobody reads":   {page, big, "Content-Type: text/html; charset=x-none\n\n<img src=\"cid:a@b\">"},
		"no HTML at all":        {"\nText {{Unsubscribe}} cid:a@b", big},
		"a page that is a file": {"\nText {{Unsubscribe}}", strings.Replace(page, "html", "html; name=a.html", 1), big},
	} {
		a := &album{}
		raw := parts("multipart/related", each...)
		r, _ := hosted(t, raw, a)
		if len(a.got) > 0 {
			t.Errorf("%s: the picture is hosted", name)
		}
		want(t, name, string(r.raw), string(receive(t, render(t, raw, "민").raw).raw))
	}
}

func TestWhatIsLeftOfTheParts(t *testing.T) {
	octets := photo(9, 20<<10)
	page := "Content-Type: text/html; charset=utf-8\n\n<p>{{Name}}</p><img src=\"cid:a@b\">{{Unsubscribe}}"
	big := inlined("image/jpeg", "<a@b>", octets)
	pdf := "Content-Type: application/pdf\nContent-Disposition: attachment; filename=a.pdf\n\n%PDF"
	inner := func(kind string, all ...string) string {
		s := strings.ReplaceAll(parts(kind, all...), "=_b", "=_"+kind[10:12])
		return s[strings.Index(s, "Content-Type"):]
	}
	for name, tc := range map[string]struct {
		raw  string
		want []string // multiparts of the copy
	}{
		"related alone":           {strings.Replace(parts("multipart/related", page, big), "MIME-Version", "Content-Language: ko\nMIME-Version", 1), []string{"alternative"}},
		"related in a mixed":      {parts("multipart/mixed", inner("multipart/related", page, big), pdf), []string{"mixed", "alternative"}},
		"related of two pictures": {parts("multipart/related", page, big, inlined("image/png", "<s@b>", "x")), []string{"alternative", "related"}},
		"in a mixed":              {parts("multipart/mixed", page, big, pdf), []string{"mixed", "alternative"}},
		"before the page":         {parts("multipart/mixed", big, page), []string{"alternative"}},
		"a mixed of pictures":     {parts("multipart/mixed", page, inner("multipart/related", inner("multipart/mixed", big))), []string{"alternative"}},
		"with a text":             {parts("multipart/alternative", "\nText {{Unsubscribe}}", inner("multipart/related", page, big)), []string{"alternative"}},
	} {
		a := &album{}
		r, _ := hosted(t, tc.raw, a)
		if len(a.got) != 1 || strings.Contains(string(r.raw), "cid:") || r.files["image/jpeg"] != "" {
			t.Errorf("%s: asked %d times\n%s", name, len(a.got), r.raw)
		}
		var kinds []string
		for _, at := range strings.Split(string(r.raw), "Content-Type: multipart/")[1:] {
			kind, _, _ := strings.Cut(at, ";")
			kinds = append(kinds, kind)
		}
		want(t, name, strings.Join(kinds, " "), strings.Join(tc.want, " "))
		if strings.Contains(tc.raw, "%PDF") {
			want(t, name+" file", r.files["attachment"], "%PDF")
		}
		if strings.Contains(tc.raw, "Language") {
			wantIn(t, name, string(r.raw), "\r\nContent-Language: ko\r\n")
		}
	}
}

// Somebody waits for the answer to DATA: a place that fails is not asked again, and a
// picture that is refused stops no other.
func TestAPictureThatCannotBeHostedStays(t *testing.T) {
	one, two := photo(10, 20<<10), photo(11, 30<<10)
	raw := parts("multipart/related", "Content-Type: text/html\n\n<img src=cid:a@b alt=a><img src=\"cid:c@d\">{{Unsubscribe}}",
		inlined("image/jpeg; name=one.jpg", "<a@b>", one), inlined("image/jpeg; name=two.jpg", "<c@d>", two))
	for name, tc := range map[string]struct {
		fail     error
		address  string
		asked    int
		unhosted []string
	}{
		"outage":  {&mail.Error{Public: "the bucket cannot be reached"}, "", 1, []string{`the picture "one.jpg" (21 KB) stays in every copy: the bucket cannot be reached`, `the picture "two.jpg" (31 KB) stays in every copy: the bucket cannot be reached`}},
		"refusal": {mail.Refuse(0, "", "no picture"), "", 2, []string{`the picture "one.jpg" (21 KB) stays in every copy: no picture`}},
	} {
		a := &album{fail: func(m expand.Image) error {
			if string(m.Data) == one {
				return tc.fail
			}
			return nil
		}}
		r, c := hosted(t, raw, a)
		want(t, name, strings.Join(c.Unhosted(), "\n"), strings.Join(tc.unhosted, "\n"))
		wantIn(t, name, r.html, "<img src=cid:a@b alt=a>")
		if len(a.got) != tc.asked || !strings.HasPrefix(r.files["image/jpeg"], one) || strings.Contains(r.files["image/jpeg"], two) != (tc.asked == 1) {
			t.Errorf("%s: asked %d times", name, len(a.got))
		}
	}
	for _, address := range []string{"", "photo.jpg", "javascript:alert(1)", "https://x.example/{{Name}}", "https://x.example/%7B%7BName%7D%7D", "https://x.example/a b", `https://x.example/"`} {
		in := input(t, raw)
		in.Host, in.HostOver = func(expand.Image) (string, error) { return address, nil }, 1
		c, err := expand.Compile(in)
		if err != nil || len(c.Unhosted()) != 2 {
			t.Errorf("%q is taken as an address: %v", address, err)
		}
	}
}

func TestNothingIsHostedWhereItIsNotAskedFor(t *testing.T) {
	raw, _ := campaign()
	plain := render(t, raw, "민")
	for over, host := range map[int64]func(expand.Image) (string, error){0: (&album{}).host, 1: nil, -1: (&album{}).host, 1 << 20: (&album{}).host} {
		in := input(t, raw)
		in.Host, in.HostOver = host, over
		c, err := expand.Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		got := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민", "Point": "1,200"}), "TOKEN_7").Bytes()
		if !bytes.Equal(got, plain.raw) {
			t.Errorf("over %d: the copy differs", over)
		}
	}
	in := input(t, raw)
	in.HostOver, in.Host = 1, func(expand.Image) (string, error) {
		t.Error("a picture of ordinary mail is hosted")
		return "", errors.New("no")
	}
	relayed, err := expand.Ordinary(in)
	if err != nil || !bytes.HasSuffix(in.Raw, relayed.Body[0]) || !bytes.Contains(relayed.Body[0], []byte("\r\nContent-ID: <image001.jpg@01DD.1234>\r\n")) {
		t.Errorf("ordinary mail is changed: %v", err)
	}
}

func TestLargePicturesOfATemplateAreHostedToo(t *testing.T) {
	raw, octets := campaign()
	tpl := newsletter()
	banner := photo(12, 40<<10)
	tpl.Images = append(tpl.Images, expand.Image{Name: "banner.jpg", Type: "image/jpeg", Data: []byte(banner)})
	tpl.HTML = strings.Replace(tpl.HTML, "<h1>", `<img src="{{image:banner.jpg}}" width=600 alt="{{Subject}}"><h1>`, 1)
	in := input(t, raw)
	a := &album{}
	in.Template, in.Host, in.HostOver = tpl, a.host, 10_000
	c, err := expand.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Render(copyTo(c, "min@example.net", map[string]string{"Name": "민"}), "TOKEN_7").Bytes()
	checkWire(t, got)
	r := receive(t, got)
	wantIn(t, "html", r.html, `<img src="`+html.EscapeString(addressOf(banner))+`" width=600 alt="s">`, `<v:imagedata src="`+html.EscapeString(addressOf(octets["photo"]))+`"`, `<img src="cid:`)
	if len(a.got) != 3 || r.files["image/gif"] != string(dot) || strings.Contains(r.files["image/jpeg"], banner) {
		t.Errorf("%d pictures are hosted", len(a.got))
	}
}

func FuzzHost(f *testing.F) {
	for _, path := range originals(f) {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add(input(f, parts("multipart/related", "Content-Type: text/html\n\n<img src=cid:a@b><p style='background:url(&quot;cid:a@b&quot;)'>", inlined("image/png", "<a@b>", "xyz"))).Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := input(t, "")
		in.Raw = raw
		_, plain := expand.Compile(in)
		in.Host, in.HostOver = (&album{}).host, 1
		c, err := expand.Compile(in)
		if plain == nil && err != nil { // the other way is well: what could not be sent is gone
			t.Fatalf("hosting refuses a mail: %v", err)
		}
		if err != nil {
			return
		}
		got := c.Render(copyTo(c, "a@b.example", map[string]string{"Name": "민"}), "T").Bytes()
		checkWire(t, got)
		if !bytes.Contains(got, []byte("\r\n\r\n")) {
			t.Fatal("no body")
		}
	})
}
