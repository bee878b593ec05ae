package templates

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"postern/expand"
	"postern/mail"
)

// The files of a template's folder.
const (
	htmlFile    = "template.html"
	textFile    = "template.txt"
	subjectFile = "subject.txt"
	purposeFile = "purpose.txt"
	imageFolder = "images"
)

func fileParts() parts { return parts{htmlFile, textFile, subjectFile, purposeFile} }

// Files are templates in a folder, one folder each. It holds nothing open.
type Files struct {
	Path string // the folder with the templates' folders
}

var _ Source = Files{}

// open opens the folder; nothing outside of it is reached through what it gives,
// by no name and no link.
func (f Files) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		return nil, unreadable(err)
	}
	return root, nil
}

func unreadable(err error) error {
	return &mail.Error{Class: mail.Temporary, Public: "the folder of templates (path in [templates]) cannot be read", Err: err}
}

// Template reads the folder of one template.
func (f Files) Template(ctx context.Context, id string) (*expand.Template, error) {
	if err := CheckID(id); err != nil {
		return nil, unknown(id)
	}
	root, err := f.open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unknown(id) // nobody has made a template yet
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := folder{root, id}
	if info, err := root.Stat(id); errors.Is(err, fs.ErrNotExist) {
		return nil, unknown(id)
	} else if err != nil {
		return nil, r.explain("", err)
	} else if !info.IsDir() {
		return nil, broken(id, "it is a file; make a folder of that name with %s in it", htmlFile)
	}
	t := &expand.Template{ID: id}
	for name, into := range map[string]*string{htmlFile: &t.HTML, textFile: &t.Text, subjectFile: &t.Subject, purposeFile: &t.Purpose} {
		data, err := r.read(name, MaxSize+1) // one more, so that tidy sees what is too long
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		*into = string(data)
	}
	if err := tidy(t, fileParts()); err != nil {
		return nil, err
	}
	t.Images, err = r.images(ctx)
	return t, err
}

// List names the folders that hold a template. A purpose that cannot be read is
// left out: Template says why.
func (f Files) List(ctx context.Context) ([]Info, error) {
	root, err := f.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, unreadable(err)
	}
	var all []Info
	for _, e := range entries {
		id := e.Name()
		if CheckID(id) != nil || !exists(root, path.Join(id, htmlFile)) && !exists(root, path.Join(id, textFile)) {
			continue
		}
		t := expand.Template{ID: id, Text: "x"} // only the purpose is asked for
		if data, err := (folder{root, id}).read(purposeFile, maxLine+1); err == nil {
			if t.Purpose = string(data); tidy(&t, fileParts()) != nil {
				t.Purpose = ""
			}
		}
		all = append(all, Info{ID: id, Purpose: t.Purpose})
	}
	return all, ctx.Err()
}

func exists(root *os.Root, name string) bool {
	_, err := root.Stat(name)
	return err == nil
}

// folder is the folder of one template.
type folder struct {
	root *os.Root // nil: there is nothing
	id   string
}

// images reads the pictures in the order of their names.
func (r folder) images(ctx context.Context) ([]expand.Image, error) {
	names, err := r.imageNames()
	if err != nil {
		return nil, err
	}
	p := pictures{id: r.id}
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		file := path.Join(imageFolder, name)
		data, err := r.read(file, MaxImage+1)
		if err != nil {
			return nil, err
		}
		if len(data) > MaxImage {
			return nil, broken(r.id, "%s %v", shown(file), tooLarge())
		}
		if err := p.add(expand.Image{Name: name, Data: data}, shown(file)); err != nil {
			return nil, err
		}
	}
	return p.images, nil
}

// imageNames are the files in the folder of pictures, without what desktops and
// editors leave behind.
func (r folder) imageNames() ([]string, error) {
	name := path.Join(r.id, imageFolder)
	if info, err := r.root.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err == nil && !info.IsDir() {
		return nil, broken(r.id, "%s is a file; make a folder of that name and put the pictures into it", imageFolder)
	}
	entries, err := fs.ReadDir(r.root.FS(), name)
	if err != nil {
		return nil, r.explain(imageFolder, err)
	}
	var names []string
	for _, e := range entries {
		if !leftBehind(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// leftBehind says that a file is a desktop's or an editor's.
func leftBehind(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || name == "Thumbs.db" || name == "desktop.ini"
}

// read reads at most limit octets of a file of the template. That there is none
// is said by fs.ErrNotExist.
func (r folder) read(name string, limit int64) ([]byte, error) {
	if r.root == nil {
		return nil, fs.ErrNotExist
	}
	file := path.Join(r.id, name)
	// Asked first, because opening a pipe would wait for its writer.
	info, err := r.root.Stat(file)
	if err != nil {
		return nil, r.explain(name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, broken(r.id, "%s is not a file; move it away", shown(name))
	}
	f, err := r.root.Open(file)
	if err != nil {
		return nil, r.explain(name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, r.explain(name, err)
	}
	return data, nil
}

// explain says what a failed read of a file is about. os.Root tells a link that
// leads outside only by its words.
func (r folder) explain(name string, err error) error {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if info, lerr := r.root.Lstat(path.Join(r.id, name)); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
			return broken(r.id, "%s is a link that leads nowhere; put the file itself there", shown(name))
		}
		return err
	case errors.As(err, &p) && strings.Contains(p.Err.Error(), "escapes"):
		return broken(r.id, "%s is a link that leads out of the folder of templates; put the file itself there", shown(cmp.Or(name, r.id)))
	}
	what := "the folder of the template"
	if name != "" {
		what = shown(name) + " of the template"
	}
	return &mail.Error{Class: mail.Temporary, Public: fmt.Sprintf("%s %s cannot be read", what, r.id), Err: err}
}
