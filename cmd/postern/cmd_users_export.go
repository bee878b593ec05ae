package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

type usersExportCmd struct {
	File     string   `arg:"" optional:"" help:"The CSV file to write; without it, stdout. An existing file is never overwritten."`
	Encoding string   `help:"utf-8, utf-8-bom (for Excel) or euc-kr." default:"utf-8" placeholder:"NAME"`
	Columns  []string `help:"Only these columns, in this order, with commas between." placeholder:"NAME,..."`
}

func (usersExportCmd) Help() string {
	return `The file is complete, or there is none. It can be imported again and gives the same users. A letter that EUC-KR lacks is named, with its user and column.

Examples:

  postern users export users.csv
  postern users export members.csv --encoding utf-8-bom --columns Email,Name
  postern users export | gzip > users.csv.gz`
}

func (c usersExportCmd) Run(s *session) error {
	q := url.Values{}
	switch e := strings.ToLower(c.Encoding); e {
	case "utf-8":
	case "utf-8-bom", "euc-kr":
		q.Set("encoding", e)
	case "cp949":
		q.Set("encoding", "euc-kr")
	default:
		return usageError(fmt.Sprintf("--encoding is utf-8, utf-8-bom or euc-kr, and not %q", c.Encoding))
	}
	if len(c.Columns) > 0 {
		q.Set("columns", strings.Join(c.Columns, ","))
	}
	path := "/api/users/export"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return s.export(path, c.File)
}

// export brings what the API exports into a file, whole or not at all, or to stdout.
func (s *session) export(path, file string) error {
	conn, _, err := s.control()
	if err != nil {
		return err
	}
	defer conn.Close()
	text, err := conn.Request(s.ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer text.Close()
	if file != "" && file != "-" {
		_, err = saveWhole(file, text)
		return err
	}
	if _, err := io.Copy(s.stdout, text); err != nil {
		return fmt.Errorf("the export broke off, so this is not all: %w", err)
	}
	return nil
}
