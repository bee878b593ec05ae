package expand_test

import (
	"bytes"
	"strings"
	"testing"

	"postern/expand"
)

func TestLoadRefusesWhatWasNotStored(t *testing.T) {
	c, err := expand.Compile(input(t, textMail("{{Name}}")))
	if err != nil {
		t.Fatal(err)
	}
	good, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x41
		if _, err := expand.Load(bad); err == nil {
			t.Errorf("octet %d changed and nobody noticed", i)
		}
		if _, err := expand.Load(good[:i]); err == nil {
			t.Errorf("cut at %d and nobody noticed", i)
		}
	}
	newer := bytes.Clone(good)
	newer[len("postern mail")]++
	if _, err := expand.Load(newer); err == nil || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("a newer version: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	c, err := expand.Compile(input(f, textMail("{{Name}}")))
	if err != nil {
		f.Fatal(err)
	}
	good, _ := c.MarshalBinary()
	f.Add(good)
	f.Add([]byte("postern mail\x01\x00\x00\x00\x02{}\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := expand.Load(b); err == nil {
			c.Render(copyTo(c, "a@b.example", nil), "T").Bytes()
		}
	})
}
