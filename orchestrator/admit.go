package orchestrator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"labd.dev/internal/auth"
	"labd.dev/internal/sight"
	"labd.dev/internal/validate"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Every call of the public API that names a lab or a run comes through here before its handler sees it: what the call's
// definition says that it names (lab.v1.access) is looked up for the caller, and what the definition asks of the caller there
// is asked. A handler has no other way to a lab than what was found here.

// guarded puts services onto a server with this before each of their calls.
type guarded struct {
	to grpc.ServiceRegistrar
	c  *Controller
}

func (g guarded) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d := *desc
	d.Methods, d.Streams = slices.Clone(desc.Methods), slices.Clone(desc.Streams)
	for i, m := range desc.Methods {
		access := auth.AccessOf("/" + desc.ServiceName + "/" + m.MethodName)
		d.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, outer grpc.UnaryServerInterceptor) (any, error) {
			return m.Handler(srv, ctx, decode, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
				admitted := func(ctx context.Context, req any) (any, error) {
					ctx, err := g.c.admit(ctx, access, req)
					if err != nil {
						return nil, err
					}
					g.c.tell(ctx)
					return handle(ctx, req)
				}
				final := func(ctx context.Context, req any) (any, error) { return g.c.final(ctx, req, admitted) }
				if outer == nil {
					return final(ctx, req)
				}
				return outer(ctx, req, info, final)
			})
		}
	}
	for i, m := range desc.Streams {
		access := auth.AccessOf("/" + desc.ServiceName + "/" + m.StreamName)
		d.Streams[i].Handler = func(srv any, ss grpc.ServerStream) error {
			s := &guardedStream{ServerStream: ss, c: g.c, access: access, ctx: ss.Context()}
			err := m.Handler(srv, s)
			if s.leave != nil {
				s.leave()
			}
			var lost *Refusal
			if errors.As(context.Cause(s.ctx), &lost) {
				return lost
			}
			return err
		}
	}
	g.to.RegisterService(&d, impl)
}

// guardedStream is a stream whose first message says what it is about. It goes on only as long as the caller may have that: a
// lab may be deleted or taken back while somebody watches, also one who is told nothing at the moment.
type guardedStream struct {
	grpc.ServerStream
	c      *Controller
	access *labv1.Access
	ctx    context.Context
	asked  bool
	leave  func() // says that nobody looks any more; nil: nobody has
}

func (s *guardedStream) Context() context.Context { return s.ctx }

func (s *guardedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err != nil || s.asked || !names(s.access) {
		return err
	}
	s.asked = true
	ctx, err := s.c.admit(s.ctx, s.access, m)
	if err != nil {
		return err
	}
	if g, _ := ctx.Value(grantKey{}).(*grant); g != nil && g.lab != nil {
		var lose context.CancelCauseFunc
		ctx, lose = context.WithCancelCause(ctx)
		go g.watch(ctx, s.c.store, lose) // ends with the stream
		if l := s.c.leading(); l != nil {
			l.idle.used(g.lab, g.caller, +1)
			s.leave = func() { l.idle.used(g.lab, g.caller, -1) }
		}
	}
	s.ctx = ctx
	return nil
}

// watch loses a stream's context once the caller may no longer have the lab: it changes when it is taken back, and who teaches has
// it by a role, and by a template that may be withdrawn.
func (g *grant) watch(ctx context.Context, store *Store, lose context.CancelCauseFunc) {
	for {
		lab, changed := store.watch(tableLabs, g.lab.GetId())
		if g.caller.Identified() {
			_, role := store.watch(tablePeople, g.caller.Person)
			_, template := store.watch(tableTemplates, store.view().instanceOf(g.lab.GetId()).GetTemplate())
			for _, also := range []memdb.WatchSet{role, template} {
				for ch := range also {
					changed.Add(ch)
				}
			}
		}
		if err := g.still(store.view()); err != nil {
			lose(err)
			return
		}
		if lab == nil || changed.WatchCtx(ctx) != nil {
			return
		}
	}
}

func (s *guardedStream) SendMsg(m any) error {
	if g, _ := s.ctx.Value(grantKey{}).(*grant); g != nil {
		if err := g.still(s.c.store.view()); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(m)
}

// names tells whether calls name a lab or a run.
func names(a *labv1.Access) bool { return a.GetLab() != "" || a.GetRun() != "" }

// grant is the lab or the run that a call names, and what the caller may do there.
type grant struct {
	caller auth.Caller
	access *labv1.Access
	name   string // as the call names it
	lab    *controlv1.LabState
	run    *controlv1.RunState
	place  *sight.Place
	// gone is why there is nothing, where the call has been carried out before and is only repeated.
	gone error
}

type grantKey struct{}

// grantOf is what a call was granted; an error: it names nothing, or what it named is gone.
func grantOf(ctx context.Context) (*grant, error) {
	g, _ := ctx.Value(grantKey{}).(*grant)
	if g == nil {
		return nil, notAllowed("the call names no lab and no run")
	}
	return g, g.gone
}

// verified is a leadership that was found to hold since the call of a context began. Its handler need not ask again, but
// for once: one that looks again later must.
type verified struct{ lead atomic.Pointer[leadership] }

type verifiedKey struct{}

// verifiedFor is the leadership that admit has found for a call; nil: there is none, or it was given already.
func (c *Controller) verifiedFor(ctx context.Context) *leadership {
	v, _ := ctx.Value(verifiedKey{}).(*verified)
	if v == nil {
		return nil
	}
	if l := v.lead.Swap(nil); l != nil && c.leading() == l {
		return l
	}
	return nil
}

// admit finds what a call names, and asks of the caller what the call's definition says.
func (c *Controller) admit(ctx context.Context, access *labv1.Access, req any) (context.Context, error) {
	caller := auth.CallerOf(ctx)
	if caller.Role == labv1.Role_ROLE_UNSPECIFIED && access.GetPermission() != labv1.Permission_PERMISSION_ANYONE {
		return nil, notAllowed("nobody has said who calls")
	}
	if !names(access) {
		return ctx, nil
	}
	l, err := c.leader(ctx)
	if err != nil {
		return nil, err
	}
	found := &verified{}
	found.lead.Store(l)
	ctx = context.WithValue(ctx, verifiedKey{}, found)
	return c.grant(ctx, c.store.view(), caller, access, req.(proto.Message).ProtoReflect())
}

// grant looks in a state for what a call names.
func (c *Controller) grant(ctx context.Context, v view, caller auth.Caller, access *labv1.Access, req protoreflect.Message) (context.Context, error) {
	g := &grant{caller: caller, access: access}
	if run := fieldText(req, access.GetRun()); run != "" || access.GetLab() == "" {
		g.name = run
		g.run, g.place, g.gone = v.runFor(caller, run)
	} else {
		g.name = fieldText(req, access.GetLab())
		g.lab, g.place, g.gone = v.labFor(caller, g.name)
	}
	switch {
	case g.gone != nil && v.request(requestKey(ctx, fieldText(req, "request_id")), 0) != nil:
		// It was there when the request was carried out, whose outcome the caller may hear again.
	case g.gone != nil:
		return nil, g.gone
	default:
		if err := g.asks(v, req); err != nil {
			return nil, err
		}
	}
	if l := c.leading(); l != nil && g.lab != nil {
		l.idle.used(g.lab, caller, 0)
	}
	return context.WithValue(ctx, grantKey{}, g), nil
}

// noticeHeader tells a caller, with an answer, what becomes of labs of theirs.
const noticeHeader = "labd-notice"

// tell tells a caller what becomes of labs of theirs that nobody uses.
func (c *Controller) tell(ctx context.Context) {
	l, person := c.leading(), auth.CallerOf(ctx).Person
	if l == nil || person == "" {
		return
	}
	about := ""
	if g, _ := ctx.Value(grantKey{}).(*grant); g != nil {
		about = g.lab.GetId()
	}
	if texts := l.idle.noticesFor(person, about); len(texts) > 0 {
		_ = grpc.SetHeader(ctx, metadata.MD{noticeHeader: texts}) // it can only fail where the answer has begun
	}
}

// still refuses what the caller may no longer have: the lab has been taken back since. One that was deleted ends by itself.
func (g *grant) still(v view) error {
	if g.lab == nil {
		return nil
	}
	if now := v.lab(g.lab.GetId()); now != nil && (now != g.lab || teaches(g.caller)) && v.placeIn(g.callerNow(v), now) == nil {
		return g.isGone()
	}
	return nil
}

// callerNow is the caller in the role that the person has now.
func (g *grant) callerNow(v view) auth.Caller {
	now := g.caller
	if now.Identified() {
		now.Role = v.person(now.Person).GetRole()
	}
	return now
}

// again is the grant as things stand now.
func (g *grant) again(v view) (*grant, error) {
	now := *g
	now.lab = v.lab(g.lab.GetId())
	if now.place = v.placeIn(g.callerNow(v), now.lab); now.place == nil {
		return nil, g.isGone()
	}
	return &now, nil
}

// isGone says that what was granted is there no more, or no more for the caller.
func (g *grant) isGone() error {
	return refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "lab %q is gone", g.lab.GetSpec().GetName())
}

// asks asks of the caller what the call's definition says.
func (g *grant) asks(v view, req protoreflect.Message) error {
	switch g.access.GetPermission() {
	case labv1.Permission_PERMISSION_OWNER:
		if !g.place.Owns() {
			return notAllowed("lab %q is not yours: this is for its owners", g.name)
		}
	case labv1.Permission_PERMISSION_OPERATOR:
		return g.asksOperator(v, req)
	case labv1.Permission_PERMISSION_VIEWER:
		return g.asksViewer(req, g.access.GetNodes(), g.access.GetLinks())
	}
	return nil
}

// asksViewer refuses names of nodes and links that are not in view as if there were none.
func (g *grant) asksViewer(req protoreflect.Message, nodes, links []string) error {
	if g.lab == nil || g.place.SeesAll() {
		return nil // the handler looks at what is not there at all
	}
	for _, path := range nodes {
		if node := nodeName(fieldText(req, path)); node != "" && !g.place.Views(node) {
			return noNode(g.spec(), node)
		}
	}
	for _, path := range links {
		if link := fieldText(req, path); link != "" && !g.place.ViewsLinkNamed(presentSpec(g.lab), link) {
			return g.noLink(link)
		}
	}
	return nil
}

// asksOperator asks for OPERATOR on all nodes and links that a call names; where it names none, on the whole lab.
func (g *grant) asksOperator(v view, req protoreflect.Message) error {
	if g.place.OperatesAll() {
		return nil
	}
	access := g.access
	if err := g.asksViewer(req, append(slices.Clone(access.GetNodes()), access.GetViewed()...), access.GetLinks()); err != nil {
		return err
	}
	named := false
	for _, path := range access.GetNodes() {
		if node := fieldText(req, path); node != "" {
			if named = true; !g.place.Operates(node) {
				return notAllowed("node %q is not yours to act on", node)
			}
		}
	}
	for _, path := range access.GetLinks() {
		if link := fieldText(req, path); link != "" {
			if named = true; !g.place.OperatesLinkNamed(presentSpec(g.lab), link) {
				return notAllowed("link %q is not yours to act on: you may change what nodes of yours send, as with --on 'NODE->NODE'", link)
			}
		}
	}
	if id := fieldText(req, access.GetFault()); id != "" {
		named = true
		if err := g.asksFault(v, id); err != nil {
			return err
		}
	}
	if !named {
		return notAllowed("this is for who may act on all nodes of lab %q", g.name)
	}
	return nil
}

// asksFault asks for OPERATOR on what a fault is on.
func (g *grant) asksFault(v view, id string) error {
	fault, spec := v.faultsOf(g.lab.GetId())(id), presentSpec(g.lab)
	switch {
	case !g.place.ViewsFault(spec, fault):
		return noFault(g.lab.GetSpec().GetName(), id)
	case !g.place.OperatesFault(spec, fault):
		return notAllowed("fault %q is not yours to clear", id)
	}
	return nil
}

// spec is the lab as the caller sees it.
func (g *grant) spec() *labv1.LabSpec { return g.place.Spec(presentSpec(g.lab)) }

// called is what the caller calls a lab; one that is gone is called as the call does.
func (g *grant) called(lab *controlv1.LabState) string {
	if lab == nil {
		return g.name
	}
	return calledBy(g.caller, lab.GetOwner(), lab.GetSpec().GetName())
}

// noLink says that a lab, as the caller sees it, has no such link.
func (g *grant) noLink(name string) error {
	return noLink(g.lab.GetSpec().GetName(), name, validate.LinkNames(g.spec()))
}

// seesReceiver tells whether the caller may view the node that receives a transfer's content: what arrives there is its own.
func (g *grant) seesReceiver(v view, t *labv1.TransferStatus) bool {
	receiver := t.GetTo()
	v.eachInput(g.lab.GetId(), 0, func(in *controlv1.InputState) bool {
		get := in.GetEntry().GetInput().GetHttpGet()
		if get.GetId() == t.GetId() {
			receiver = get.GetFrom()
		}
		return get.GetId() != t.GetId()
	})
	return g.place.Views(receiver)
}

// fieldText is the text of a request's field; a path into a message that is not there leads to none.
func fieldText(m protoreflect.Message, path string) string {
	for path != "" {
		name, rest, deeper := strings.Cut(path, ".")
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case fd == nil || !m.Has(fd):
			return ""
		case !deeper && fd.Kind() == protoreflect.StringKind && !fd.IsList():
			return m.Get(fd).String()
		case !deeper || fd.Message() == nil || fd.IsList() || fd.IsMap():
			return ""
		}
		m, path = m.Get(fd).Message(), rest
	}
	return ""
}

func notAllowed(format string, args ...any) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, format, args...)
}
