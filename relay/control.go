package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/spool"
)

// laneRow is what the spool keeps about a lane over a restart.
type laneRow struct {
	Version int         `json:"version"`
	Paused  *paused     `json:"paused,omitempty"`    // by hand
	Held    *paused     `json:"bulk_held,omitempty"` // bulk mail alone, by the breaker
	Day     []hourTally `json:"day,omitempty"`       // what came of the copies of the last day
	Since   time.Time   `json:"since,omitzero"`      // of those sent from then on: somebody has resumed the lane
	Account *accountRow `json:"account,omitempty"`   // what may be sent, and was
}

// paused is why something waits for somebody.
type paused struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// rowVersion is of laneRow. A newer one is refused.
const rowVersion = 1

func decodeRow(name string, b []byte) (laneRow, error) {
	row := laneRow{Version: rowVersion}
	if b == nil {
		return row, nil
	}
	if err := json.Unmarshal(b, &row); err != nil {
		return row, fmt.Errorf("what the spool keeps about lane %s is damaged: %w", name, err)
	}
	if row.Version > rowVersion {
		return row, fmt.Errorf("what the spool keeps about lane %s has version %d, and this version of postern knows versions up to %d", name, row.Version, rowVersion)
	}
	return row, nil
}

// editLane changes what the spool keeps about a lane.
func editLane(ctx context.Context, s *spool.Spool, name string, edit func(*laneRow)) error {
	return s.SetLane(ctx, name, func(b []byte) ([]byte, error) {
		row, err := decodeRow(name, b)
		if err != nil {
			return nil, err
		}
		edit(&row)
		row.Version = rowVersion
		return json.Marshal(row)
	})
}

// restore takes up how the lane was left.
func (l *lane) restore() error {
	b, err := l.r.cfg.Spool.Lane(l.Name)
	if err != nil {
		return err
	}
	row, err := decodeRow(l.Name, b)
	if err != nil {
		return err
	}
	l.gate.hold(row)
	l.rolling.set(row.Day, row.Since)
	l.recall(row, time.Now())
	return nil
}

// hold takes over what a person or the breaker wants of the lane.
func (g *gate) hold(row laneRow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.byHand, g.bulkHeld = "", ""
	if row.Paused != nil {
		g.byHand = row.Paused.Reason
	}
	if row.Held != nil {
		g.bulkHeld = row.Held.Reason
	}
}

func (g *gate) holdsBulk() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bulkHeld != ""
}

// PauseLane stops a lane until somebody resumes it, over restarts too. What is being
// sent ends as it ends.
func (r *Relay) PauseLane(ctx context.Context, name, reason string) error {
	return r.editLane(ctx, name, func(row *laneRow) { row.Paused = &paused{reason, time.Now()} })
}

// ResumeLane ends what PauseLane or the breaker began, and tries a lane that is paused
// for another reason at once.
func (r *Relay) ResumeLane(ctx context.Context, name string) error {
	now := time.Now()
	err := r.editLane(ctx, name, func(row *laneRow) { row.Paused, row.Held, row.Day, row.Since = nil, nil, nil, now })
	if err != nil {
		return err
	}
	r.lane(name).rolling.set(nil, now)
	r.lane(name).gate.tryNow(now)
	r.lane(name).nudgeDispatch()
	return nil
}

// holdBulk lets the bulk mail of a lane wait until somebody resumes the lane.
func (r *Relay) holdBulk(ctx context.Context, name, reason string) error {
	return r.editLane(ctx, name, func(row *laneRow) { row.Held = &paused{reason, time.Now()} })
}

func (r *Relay) editLane(ctx context.Context, name string, edit func(*laneRow)) error {
	l := r.lane(name)
	if l == nil {
		return &NoLaneError{name, r.names()}
	}
	var now laneRow
	err := editLane(ctx, r.cfg.Spool, name, func(row *laneRow) { edit(row); now = *row })
	if err != nil {
		return err
	}
	l.gate.hold(now)
	l.nudgeDispatch()
	return nil
}

func (r *Relay) lane(name string) *lane {
	i := slices.IndexFunc(r.lanes, func(l *lane) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return r.lanes[i]
}

func (r *Relay) names() (names []string) {
	for _, l := range r.lanes {
		names = append(names, l.Name)
	}
	return names
}

// NoLaneError is the error for a name that is no lane's.
type NoLaneError struct {
	Name  string
	Lanes []string
}

func (e *NoLaneError) Error() string {
	return fmt.Sprintf("there is no lane %q; the lanes are %s", e.Name, strings.Join(e.Lanes, ", "))
}

// tryNow lets a paused lane be tried without waiting.
func (g *gate) tryNow(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paused {
		g.until = now
	}
}
