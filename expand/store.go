package expand

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// A stored Compiled: magic, format version, length of the JSON, JSON, body, CRC-32
// of all that. A new version reads the older ones.
const (
	storeMagic   = "postern mail"
	storeVersion = 2 // 1 knew no text in base64
	storeHead    = len(storeMagic) + 1 + 4
)

// errDamaged is what Load says of anything that MarshalBinary did not write.
var errDamaged = errors.New("the compiled mail is damaged")

// MarshalBinary writes c for [Load].
func (c *Compiled) MarshalBinary() ([]byte, error) {
	meta, err := json.Marshal(&c.compiled)
	if err != nil {
		return nil, fmt.Errorf("writing a compiled mail: %w", err)
	}
	b := make([]byte, 0, storeHead+len(meta)+len(c.body)+4)
	b = append(append(b, storeMagic...), storeVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(meta)))
	b = append(append(b, meta...), c.body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)), nil
}

// Load reads what MarshalBinary wrote; b must not change afterwards. A newer
// version and anything else is an error.
func Load(b []byte) (*Compiled, error) {
	if len(b) < storeHead+4 || string(b[:len(storeMagic)]) != storeMagic {
		return nil, errDamaged
	}
	if v := b[len(storeMagic)]; v < 1 || v > storeVersion {
		return nil, fmt.Errorf("the compiled mail has format %d, and this program reads 1 to %d: a newer program wrote it", v, storeVersion)
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	size := int64(binary.BigEndian.Uint32(b[storeHead-4:]))
	if crc32.ChecksumIEEE(b) != sum || size > int64(len(b)-storeHead) {
		return nil, errDamaged
	}
	c := &Compiled{body: b[storeHead+int(size):]}
	if err := json.Unmarshal(b[storeHead:storeHead+int(size)], &c.compiled); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if len(c.compiled.Required) != len(c.compiled.Fields) || !c.fits(c.Slots, len(c.body)) || !c.fits(c.Gaps, len(c.compiled.Subject)) {
		return nil, errDamaged
	}
	return c, nil
}

// fits says whether slots can be rendered into size octets.
func (c *Compiled) fits(slots []slot, size int) bool {
	at := 0
	for _, s := range slots {
		if s.At < at || s.At > size || s.Field < slotPrefs || s.Field >= len(c.compiled.Fields) || s.As > asLink {
			return false
		}
		at = s.At
		if s.Row != nil {
			if !s.Row.fits() {
				return false
			}
			at += 3 * s.Row.Lines
		}
	}
	return at <= size
}

// fits says whether the row can be rendered.
func (r *row) fits() bool {
	return r.Lines == 0 || r.Lines > 0 && r.Lines < 1<<30 && len(r.Lead) == 2 && len(r.Tail) >= 2
}
