package main_test

import (
	"os"
	"path/filepath"
)

// template writes a template into the folder of templates; files are named below its
// own folder.
func (g *gateway) template(id, html, text string) {
	g.t.Helper()
	g.folder(filepath.Join("templates", id), map[string]string{"template.html": html, "template.txt": text})
}

func (g *gateway) folder(dir string, files map[string]string) {
	g.t.Helper()
	for name, content := range files {
		if content == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(g.dir, filepath.Dir(path)), 0o700); err != nil {
			g.t.Fatal(err)
		}
		g.write(path, content)
	}
}
