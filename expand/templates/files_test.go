package templates_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/text/unicode/norm"

	"postern/expand"
	"postern/expand/templates"
	"postern/mail"
)

func TestAFolderBecomesATemplate(t *testing.T) {
	logo := norm.NFD.String("로고.png") // as macOS writes it
	dir := tree(t, map[string]string{
		"spring.2026/template.html":    "\ufeff<p>{{Name}}</p>\r\n",
		"spring.2026/template.txt":     "안녕",
		"spring.2026/subject.txt":      "\ufeff봄 세일\r\n",
		"spring.2026/purpose.txt":      "봄 할인 \n",
		"spring.2026/images/b.jpg":     string(aJPEG()),
		"spring.2026/images/a.gif":     string(aGIF()),
		"spring.2026/images/c.bin":     webp, // the name says nothing
		"spring.2026/images/" + logo:   string(aPNG()),
		"spring.2026/images/.DS_Store": "x",
		"spring.2026/images/b.jpg~":    "x",
		"spring.2026/images/Thumbs.db": "x",
		"spring.2026/notes.md":         "left alone",
		"text/template.txt":            "only text",
	})
	f := templates.Files{Path: dir}
	got, err := f.Template(t.Context(), "spring.2026")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, &expand.Template{ID: "spring.2026", Purpose: "봄 할인", Subject: "봄 세일", HTML: "<p>{{Name}}</p>\r\n", Text: "안녕", Images: []expand.Image{
		{Name: "a.gif", Type: "image/gif", Data: aGIF()}, {Name: "b.jpg", Type: "image/jpeg", Data: aJPEG()},
		{Name: "c.bin", Type: "image/webp", Data: []byte(webp)}, {Name: "로고.png", Type: "image/png", Data: aPNG()}}})
	got, err = f.Template(t.Context(), "text")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, &expand.Template{ID: "text", Text: "only text"})
}

func TestWhatIsWrongWithAFolderIsNamed(t *testing.T) {
	big := string(sized(templates.MaxImage + 1))
	half := string(sized(templates.MaxImage - 100))
	many := map[string]string{"x/template.txt": "x"}
	for i := range templates.MaxCount + 1 {
		many[fmt.Sprintf("x/images/%03d.png", i)] = string(aPNG())
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"html not UTF-8":    {map[string]string{"x/template.html": "\xb0\xa1"}, []string{"template.html", "save it as UTF-8"}},
		"html in UTF-16":    {map[string]string{"x/template.html": "\xff\xfe<\x00"}, []string{"template.html", "save it as UTF-8"}},
		"NUL":               {map[string]string{"x/template.txt": "a\x00b"}, []string{"template.txt", "NUL"}},
		"subject not UTF-8": {map[string]string{"x/template.txt": "x", "x/subject.txt": "\xb0\xa1"}, []string{"subject.txt", "UTF-8"}},
		"two subjects":      {map[string]string{"x/template.txt": "x", "x/subject.txt": "a\nBcc: b@example.com\n"}, []string{"subject.txt", "one line"}},
		"long purpose":      {map[string]string{"x/template.txt": "x", "x/purpose.txt": strings.Repeat("x", 1001)}, []string{"purpose.txt", "1000"}},
		"nothing":           {map[string]string{"x/subject.txt": "s"}, []string{"no content", "template.html or template.txt"}},
		"blank":             {map[string]string{"x/template.html": " \n"}, []string{"no content"}},
		"too long":          {map[string]string{"x/template.html": strings.Repeat("x", templates.MaxSize+1)}, []string{"500 KB"}},
		"too long together": {map[string]string{"x/template.html": strings.Repeat("x", templates.MaxSize-1), "x/template.txt": "xx"}, []string{"500 KB"}},
		"a file":            {map[string]string{"x": "<p>"}, []string{"it is a file", "folder"}},
		"html is a folder":  {map[string]string{"x/template.html/y": "<p>"}, []string{"template.html is not a file"}},
		"images is a file":  {map[string]string{"x/template.txt": "x", "x/images": "y"}, []string{"images is a file"}},
		"folder in images":  {map[string]string{"x/template.txt": "x", "x/images/sub/a.png": "y"}, []string{"images/sub is not a file"}},
		"picture too large": {map[string]string{"x/template.txt": "x", "x/images/a.png": big}, []string{"images/a.png", "5 MB"}},
		"pictures together": {map[string]string{"x/template.txt": "x", "x/images/a.png": half, "x/images/b.png": half, "x/images/c.png": string(sized(300))}, []string{"images/c.png", "10 MB"}},
		"too many pictures": {many, []string{"100 pictures"}},
		"empty picture":     {map[string]string{"x/template.txt": "x", "x/images/a.png": ""}, []string{"images/a.png is empty"}},
		"svg":               {map[string]string{"x/template.txt": "x", "x/images/a.png": "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>"}, []string{"images/a.png is an SVG", "PNG"}},
		"bitmap":            {map[string]string{"x/template.txt": "x", "x/images/a.png": "BM\x00\x00"}, []string{"image/bmp", "PNG or JPEG"}},
		"web page":          {map[string]string{"x/template.txt": "x", "x/images/a.png": "<html>404"}, []string{"images/a.png is no picture"}},
		"name with braces":  {map[string]string{"x/template.txt": "x", "x/images/a}}.png": string(aPNG())}, []string{"rename"}},
		"name not UTF-8":    {map[string]string{"x/template.txt": "x", "x/images/\xb0\xa1.png": string(aPNG())}, []string{`\xb0\xa1`, "rename"}},
		"same name twice":   {map[string]string{"x/template.txt": "x", "x/images/" + norm.NFD.String("가.png"): string(aPNG()), "x/images/가.png": string(aPNG())}, []string{"가.png", "rename one"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, c.files)
			_, err := templates.Files{Path: dir}.Template(t.Context(), "x")
			says(t, err, mail.Permanent, append(c.want, "the template x")...)
			if err != nil && strings.Contains(err.Error(), dir) {
				t.Errorf("%v names a path of the machine", err)
			}
		})
	}
}

func TestTheLimitsThemselvesAreTaken(t *testing.T) {
	f := templates.Files{Path: tree(t, map[string]string{"x/template.html": strings.Repeat("x", templates.MaxSize),
		"x/images/a.png": string(sized(templates.MaxImage)), "x/images/b.png": string(sized(templates.MaxImages - templates.MaxImage))})}
	if got, err := f.Template(t.Context(), "x"); err != nil || len(got.Images) != 2 {
		t.Fatal(err)
	}
}

// A name that leads elsewhere finds nothing, and a link is only followed within.
func TestNothingOutsideOfTheFolderIsRead(t *testing.T) {
	outside := tree(t, map[string]string{"t/template.txt": "secret", "a.png": string(aPNG())})
	dir := filepath.Join(outside, "templates")
	link := func(target, name string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.Symlink(target, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("good/template.txt", "x")
	write("good/images/a.png", string(aPNG()))
	link("../t", "folder")
	link("../../t/template.txt", "html/template.html")
	write("picture/template.txt", "x")
	link("../../../a.png", "picture/images/a.png")
	write("absolute/template.txt", "x")
	link(filepath.Join(outside, "a.png"), "absolute/images/a.png")
	write("images/template.txt", "x")
	link("../../", "images/images")
	write("dangling/template.txt", "x")
	link("nowhere", "dangling/subject.txt")
	write("within/template.txt", "x")
	link("../../good/images/a.png", "within/images/logo.png")
	link("good", "alias")

	f := templates.Files{Path: dir}
	for _, id := range []string{"", ".", "..", "../t", "good/../good", "/etc", "good/", `good\x`, "a b", ".hidden", "good\x00", "한글", strings.Repeat("x", 65)} {
		if _, err := f.Template(t.Context(), id); !errors.Is(err, templates.ErrUnknown) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for id, file := range map[string]string{"folder": "folder", "html": "template.html", "picture": "images/a.png", "absolute": "images/a.png", "images": "images"} {
		_, err := f.Template(t.Context(), id)
		says(t, err, mail.Permanent, "the template "+id, file+" is a link that leads out of the folder")
	}
	_, err := f.Template(t.Context(), "dangling")
	says(t, err, mail.Permanent, "subject.txt is a link that leads nowhere")
	for _, id := range []string{"within", "alias", "good"} {
		if got, err := f.Template(t.Context(), id); err != nil || len(got.Images) != 1 {
			t.Errorf("%s: %v", id, err)
		}
	}
	infos, err := f.List(t.Context())
	if want := []string{"absolute=", "alias=", "dangling=", "good=", "images=", "picture=", "within="}; err != nil || !slices.Equal(named(infos), want) {
		t.Errorf("List gives %v, %v", named(infos), err)
	}
}

// Opening a pipe would wait for ever.
func TestAPipeIsNotRead(t *testing.T) {
	dir := tree(t, map[string]string{"x/template.txt": "x"})
	if err := syscall.Mkfifo(filepath.Join(dir, "x", "template.html"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := templates.Files{Path: dir}.Template(t.Context(), "x")
	says(t, err, mail.Permanent, "template.html is not a file")
}

func TestAFolderThatCannotBeReadIsNoUnknownTemplate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := templates.Files{Path: file}
	_, err := f.Template(t.Context(), "x")
	says(t, err, mail.Temporary, "path in [templates]")
	_, err = f.List(t.Context())
	says(t, err, mail.Temporary, "path in [templates]")
}

// A client would send again and again what waits for a folder that nobody made.
func TestWithoutAFolderThereIsNoTemplate(t *testing.T) {
	f := templates.Files{Path: filepath.Join(t.TempDir(), "absent")}
	if _, err := f.Template(t.Context(), "x"); !errors.Is(err, templates.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestListShowsPurposes(t *testing.T) {
	f := templates.Files{Path: tree(t, map[string]string{"b/template.html": "x", "b/purpose.txt": "봄\n", "a/template.txt": "x", "c/purpose.txt": "no template",
		".git/template.txt": "x", "d/template.txt": "x", "d/purpose.txt": "two\nlines", "README": "x"})}
	infos, err := f.List(t.Context())
	if want := []string{"a=", "b=봄", "d="}; err != nil || !slices.Equal(named(infos), want) {
		t.Errorf("List gives %v, %v", named(infos), err)
	}
}

func sample() *expand.Template {
	return &expand.Template{ID: "spring", Purpose: "봄 할인", Subject: "{{Name}}님, 봄 세일", HTML: "<p>{{Name}}</p>\r\n<img src=\"{{image:로고 1.png}}\">", Text: "{{Name}}\n",
		Images: []expand.Image{{Name: "a+b.gif", Type: "image/gif", Data: aGIF()}, {Name: "로고 1.png", Type: "image/png", Data: aPNG()}}}
}

func TestPutIntoFilesWritesOnlyWhatDiffers(t *testing.T) {
	f := templates.Files{Path: filepath.Join(t.TempDir(), "new", "templates")}
	want := sample()
	if plan, err := f.DryRun(t.Context(), want); err != nil || len(plan) != 6 {
		t.Fatalf("%q, %v", plan, err)
	}
	if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("DryRun made something")
	}
	put(t, f, want)
	got, err := f.Template(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)

	want.Text, want.Subject, want.Purpose = "", "new", ""
	want.Images = want.Images[1:]
	want.Images[0].Data, want.Images[0].Type = aJPEG(), "image/jpeg"
	did := put(t, f, want)
	if !slices.Equal(did, []string{"spring: images/로고 1.png is replaced", "spring: template.txt is removed", "spring: subject.txt is replaced", "spring: purpose.txt is removed", "spring: images/a+b.gif is removed"}) {
		t.Errorf("Put did %q", did)
	}
	if got, err = f.Template(t.Context(), "spring"); err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	entries, err := os.ReadDir(filepath.Join(f.Path, "spring"))
	if err != nil || len(entries) != 3 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func TestPutKeepsTheNameThatAFileHas(t *testing.T) {
	apart := norm.NFD.String("로고.png")
	f := templates.Files{Path: tree(t, map[string]string{"x/template.txt": "x", "x/images/" + apart: string(aPNG())})}
	got, err := f.Template(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if did := put(t, f, got); len(did) != 0 {
		t.Errorf("Put did %q", did)
	}
}

func TestPutIntoFilesRefuses(t *testing.T) {
	f := templates.Files{Path: t.TempDir()}
	for name, c := range map[string]struct {
		change func(*expand.Template)
		want   string
	}{
		"a way out":       {func(t *expand.Template) { t.ID = "../x" }, "is not the name of a template"},
		"no content":      {func(t *expand.Template) { t.HTML, t.Text = "", "" }, "no content"},
		"only linked":     {func(t *expand.Template) { t.Images[0].Data, t.Images[0].URL = nil, "https://example.com/a.gif" }, "only linked"},
		"neither":         {func(t *expand.Template) { t.Images[0].Data = nil }, "neither content nor address"},
		"picture outside": {func(t *expand.Template) { t.Images[0].Name = "../../x.png" }, "rename"},
		"dots":            {func(t *expand.Template) { t.Images[0].Name = ".." }, "rename"},
		"hidden":          {func(t *expand.Template) { t.Images[0].Name = ".a.gif" }, "rename"},
		"left behind":     {func(t *expand.Template) { t.Images[0].Name = "a.gif~" }, "rename"},
		"no picture":      {func(t *expand.Template) { t.Images[0].Data = []byte("x") }, "no picture"},
		"twice":           {func(t *expand.Template) { t.Images[0].Name = t.Images[1].Name }, "rename one"},
	} {
		t.Run(name, func(t *testing.T) {
			x := sample()
			c.change(x)
			_, err := f.Put(t.Context(), x)
			says(t, err, mail.Permanent, c.want)
		})
	}
	if entries, err := os.ReadDir(f.Path); err != nil || len(entries) != 0 {
		t.Errorf("something was written: %v, %v", entries, err)
	}
}
