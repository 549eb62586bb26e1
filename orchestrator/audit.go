package orchestrator

import (
	"context"
	"errors"
	"sync"
	"time"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// What is refused before it comes to be a command, and what is carried out without one, is noted in the audit by the leader:
// in one command for all of an interval, of which alike ones are one entry, and only so many.
const (
	noteEvery = time.Second
	// notedAtOnce bounds the entries of an interval, and with it what a flood of refused calls costs.
	notedAtOnce = 20
)

// refusals are those of the interval that runs.
type refusals struct {
	mu      sync.Mutex // guards what is below
	entries []*controlv1.AuditState
	unnoted uint64
}

// NoteRefusal has a call noted that was refused before anybody carried it out. That no token came at all is not: that is what
// every browser and scanner does.
func (c *Controller) NoteRefusal(caller auth.Caller, err error) {
	var refused *Refusal
	if !errors.As(err, &refused) || refused.Reason == labv1.ErrorReason_ERROR_REASON_TOKEN_MISSING {
		return
	}
	c.noteCall(caller, "", reasonName(refused.Reason), refused.Message)
}

// noteCall has a call noted that no command says of.
func (c *Controller) noteCall(caller auth.Caller, object, result, detail string) {
	e := &controlv1.AuditState{TimeUnixNs: c.conf.Now().UnixNano(), Person: caller.Person, TokenId: caller.TokenID, From: caller.From, Method: caller.Method,
		Object: object, Result: result, Detail: detail}
	r := &c.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.entries {
		if other.GetPerson() == e.GetPerson() && other.GetFrom() == e.GetFrom() && other.GetMethod() == e.GetMethod() && other.GetResult() == e.GetResult() &&
			result != resultOK {
			r.unnoted++
			return
		}
	}
	if len(r.entries) >= notedAtOnce && result != resultOK {
		r.unnoted++
		return
	}
	r.entries = append(r.entries, e)
}

// take takes what was noted since it was taken last; nil: nothing was.
func (r *refusals) take() *controlv1.AppendAudit {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) == 0 && r.unnoted == 0 {
		return nil
	}
	noted := &controlv1.AppendAudit{Entries: r.entries, Unnoted: r.unnoted}
	r.entries, r.unnoted = nil, 0
	return noted
}

// noteRefusals writes into the log what was noted, now and then.
func (l *leadership) noteRefusals() {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
		l.c.writeNoted()
	}
}

func (c *Controller) writeNoted() {
	noted := c.refusals.take()
	if noted == nil {
		return
	}
	if _, err := c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_AppendAudit{AppendAudit: noted}}); err != nil {
		c.log.Warn("what was refused could not be noted in the audit", "entries", len(noted.GetEntries()), "error", err)
	}
}

// aboutServers are the calls that change, or tell, more than the state, and are no commands of the log.
var aboutServers = map[string]bool{
	labv1.ClusterService_AddMember_FullMethodName:          true,
	labv1.ClusterService_RemoveMember_FullMethodName:       true,
	labv1.ClusterService_TransferLeadership_FullMethodName: true,
	labv1.ClusterService_ReadSnapshot_FullMethodName:       true,
	labv1.ClusterService_RestoreSnapshot_FullMethodName:    true,
	labv1.ClockService_ControlClock_FullMethodName:         true,
}

// NoteBegun has a call noted by which this server may cease to lead.
func (c *Controller) NoteBegun(ctx context.Context, method string, req any) {
	if method == labv1.ClusterService_TransferLeadership_FullMethodName {
		c.noteCall(auth.CallerOf(ctx), objectAsked(req), resultOK, "")
		c.writeNoted()
	}
}

// NoteDone has a call noted that was carried out without a command of the log, or was not for its caller. req may be nil.
func (c *Controller) NoteDone(ctx context.Context, method string, req any, err error) {
	var refused *Refusal
	switch caller := auth.CallerOf(ctx); {
	case errors.As(err, &refused) && refused.Reason == labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED:
		c.NoteRefusal(caller, err)
	case err == nil && aboutServers[method] && method != labv1.ClusterService_TransferLeadership_FullMethodName:
		c.noteCall(caller, objectAsked(req), resultOK, "")
		c.writeNoted()
	}
}

// objectAsked is what such a call is about.
func objectAsked(req any) string {
	switch r := req.(type) {
	case *labv1.AddMemberRequest:
		return "server " + r.GetAddress()
	case *labv1.RemoveMemberRequest:
		return "server " + r.GetServer()
	case *labv1.TransferLeadershipRequest:
		return "server " + r.GetServer()
	case *labv1.ControlClockRequest:
		return "clock of lab " + r.GetLab()
	}
	return ""
}
