package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// How long a lab may stand that nobody uses. A use is an input, and a call or a stream that names the lab, by somebody who is in
// it. Inputs are in the log with their time; of the rest the leader takes note by its monotonic clock, and commits it now and
// then, so that the next leader knows. When four fifths of the lifetime have passed by the wall clock the lab's people are
// warned; it is stopped when all has, and the last fifth has passed by the leader's monotonic clock too since the leader knows
// of the warning: a wall clock that jumps stops nothing of which nobody could know.

const (
	// idleEvery is how often the labs are looked at.
	idleEvery = time.Second
	// idleGrace is the part of a lifetime that is left when its people are warned.
	idleGrace = 5
	// idleNote is the part of a lifetime by which what is committed of a lab's use may be behind.
	idleNote = 10
)

// idleness is what a leader knows of the use of labs. Any goroutine may call it.
type idleness struct {
	mu      sync.Mutex           // guards all below
	uses    map[string]*use      // by lab
	warned  map[string]time.Time // by lab: since when this leader knows of the warning
	notices map[string][]notice  // by owner
	looked  uint64               // how often the labs have been looked at
	bounded bool                 // a lab's lifetime was bounded, or somebody was warned, when they were looked at last
}

// use is how a lab was used under this leadership.
type use struct {
	last time.Time // monotonic
	open int       // streams that are about it
}

// notice is what an owner is told of a lab.
type notice struct{ labID, text string }

func newIdleness() *idleness {
	return &idleness{uses: make(map[string]*use), warned: make(map[string]time.Time), notices: make(map[string][]notice), bounded: true}
}

// used notes the use of a lab by somebody who is in it; a stream's begins with +1 and ends with -1.
func (i *idleness) used(lab *controlv1.LabState, caller auth.Caller, open int) {
	if !isIn(lab, caller.Person) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	u := i.uses[lab.GetId()]
	if u == nil {
		u = &use{}
		i.uses[lab.GetId()] = u
	}
	u.last, u.open = time.Now(), u.open+open
}

// isIn tells whether a person owns a lab or is a member of it.
func isIn(lab *controlv1.LabState, person string) bool {
	return person != "" && (lab.GetOwner() == person ||
		slices.ContainsFunc(lab.GetMembers(), func(m *labv1.LabMember) bool { return m.GetPerson() == person }))
}

// noticesFor is what an owner is to be told, but for the lab that is just being used.
func (i *idleness) noticesFor(person, labID string) (texts []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, n := range i.notices[person] {
		if n.labID != labID {
			texts = append(texts, n.text)
		}
	}
	return texts
}

// idleLab is a lab as it is looked at.
type idleLab struct {
	lifetime time.Duration // 0: not bounded
	now      int64         // wall time, ns since 1970
	known    int64         // wall time of the last use that is committed
	seen     time.Duration // since the last use that this leader has seen; negative: it has seen none
	stops    int64         // as its people were warned; 0: they were not
	warned   time.Duration // for how long this leader has known of that
}

type idleAction int

const (
	idleNothing idleAction = iota
	idleUse                // commit that it was used, and take a warning back
	idleWarn
	idleStop
)

// step is what is to be done about a lab, and when it was used last.
func (l idleLab) step() (do idleAction, last int64) {
	last = l.known
	if l.seen >= 0 {
		last = max(last, l.now-int64(l.seen))
	}
	idle := time.Duration(max(0, l.now-last))
	grace := l.lifetime / idleGrace
	switch {
	case l.stops != 0 && (l.lifetime == 0 || idle < l.lifetime-grace):
		return idleUse, last
	case l.lifetime == 0:
	case l.stops != 0 && l.now >= l.stops && l.warned >= grace:
		return idleStop, last
	case l.stops == 0 && idle >= l.lifetime-grace:
		return idleWarn, last
	case last-l.known > int64(l.lifetime/idleNote):
		return idleUse, last
	}
	return idleNothing, last
}

// lifetimeOf is for how long a person's labs may stand unused; 0: for ever.
func (v view) lifetimeOf(person string) time.Duration {
	p := v.person(person)
	if p == nil {
		return 0
	}
	most := v.boundsOf(person, p.GetRole()).most[labv1.QuotaSubject_QUOTA_SUBJECT_IDLE_LIFETIME]
	if most > uint64(maxLifetime/time.Second) {
		return 0
	}
	return time.Duration(most) * time.Second
}

// maxLifetime is the longest that is counted: beyond it is for ever.
const maxLifetime = 100 * 365 * 24 * time.Hour

// lookAfterIdle stops labs that nobody uses, for as long as this server leads.
func (l *leadership) lookAfterIdle() {
	for l.ctx.Err() == nil {
		l.lookForIdle()
		pause(l.ctx, idleEvery)
	}
}

func (l *leadership) lookForIdle() {
	v := l.c.store.view()
	if !l.idle.bounded && !v.anySet(labv1.QuotaSubject_QUOTA_SUBJECT_IDLE_LIFETIME) {
		return
	}
	uses := &controlv1.NoteUse{}
	for _, s := range l.idle.look(v, l.c.conf.Now().UnixNano()) {
		switch s.do {
		case idleUse:
			uses.Uses = append(uses.Uses, &controlv1.LabUse{LabId: s.lab.GetId(), AtUnixNs: s.last})
		case idleWarn:
			l.decide("an idle lab's owner could not be warned", &controlv1.Command{Kind: &controlv1.Command_WarnIdle{WarnIdle: &controlv1.WarnIdle{
				LabId: s.lab.GetId(), UsedUnixNs: v.lastUse(s.lab), StopsUnixNs: s.stops}}})
		case idleStop:
			if host, ok := l.begin(action{kind: actionMove, labID: s.lab.GetId(), epoch: s.lab.GetEpoch()}); ok {
				l.tasks.Go(func() { l.stopUnused(host, s.lab) })
			}
		}
	}
	if len(uses.GetUses()) > 0 {
		l.decide("the use of labs could not be noted", &controlv1.Command{Kind: &controlv1.Command_NoteUse{NoteUse: uses}})
	}
}

// decide commits a decision of the leader's. One that is void by what has happened meanwhile is made anew.
func (l *leadership) decide(failed string, cmd *controlv1.Command) {
	if _, err := l.c.proposeOwn(cmd); err != nil && !isRefusal(err) && l.ctx.Err() == nil {
		l.c.log.Warn(failed, "error", err)
	}
}

// stopUnused stops a lab between two inputs.
func (l *leadership) stopUnused(host *hosting, lab *controlv1.LabState) {
	defer l.stepDone(host)
	err := l.stopBetween(host, func(reached int64) error {
		_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_StopIdle{StopIdle: &controlv1.StopIdle{
			LabId: lab.GetId(), Epoch: lab.GetEpoch(), StopsUnixNs: lab.GetStopsUnixNs(), ReachedNs: reached}}})
		return err
	})
	switch {
	case err == nil:
		l.c.log.Info("a lab that nobody used is stopped", "lab", lab.GetSpec().GetName(), "owner", lab.GetOwner())
	case !isRefusal(err) && l.ctx.Err() == nil:
		l.c.log.Warn("a lab that nobody uses could not be stopped", "lab", lab.GetSpec().GetName(), "error", err)
	}
}

// idleFinding is a lab about which something is to be done.
type idleFinding struct {
	lab   *controlv1.LabState
	do    idleAction
	last  int64 // wall time of its last use
	stops int64 // wall time from which it is stopped
}

// look finds the labs about which something is to be done, and brings up to date what is known of all.
func (i *idleness) look(v view, now int64) (found []idleFinding) {
	i.mu.Lock()
	defer i.mu.Unlock()
	uses, warned := i.uses, i.warned
	i.uses, i.warned, i.notices, i.bounded = make(map[string]*use), make(map[string]time.Time), make(map[string][]notice), false
	lifetimes := make(map[string]time.Duration)
	for _, lab := range v.labs() {
		id, owner := lab.GetId(), lab.GetOwner()
		if parked(lab) {
			continue
		}
		if _, known := lifetimes[owner]; !known {
			lifetimes[owner] = v.lifetimeOf(owner)
		}
		at := idleLab{lifetime: lifetimes[owner], now: now, known: v.lastUse(lab), seen: -1, stops: lab.GetStopsUnixNs()}
		if u := uses[id]; u != nil {
			if u.open > 0 {
				u.last = time.Now()
			}
			i.uses[id], at.seen = u, time.Since(u.last)
		}
		if at.stops != 0 {
			if i.warned[id] = warned[id]; warned[id].IsZero() {
				i.warned[id] = time.Now()
			}
			at.warned = time.Since(i.warned[id])
			i.notices[owner] = append(i.notices[owner], notice{id, fmt.Sprintf("lab %s: %s", lab.GetSpec().GetName(), idleNotice(v, lab))})
		}
		i.bounded = i.bounded || at.lifetime > 0 || at.stops != 0
		if do, last := at.step(); do != idleNothing {
			grace := int64(at.lifetime / idleGrace)
			found = append(found, idleFinding{lab: lab, do: do, last: last, stops: max(last+int64(at.lifetime), now+grace)})
		}
	}
	i.looked++
	return found
}

// resume lets a lab go on that no worker was given, and waits until it is where it was.
func (c *Controller) resume(ctx context.Context, l *leadership, lab *controlv1.LabState) (*controlv1.LabState, error) {
	_, err := c.propose(ctx, "", &controlv1.Command{Kind: &controlv1.Command_ReleaseLab{
		ReleaseLab: &controlv1.ReleaseLab{LabId: lab.GetId()}}})
	if err != nil {
		return nil, err
	}
	c.log.Info("a lab is given to workers again", "lab", lab.GetSpec().GetName())
	if err := l.await(ctx, lab.GetId()); err != nil {
		return nil, err
	}
	if now := c.store.view().lab(lab.GetId()); now != nil {
		lab = now
	}
	return lab, nil
}

func wallText(unixNs int64) string {
	return time.Unix(0, unixNs).UTC().Format("2006-01-02 15:04:05 UTC")
}

// idleNotice warns of what becomes of a lab; empty: nothing does.
func idleNotice(v view, lab *controlv1.LabState) string {
	if lab.GetStopsUnixNs() == 0 {
		return ""
	}
	return "nobody has used it since " + wallText(v.lastUse(lab)) + "; it is stopped after " + wallText(lab.GetStopsUnixNs()) + " unless somebody does"
}

// stoppedReason says why a lab is stopped, and what to do.
func stoppedReason(v view, lab *controlv1.LabState) string {
	name := lab.GetSpec().GetName()
	return "stopped: nobody had used it since " + wallText(v.lastUse(lab)) + "; it goes on where it was with: labctl resume " + name
}
