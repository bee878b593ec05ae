package admin

import (
	"context"
	"net/http"

	"postern/relay"
)

// listLanes is GET /api/lanes.
func (a *API) listLanes(w http.ResponseWriter, _ *http.Request) error {
	if a.Lanes == nil {
		return &conflict{"there are no lanes here"}
	}
	lanes := a.Lanes()
	if lanes == nil {
		lanes = []relay.LaneStatus{}
	}
	answer(w, http.StatusOK, lanes)
	return nil
}

// actOnLane is POST /api/lanes/{name}/{action}: pause, which takes {"reason": TEXT}, or
// resume. The answer is the lane as it is then.
func (a *API) actOnLane(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(w, r, &body, true); err != nil {
		return err
	}
	l, err := a.lane(r.Context(), r.PathValue("action"), r.PathValue("name"), body.Reason)
	if err == nil {
		answer(w, http.StatusOK, l)
	}
	return err
}

// maxReason bounds what a person gives as a reason, in octets.
const maxReason = 500

// lane does what an operator asks with a lane, for the API and the pages alike.
func (a *API) lane(ctx context.Context, action, name, reason string) (l relay.LaneStatus, err error) {
	if a.PauseLane == nil {
		return l, &conflict{"there are no lanes here"}
	}
	if len(reason) > maxReason {
		return l, bad("a reason has at most %d bytes", maxReason)
	}
	switch action {
	case "pause":
		why := "paused by " + actor(ctx)
		if reason != "" {
			why += ": " + reason
		}
		err = a.PauseLane(ctx, name, why)
	case "resume":
		err = a.ResumeLane(ctx, name)
	default:
		return l, bad("%q cannot be done with a lane; pause and resume can", action)
	}
	if err != nil {
		return l, err
	}
	a.Log.Info("an operator acted on a lane", "action", action, "by", actor(ctx), "lane", name, "reason", reason)
	for _, l := range a.Lanes() {
		if l.Name == name {
			return l, nil
		}
	}
	return l, &relay.NoLaneError{Name: name}
}
