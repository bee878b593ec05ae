package directory

import (
	"context"
	"slices"
	"time"

	"postern/mail"
)

// heard is what the index knew of the users of a batch when they were stored.
type heard struct {
	users  []mail.Address
	words  []Word
	wished []bool // the row says subscribed
}

// heed writes into the batch what its people have left here. An import makes users, also
// of people who were taken out of the Store, or in another spelling; other
// programs that read the Store are to know that these have left.
func (im *importer) heed() (h heard, err error) {
	if im.Index == nil {
		return h, nil
	}
	h.users, h.wished = make([]mail.Address, len(im.batch)), make([]bool, len(im.batch))
	for i := range im.batch {
		h.users[i], h.wished[i] = im.batch[i].Email, im.batch[i].Subscribed && !im.batch[i].KeepStatus
	}
	if h.words, err = im.Index.Words(h.users); err != nil {
		return h, err
	}
	for i, w := range h.words {
		if len(w.Left) == 0 {
			continue
		}
		u := &im.batch[i]
		u.OptOut = Union(u.OptOut, w.Left) // with AllLists in it Put subscribes nobody
		if h.wished[i] {
			im.result.Left.add(u.Email)
		}
	}
	return h, nil
}

// settle brings to the Store what people said while their rows were written: the word
// itself may have found no user to tell, or a row may have come after it.
func (im *importer) settle(ctx context.Context, h heard) error {
	if im.Index == nil {
		return nil
	}
	now, err := im.Index.Words(h.users)
	if err != nil {
		return err
	}
	var spelt []mail.Address
	for i, w := range now {
		if w.unheard {
			spelt = append(spelt, h.users[i])
		}
		was := h.words[i].Left
		if slices.Equal(was, w.Left) {
			continue
		}
		c := Change{OptOut: without(w.Left, was), OptIn: without(was, w.Left)}
		if all := slices.Contains(w.Left, AllLists); all || h.wished[i] && slices.Contains(was, AllLists) {
			subscribed := !all
			c.Subscribed = &subscribed
		}
		if err := im.store.Update(ctx, h.users[i], c); err != nil {
			return err
		}
	}
	if len(spelt) == 0 {
		return nil
	}
	return im.Index.spelt(ctx, spelt, Evidence{At: time.Now(), How: "import"})
}

// without is a's elements that b does not have.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
