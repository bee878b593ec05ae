package spool

import (
	"container/heap"
	"time"

	"postern/mail"
)

// schedule knows, in memory, which message of which lane has a copy due when.
// It is a hint: the due index decides. Messages whose copies are due take
// turns, so that a list of a million does not keep a list of ten waiting;
// transactional mail always goes first.
type schedule struct {
	lanes map[string]*laneSchedule
	items map[mail.ID]*item
}

type laneSchedule struct{ transactional, bulk turn }

// turn is the messages of one priority: ready ones in a ring, others by time.
type turn struct {
	ready   []*item // in order of their turn; removed ones are nil-ed lazily
	waiting dueHeap
}

type item struct {
	id    mail.ID
	turn  *turn
	due   time.Time
	ready bool
	gone  bool
	index int // in waiting
}

func newSchedule() *schedule {
	return &schedule{lanes: map[string]*laneSchedule{}, items: map[mail.ID]*item{}}
}

func (s *schedule) lane(name string) *laneSchedule {
	l := s.lanes[name]
	if l == nil {
		l = new(laneSchedule)
		s.lanes[name] = l
	}
	return l
}

// put says that the message's earliest copy on this lane is due then.
func (s *schedule) put(id mail.ID, lane string, p mail.Priority, due time.Time) {
	t := &s.lane(lane).bulk
	if p == mail.Transactional {
		t = &s.lane(lane).transactional
	}
	if it := s.items[id]; it != nil {
		if it.turn == t && it.ready { // keeps its turn; a later due time is found out then
			it.due = due
			return
		}
		s.remove(id)
	}
	it := &item{id: id, turn: t, due: due}
	s.items[id] = it
	heap.Push(&t.waiting, it)
}

func (s *schedule) remove(id mail.ID) {
	it := s.items[id]
	if it == nil {
		return
	}
	delete(s.items, id)
	it.gone = true
	if !it.ready {
		heap.Remove(&it.turn.waiting, it.index)
	}
}

// take gives messages of a lane that have copies due, as many as there is room for,
// in order of their turn, and puts each at the end of the line. The first of them
// are transactional.
func (s *schedule) take(lane string, room Room, now time.Time) (ids []mail.ID, first int) {
	l := s.lane(lane)
	if room.BulkFirst {
		if ids = l.bulk.take(nil, min(room.All, room.Bulk), now); len(ids) > 0 {
			return ids, 0
		}
	}
	ids = l.transactional.take(nil, room.All, now)
	first = len(ids)
	return l.bulk.take(ids, min(room.All-first, room.Bulk), now), first
}

func (t *turn) take(ids []mail.ID, n int, now time.Time) []mail.ID {
	for len(t.waiting) > 0 && !t.waiting[0].due.After(now) {
		it := heap.Pop(&t.waiting).(*item)
		it.ready = true
		t.ready = append(t.ready, it)
	}
	for turns := len(t.ready); turns > 0 && n > 0; turns-- {
		it := t.ready[0]
		t.ready[0] = nil
		t.ready = t.ready[1:]
		switch {
		case it.gone:
		case it.due.After(now):
			it.ready = false
			heap.Push(&t.waiting, it)
		default:
			t.ready = append(t.ready, it)
			ids = append(ids, it.id)
			n--
		}
	}
	return ids
}

// next is when the lane's earliest waiting message is due for which there is room;
// zero when none waits.
func (s *schedule) next(lane string, room Room) time.Time {
	var next time.Time
	l := s.lane(lane)
	turns := []*turn{&l.transactional, &l.bulk}
	if room.Bulk <= 0 {
		turns = turns[:1]
	}
	for _, t := range turns {
		for _, it := range t.ready {
			if !it.gone && (next.IsZero() || it.due.Before(next)) {
				next = it.due
			}
		}
		if len(t.waiting) > 0 && (next.IsZero() || t.waiting[0].due.Before(next)) {
			next = t.waiting[0].due
		}
	}
	return next
}

// dueHeap orders items by due time (container/heap).
type dueHeap []*item

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap.
func (h *dueHeap) Push(x any) {
	it := x.(*item)
	it.index = len(*h)
	*h = append(*h, it)
}

func (h *dueHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}
