package orchestrator

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

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
	c.noteCall(caller, nil, reasonName(refused.Reason), refused.Message)
}

// noteCall has a call noted that no command says of. req may be nil.
func (c *Controller) noteCall(caller auth.Caller, req any, result, detail string) {
	e := &controlv1.AuditState{TimeUnixNs: c.conf.Now().UnixNano(), Person: caller.Person, TokenId: caller.TokenID, From: caller.From, Method: caller.Method,
		Result: result, Detail: detail}
	e.Lab, e.Object = askedOf(caller, req)
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

// audited is whether a command of a call has left its entry in the audit.
type audited struct{ done atomic.Bool }

type auditedKey struct{}

// hasEntry says that a command of the call has left its entry.
func hasEntry(ctx context.Context) {
	if a, _ := ctx.Value(auditedKey{}).(*audited); a != nil {
		a.done.Store(true)
	}
}

// askedFor is the detail of a call that is noted before it is known what comes of it.
const askedFor = "asked for"

// NoteBegun is the context of a call whose end NoteDone hears of. A call by which this server may cease to lead is noted at once, as
// afterwards it may note nothing.
func (c *Controller) NoteBegun(ctx context.Context, method string, req any) context.Context {
	if method == labv1.ClusterService_TransferLeadership_FullMethodName {
		c.noteCall(auth.CallerOf(ctx), req, resultOK, askedFor)
		c.writeNoted()
	}
	return context.WithValue(ctx, auditedKey{}, &audited{})
}

// NoteDone has a call noted that was not for its caller, one that was carried out without a command of the log, and one that changes
// something and was refused before it came to a command. req may be nil.
func (c *Controller) NoteDone(ctx context.Context, method string, access *labv1.Access, req any, err error) {
	a, _ := ctx.Value(auditedKey{}).(*audited)
	var refused *Refusal
	switch caller := auth.CallerOf(ctx); {
	case errors.As(err, &refused) && (refused.Reason == labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED ||
		access.GetAudited() && !a.done.Load() && !elsewhere[refused.Reason]):
		c.noteCall(caller, req, reasonName(refused.Reason), refused.Message)
	case err == nil && aboutServers[method] && method != labv1.ClusterService_TransferLeadership_FullMethodName:
		c.noteCall(caller, req, resultOK, "")
		c.writeNoted()
	}
}

// elsewhere are the reasons for which clients ask another server, or again: nothing has been decided.
var elsewhere = map[labv1.ErrorReason]bool{
	labv1.ErrorReason_ERROR_REASON_NOT_LEADER: true,
	labv1.ErrorReason_ERROR_REASON_NO_QUORUM:  true,
	labv1.ErrorReason_ERROR_REASON_NOT_READY:  true,
}

// askedFields are the fields of requests that say what a call is about, beside its lab, and what people call it.
var askedFields = []struct{ path, what string }{
	{"user", "user"}, {"person", "user"}, {"member.person", "user"}, {"template", "template"}, {"worker", "worker"}, {"server", "server"}, {"address", "server"},
	{"fault", "fault"}, {"set.link", "link"}, {"run", "run"}, {"sha256", "file"}, {"id", "token"}, {"name", ""}, {"spec.name", "lab"},
}

// askedOf is which lab a call names, as people name it to one another, and what else it is about.
func askedOf(caller auth.Caller, req any) (lab, object string) {
	m, ok := req.(proto.Message)
	if !ok {
		return "", ""
	}
	r := m.ProtoReflect()
	if lab = fieldText(r, "lab"); lab != "" && !strings.Contains(lab, "/") {
		lab = fullName(caller.Person, lab)
	}
	for _, o := range askedFields {
		if text := fieldText(r, o.path); text != "" {
			return lab, strings.TrimSpace(o.what + " " + text)
		}
	}
	return lab, ""
}
