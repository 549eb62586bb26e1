package orchestrator

import (
	"slices"
	"strings"

	"google.golang.org/grpc"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// auditAtOnce bounds the entries of one message.
const auditAtOnce = 500

type auditService struct {
	labv1.UnimplementedAuditServiceServer
	c *Controller
}

func (s *auditService) ListAudit(req *labv1.ListAuditRequest, out grpc.ServerStreamingServer[labv1.ListAuditResponse]) error {
	if _, err := s.c.leader(out.Context()); err != nil {
		return err
	}
	v := s.c.store.view()
	found := auditFor(v, auth.CallerOf(out.Context()), req)
	if n := int(req.GetNewest()); n > 0 && len(found) > n {
		found = found[len(found)-n:]
	}
	m := &labv1.ListAuditResponse{Forgotten: v.counter(counterForgotten) + v.counter(counterUnnoted)}
	for first := true; first || len(found) > 0; first = false {
		for _, e := range found[:min(len(found), auditAtOnce)] {
			m.Entries = append(m.Entries, entryOf(e))
		}
		found = found[len(m.Entries):]
		if err := out.Send(m); err != nil {
			return err
		}
		m = &labv1.ListAuditResponse{}
	}
	return nil
}

// auditFor lists the entries that are asked for and that a caller may be told, in the order of the log.
func auditFor(v view, caller auth.Caller, req *labv1.ListAuditRequest) []*controlv1.AuditState {
	var found []*controlv1.AuditState
	for _, refused := range []bool{false, true} {
		if req.GetRefused() && !refused {
			continue
		}
		it := auditAfter(v, refused, req.GetAfterIndex())
		for obj := it.Next(); obj != nil; obj = it.Next() {
			e := obj.(*controlv1.AuditState)
			if !refused && e.GetResult() != resultOK {
				break // those that were refused follow
			}
			if asked(req, caller, e) && mayKnow(v, caller, e) {
				found = append(found, e)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *controlv1.AuditState) int {
		if a.GetIndex() != b.GetIndex() {
			if a.GetIndex() < b.GetIndex() {
				return -1
			}
			return 1
		}
		return int(a.GetPart()) - int(b.GetPart())
	})
	return found
}

func asked(req *labv1.ListAuditRequest, caller auth.Caller, e *controlv1.AuditState) bool {
	lab := req.GetLab()
	if lab != "" && caller.Person != "" && !strings.Contains(lab, "/") && e.GetLab() == caller.Person+"/"+lab {
		lab = e.GetLab()
	}
	return (req.GetUser() == "" || e.GetPerson() == req.GetUser()) && (lab == "" || e.GetLab() == lab) &&
		(req.GetSince() == nil || e.GetTimeUnixNs() >= req.GetSince().AsTime().UnixNano()) &&
		(req.GetUntil() == nil || e.GetTimeUnixNs() < req.GetUntil().AsTime().UnixNano())
}

// mayKnow tells whether a caller may be told of an entry.
func mayKnow(v view, caller auth.Caller, e *controlv1.AuditState) bool {
	switch {
	case caller.Role == auth.Admin || e.GetPerson() == caller.Person:
		return true
	case caller.Role == auth.Instructor:
		return e.GetPerson() != "" && v.person(e.GetPerson()).GetRole() == auth.Student
	}
	return false
}

func entryOf(e *controlv1.AuditState) *labv1.AuditEntry {
	return &labv1.AuditEntry{Index: e.GetIndex(), Part: e.GetPart(), At: stampOf(e.GetTimeUnixNs()), User: e.GetPerson(), Token: e.GetTokenId(),
		From: e.GetFrom(), Method: e.GetMethod(), Lab: e.GetLab(), Object: e.GetObject(), Result: e.GetResult(), Detail: e.GetDetail()}
}
