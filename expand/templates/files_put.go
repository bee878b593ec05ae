package templates

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"postern/expand"
	"postern/mail"
)

// Put makes the template's folder hold t and no other picture: it reads what is
// there and writes, one file after another, only what differs. It says what it
// did, one sentence each; nothing when all was so already.
func (f Files) Put(ctx context.Context, t *expand.Template) ([]string, error) {
	steps, err := f.plan(t)
	if err != nil {
		return nil, err
	}
	return take(ctx, steps)
}

// DryRun says what Put would do, and does nothing.
func (f Files) DryRun(_ context.Context, t *expand.Template) ([]string, error) {
	steps, err := f.plan(t)
	return sentences(steps), err
}

func (f Files) plan(given *expand.Template) ([]step, error) {
	t, err := checked(given)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		root = nil // Put makes it
	} else if err != nil {
		return nil, unreadable(err)
	} else {
		defer root.Close()
	}
	r := folder{root, t.ID}
	steps, gone, err := f.planImages(r, t.Images)
	if err != nil {
		return nil, err
	}
	line := func(s string) string { return s + map[bool]string{true: "\n"}[s != ""] }
	for _, file := range []struct{ name, content string }{
		{htmlFile, t.HTML}, {textFile, t.Text}, {subjectFile, line(t.Subject)}, {purposeFile, line(t.Purpose)},
	} {
		s, err := f.planFile(r, file.name, []byte(file.content), MaxSize)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s...)
	}
	return append(steps, gone...), nil
}

// planImages gives the steps that write pictures, and those that remove others;
// these come last, so that no reader meets a text without its pictures.
func (f Files) planImages(r folder, images []expand.Image) (steps, gone []step, err error) {
	there := map[string]string{} // by the name that placeholders have
	if r.root != nil {
		names, err := r.imageNames()
		if err != nil {
			return nil, nil, err
		}
		for _, n := range names {
			there[nameOf(n)] = n
		}
	}
	for _, img := range images {
		switch {
		case img.Data == nil:
			return nil, nil, broken(r.id, "the picture %s is only linked, and a folder keeps pictures as files; put it into S3 first, or fetch it with images = \"inline\"", shown(img.Name))
		case leftBehind(img.Name):
			return nil, nil, broken(r.id, "the picture %s has the name of a file that desktops leave behind; rename it", shown(img.Name))
		}
		s, err := f.planFile(r, path.Join(imageFolder, cmp.Or(there[img.Name], img.Name)), img.Data, MaxImage)
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, s...)
		delete(there, img.Name)
	}
	for _, n := range sortedValues(there) {
		gone = append(gone, f.remove(r.id, path.Join(imageFolder, n)))
	}
	return steps, gone, nil
}

// planFile makes one file hold content; none is there for an empty one.
func (f Files) planFile(r folder, name string, content []byte, limit int64) ([]step, error) {
	old, err := r.read(name, limit+1)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return nil, err
	case missing && len(content) == 0, !missing && len(content) > 0 && bytes.Equal(old, content):
		return nil, nil
	case len(content) == 0:
		return []step{f.remove(r.id, name)}, nil
	}
	verb := map[bool]string{true: "is added", false: "is replaced"}[missing]
	return []step{{fmt.Sprintf("%s: %s %s", r.id, shown(name), verb), func(context.Context) error { return f.write(path.Join(r.id, name), content) }}}, nil
}

func (f Files) remove(id, name string) step {
	return step{fmt.Sprintf("%s: %s is removed", id, shown(name)), func(context.Context) error {
		root, err := f.open()
		if err != nil {
			return err
		}
		defer root.Close()
		if err := root.Remove(path.Join(id, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(path.Join(id, name), err)
		}
		return nil
	}}
}

// write puts a file there whole or not at all: readers go on meanwhile.
func (f Files) write(name string, content []byte) error {
	if err := os.MkdirAll(f.Path, 0o755); err != nil {
		return unwritable("the folder of templates", err)
	}
	root, err := f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	part := path.Join(path.Dir(name), ".part-"+path.Base(name))
	if err := errors.Join(root.MkdirAll(path.Dir(name), 0o755), root.WriteFile(part, content, 0o644)); err != nil {
		return unwritable(name, err)
	}
	if err := root.Rename(part, name); err != nil {
		return unwritable(name, errors.Join(err, root.Remove(part)))
	}
	return nil
}

func unwritable(name string, err error) error {
	return &mail.Error{Class: mail.Temporary, Public: shown(name) + " cannot be written", Err: err}
}

func sortedValues(m map[string]string) []string {
	return slices.Sorted(maps.Values(m))
}
