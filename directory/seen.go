package directory

import (
	"hash/maphash"

	"postern/mail"
)

// seen remembers addresses by hashes of 64 bits: 16 bytes of memory for each at most
// places, twice that where a capital letter is in it. That one of a million
// addresses is taken for another has a probability of 1 in 10 million.
type seen struct {
	seed  maphash.Seed
	table []uint64 // open addressing; 0 is empty
	used  int
}

func newSeen() *seen { return &seen{seed: maphash.MakeSeed(), table: make([]uint64, 1<<10)} }

// add says whether the address came before as it is written, or else in another
// spelling.
func (s *seen) add(addr mail.Address) (again, otherwise bool) {
	key := addr.Key()
	if !s.put(s.hash("=", string(addr))) {
		return true, false
	}
	if key != string(addr) {
		otherwise = s.has(s.hash("=", key))
	}
	// The mark that some spelling came that is not the normalised one.
	mark := s.hash("~", key)
	otherwise = otherwise || s.has(mark)
	if key != string(addr) {
		s.put(mark)
	}
	return false, otherwise
}

func (s *seen) hash(kind, text string) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(kind) // never fails
	_, _ = h.WriteString(text)
	return max(h.Sum64(), 1)
}

// place is where the hash is, or would be.
func (s *seen) place(h uint64) int {
	mask := len(s.table) - 1
	i := int(h) & mask
	for s.table[i] != 0 && s.table[i] != h {
		i = (i + 1) & mask
	}
	return i
}

func (s *seen) has(h uint64) bool { return s.table[s.place(h)] != 0 }

// put says whether the hash is new.
func (s *seen) put(h uint64) bool {
	i := s.place(h)
	if s.table[i] != 0 {
		return false
	}
	s.table[i] = h
	if s.used++; s.used*4 > len(s.table)*3 {
		old := s.table
		s.table = make([]uint64, 2*len(old))
		for _, h := range old {
			if h != 0 {
				s.table[s.place(h)] = h
			}
		}
	}
	return true
}
