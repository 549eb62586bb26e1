package orchestrator

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	labv1 "labd.dev/proto/lab/v1"
)

// A server that does not lead hands calls of the public API to the one that does, as they are. A call is handed on once:
// whoever gets it and does not lead says so.

const (
	// forwardedHeader says which server has handed a call on.
	forwardedHeader = "labd-forwarded-by"
	// callerHeader says from which address a call has come that is handed on.
	callerHeader = "labd-caller-address"
	// leaderHeader tells the caller of a call that was handed on who leads, so that it asks there next.
	leaderHeader = "labd-leader"
	// publicPackage is of the services whose calls are handed on.
	publicPackage = "/lab.v1."
)

// answeredHere lists the public calls that every server answers for itself.
var answeredHere = map[string]bool{
	labv1.ClusterService_GetHealth_FullMethodName: true,
}

func forwardedBy(ctx context.Context) string { return headerOf(ctx, forwardedHeader) }

// CallerAddress is where a call was made that another server has handed on; empty: this one was called. Only what a server
// says may be taken for true.
func CallerAddress(ctx context.Context) string {
	if forwardedBy(ctx) == "" {
		return ""
	}
	return headerOf(ctx, callerHeader)
}

func headerOf(ctx context.Context, header string) string {
	if values := metadata.ValueFromIncomingContext(ctx, header); len(values) > 0 {
		return values[0]
	}
	return ""
}

// PeerHost is the address, without a port, of whom a call has come from; empty: from this process.
func PeerHost(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	at, ok := p.Addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	return at.IP.String()
}

// markForwarded is a call's context for handing it on: what the caller said of itself goes along.
func (c *Controller) markForwarded(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{}
	for key, values := range md {
		if !strings.HasPrefix(key, ":") && !strings.HasPrefix(key, "grpc-") && key != "content-type" && key != "user-agent" {
			out[key] = values
		}
	}
	out.Set(forwardedHeader, c.ServerID())
	delete(out, callerHeader)
	if from := PeerHost(ctx); from != "" {
		out.Set(callerHeader, from)
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// ForwardUnary hands unary calls to the leader. It is an interceptor within StatusUnary; who calls is found out within it, at
// the server that answers.
func (c *Controller) ForwardUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if !c.forwards(info.FullMethod) {
		return handle(ctx, req)
	}
	if wantsStale(ctx) {
		return handle(ctx, req) // to StaleUnary
	}
	var resp proto.Message
	here, err := c.atLeader(ctx, repeatable(info.FullMethod, req), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		_, out, err := messagesOf(info.FullMethod)
		if err != nil {
			return err
		}
		resp = out.New().Interface()
		var header metadata.MD
		err = conn.Invoke(c.markForwarded(ctx), info.FullMethod, req, resp, grpc.Header(&header))
		if texts := header.Get(noticeHeader); len(texts) > 0 {
			_ = grpc.SetHeader(ctx, metadata.MD{noticeHeader: texts}) // it can only fail where the answer has begun
		}
		return err
	})
	if here != nil {
		return handle(here, req)
	}
	return resp, err
}

// ForwardStream hands streams to the leader. It is an interceptor within StatusStream.
func (c *Controller) ForwardStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if !c.forwards(info.FullMethod) {
		return handle(srv, ss)
	}
	ctx := ss.Context()
	if wantsStale(ctx) {
		return staleRefused(info.FullMethod)
	}
	here, err := c.atLeader(ctx, false, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		err := c.relayStream(ctx, conn, ss, info)
		if turnedAway(err) {
			return notLeading() // what the caller has sent is taken: only the caller can send it again
		}
		return err
	})
	if here != nil {
		return handle(srv, ss)
	}
	return err
}

func (c *Controller) forwards(method string) bool {
	return c.conf.Cluster != nil && strings.HasPrefix(method, publicPackage) && !answeredHere[method]
}

// atLeader has call carried out at the leader's; here is the call's context if this server leads. While there is no leader it waits for
// one, for as long as a failover takes. A call that was turned away because the leader was one no more is tried again:
// nothing has come of it; and one that was lost with the leader, where it may be carried out twice: whoever gets it next is told.
func (c *Controller) atLeader(ctx context.Context, again bool, call func(context.Context, grpc.ClientConnInterface) error) (here context.Context, err error) {
	wait, cancel := context.WithTimeout(ctx, c.conf.Cluster.Timing.LeaderWait)
	defer cancel()
	for {
		changed := c.node.leaders.changed()
		id, address := c.Leader()
		switch {
		case id == c.ServerID() || c.node.raft.State() == raft.Leader:
			return ctx, nil
		case forwardedBy(ctx) != "":
			return nil, notLeading()
		case id != "":
			conn, err := c.conf.Cluster.Connect(address)
			if err != nil {
				return nil, err
			}
			if err = c.callLeader(ctx, id, address, conn, call); !turnedAway(err) && !(again && isRefusal(err)) {
				if forwardedBy(ctx) == "" && !isRefusal(err) {
					// It can only fail where the answer has begun, which is when the caller knows already.
					_ = grpc.SetHeader(ctx, metadata.Pairs(leaderHeader, address))
				}
				return nil, err
			}
			if !turnedAway(err) {
				ctx = asRepeated(ctx)
			}
			pause(wait, turnedAwayPause)
		default:
			select {
			case <-changed:
			case <-wait.Done():
			case <-c.node.fsm.halted:
				return nil, storageError(c.node.fsm.cause)
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if wait.Err() != nil {
			if isRefusal(err) {
				return nil, err
			}
			return nil, c.noLeader(ctx)
		}
	}
}

// lastWord is for how long an answer is still waited for of a server that leads no more: it may be on its way.
const lastWord = time.Second

// callLeader makes a call at the server that leads, for as long as this one takes it for the leader: one that has gone without a
// word would never answer.
func (c *Controller) callLeader(ctx context.Context, id, address string, conn grpc.ClientConnInterface, call func(context.Context, grpc.ClientConnInterface) error) error {
	during, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			changed := c.node.leaders.changed()
			if now, _ := c.Leader(); now != id {
				pause(during, lastWord)
				cancel()
			}
			select {
			case <-changed:
			case <-during.Done():
				return
			}
		}
	}()
	err := lostLeader(address, call(during, conn))
	if status.Code(err) == codes.Canceled && during.Err() != nil && ctx.Err() == nil {
		return refuse(labv1.ErrorReason_ERROR_REASON_NOT_LEADER, "the server at %s has ceased to lead", address)
	}
	return err
}

// repeatable tells whether a call may be carried out twice: it reads, or the state machine knows it by its request id.
func repeatable(method string, req any) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, reads := range []string{"Get", "List", "Missing", "WhoAmI"} {
		if strings.HasPrefix(name, reads) {
			return true
		}
	}
	m, ok := req.(proto.Message)
	return ok && m.ProtoReflect().Descriptor().Fields().ByName("request_id") != nil
}

func isRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

// turnedAwayPause is the wait before a call is tried again that the supposed leader has turned away.
const turnedAwayPause = retryDelay / 4

// turnedAway tells whether a server has refused a call because it does not lead.
func turnedAway(err error) bool {
	return status.Code(err) == codes.Unavailable && reasonIn(err) == reasonName(labv1.ErrorReason_ERROR_REASON_NOT_LEADER)
}

// lostLeader turns the end of the connection to the leader into a refusal: what came of the call is not known.
func lostLeader(address string, err error) error {
	if status.Code(err) == codes.Unavailable && reasonIn(err) == "" {
		return refuse(labv1.ErrorReason_ERROR_REASON_NOT_LEADER, "the leader at %s does not answer: %s", address, messageOf(err))
	}
	return err
}

// messagesOf gives the types of a method's messages.
func messagesOf(method string) (in, out protoreflect.MessageType, err error) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, nil, err
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok || s.Methods().ByName(protoreflect.Name(name)) == nil {
		return nil, nil, errors.New("there is no method " + method)
	}
	m := s.Methods().ByName(protoreflect.Name(name))
	if in, err = protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName()); err != nil {
		return nil, nil, err
	}
	out, err = protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	return in, out, err
}

// relayStream hands a stream's messages on in both directions, one at a time, so that nothing heaps up here.
func (c *Controller) relayStream(ctx context.Context, conn grpc.ClientConnInterface, ss grpc.ServerStream, info *grpc.StreamServerInfo) error {
	in, out, err := messagesOf(info.FullMethod)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.markForwarded(ctx))
	defer cancel()
	cs, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: info.IsServerStream, ClientStreams: info.IsClientStream}, info.FullMethod)
	if err != nil {
		return err
	}
	go func() {
		// Ends with the caller's stream, which ends when this one's handler returns.
		if err := relayRequests(ss, cs, in); err != nil {
			cancel()
		}
	}()
	for {
		m := out.New().Interface()
		if err := cs.RecvMsg(m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := ss.SendMsg(m); err != nil {
			return err
		}
	}
}

func relayRequests(ss grpc.ServerStream, cs grpc.ClientStream, in protoreflect.MessageType) error {
	for {
		m := in.New().Interface()
		if err := ss.RecvMsg(m); errors.Is(err, io.EOF) {
			return cs.CloseSend()
		} else if err != nil {
			return err
		}
		if err := cs.SendMsg(m); errors.Is(err, io.EOF) {
			return nil // the answer says why it has ended
		} else if err != nil {
			return err
		}
	}
}
