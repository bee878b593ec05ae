package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
)

// Secret is a password, a hash or a DSN. However it is printed, logged or
// encoded it shows as "(hidden)"; string(s) is its value.
type Secret string

const hidden = "(hidden)"

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString is for %#v.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// LogValue is for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is for every encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// maxSecret is the longest secret file that is read, in octets.
const maxSecret = 64 << 10

// eachSecret visits every secret of the configuration and, beside it, the name
// of the file that may hold it instead: the keys X and X_file.
func eachSecret(cfg *Config, visit func(path string, value *Secret, file string)) {
	walkSecrets("", reflect.ValueOf(cfg).Elem(), visit)
}

func walkSecrets(path string, v reflect.Value, visit func(string, *Secret, string)) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			walkSecrets(fmt.Sprintf("%s[%d]", path, i), v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			name := join(path, tomlName(v.Type().Field(i)))
			if secret, ok := v.Field(i).Addr().Interface().(*Secret); ok {
				visit(name, secret, v.FieldByName(v.Type().Field(i).Name+"File").String())
				continue
			}
			walkSecrets(name, v.Field(i), visit)
		}
	}
}

// readSecret gives a file's content without the line end that editors add.
func readSecret(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", plainPathError(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", plainPathError(err)
	} else if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", plainPathError(err)
	}
	switch secret := strings.TrimRight(string(text), "\r\n"); {
	case len(text) > maxSecret:
		return "", errors.New("it is too long for a secret")
	case secret == "":
		return "", errors.New("it is empty")
	default:
		return Secret(secret), nil
	}
}

// plainPathError drops "open FILE:" where the sentence names the file already.
func plainPathError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
