package notice

import (
	"time"

	"postern/mail"
)

// Kind is what an [Event] is.
type Kind int

const (
	LanePaused  Kind = iota // nothing leaves through a lane
	LaneRuns                // it works again
	DiskHasRoom             // what follows is over
	DiskLow                 // there is little room left
	DiskFull                // no mail is accepted for want of room
	SpoolBroken             // a sync failed: nothing is accepted or sent until a restart
	LaneHeld                // its bulk mail waits until somebody resumes the lane: too much has come back
	SyncLate                // the directory is behind MySQL
	SyncAgain               // it is in step again
)

// Event is something that the administrator is to know.
type Event struct {
	Kind    Kind
	Lane    string     // of LanePaused, LaneRuns and LaneHeld
	ByHand  bool       // of LanePaused: somebody paused it, and has to resume it
	Class   mail.Class // of LanePaused: why, as the lane took it; the advice follows it
	Remedy  string     // of LanePaused: advice in English, in place of that of the class; "": none
	Words   string     // upstream's, the disk's, or those of the last sync
	Since   time.Time  // when it began; zero: not known
	Until   time.Time  // LanePaused: the next probe; of what is over: when it ended
	Waiting int        // copies that wait; 0: none, or not known
}

// Operator tells the administrator what stopped, what Postern does about it by
// itself, and what is theirs to do.
func Operator(l Letter, e Event) []byte {
	w := &bulletin{page: l.page(), Event: e, lane: line(e.Lane, 100)}
	subject := w.title()
	w.WriteString(w.lead() + "\n\n")
	w.facts()
	w.itself()
	w.advice()
	w.WriteString("-- \n")
	w.sign()
	return l.write(draft{kind: generated, subject: subject, parts: []part{textPart(w.String())}})
}

// bulletin writes the text of an event.
type bulletin struct {
	page
	Event
	lane string
}

// over says that there is nothing left to do.
func (w *bulletin) over() bool {
	return w.Kind == LaneRuns || w.Kind == DiskHasRoom || w.Kind == SyncAgain
}

func (w *bulletin) facts() {
	w.row("Since", "시작", w.show(w.Since, w.tongue))
	if w.over() {
		w.row("Until", "종료", w.show(w.Until, w.tongue))
	} else {
		w.row("Next try", "다음 시도", w.show(w.Until, w.tongue))
	}
	if words := line(w.Words, maxWords); words != "" {
		w.row("Reason", "이유", "“"+words+"”")
	}
	if w.Waiting > 0 {
		w.row("Copies that wait", "대기 중인 메일", number(w.Waiting)+w.pick("", "통"))
	}
	w.WriteString("\n")
}
