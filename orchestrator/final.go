package orchestrator

import (
	"context"
	"strings"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// What a change is answered is final. A call whose answer stays away is made again under its request id, by the client or by the
// server that hands it on, while the first attempt may still be on its way: held back by a network that is cut, it may come
// tens of seconds later. What was carried out, the state machine knows by the request id. What was refused it would not
// know, and the late attempt would do what the caller was told is not done, or to another lab that has got the name
// meanwhile. So where there may be such an attempt, who makes a call says so, and that the request is over is committed before the
// caller is told: it is void for all attempts that come later.

// repeatedHeader says, with the value "true", that attempts have been made before of which nobody knows what became.
const repeatedHeader = "labd-repeated"

// maxRefusalText bounds each text of a refusal that is kept.
const maxRefusalText = 1000

// knownAnswer is whether an attempt has learnt what its request came to, from the log.
type knownAnswer struct{ fromLog atomic.Bool }

type knownAnswerKey struct{}

// learnt notes that a call's answer is what the log says.
func learnt(ctx context.Context) {
	if a, _ := ctx.Value(knownAnswerKey{}).(*knownAnswer); a != nil {
		a.fromLog.Store(true)
	}
}

// final makes an attempt of a call, and sees to it that its answer stands.
func (c *Controller) final(ctx context.Context, req any, attempt grpc.UnaryHandler) (any, error) {
	id := changeID(req)
	if id == "" {
		return attempt(ctx, req)
	}
	key := requestKey(ctx, id)
	if r := c.store.view().request(key, 0).GetRefusal(); r != nil {
		return nil, refusalOf(r)
	}
	a := &knownAnswer{}
	resp, err := attempt(context.WithValue(ctx, knownAnswerKey{}, a), req)
	refusal, over := forGood(ctx, err)
	if !over || a.fromLog.Load() || headerOf(ctx, repeatedHeader) != "true" {
		return resp, err
	}
	res, failed := c.node.propose(&controlv1.Command{RequestId: key, NowUnixNs: c.conf.Now().UnixNano(),
		Kind: &controlv1.Command_VoidRequest{VoidRequest: &controlv1.VoidRequest{Refusal: refusal}}})
	switch {
	case failed != nil:
		return nil, failed
	case res.repeated:
		return attempt(ctx, req) // an earlier attempt has come in between: what it came to is the answer
	}
	return resp, err
}

// changeID is the id of a request that is to change something; empty: it is none.
func changeID(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	if try, ok := req.(interface{ GetDryRun() bool }); ok && try.GetDryRun() {
		return ""
	}
	return fieldText(m.ProtoReflect(), "request_id")
}

// forGood tells whether an attempt's outcome is one that its caller takes for the request's, and how it was refused then; nil: it
// was not.
func forGood(ctx context.Context, err error) (refusal *controlv1.Refusal, over bool) {
	if err == nil {
		return nil, ctx.Err() == nil
	}
	s := status.Convert(toStatus(notTheCaller(ctx, err)))
	reason := labv1.ErrorReason(labv1.ErrorReason_value["ERROR_REASON_"+reasonIn(s.Err())])
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return nil, false
	}
	if reason == labv1.ErrorReason_ERROR_REASON_STORAGE {
		return nil, false // nobody knows what has come of it
	}
	refusal = &controlv1.Refusal{Reason: reason, Code: uint32(s.Code()), Message: cutText(s.Message(), maxRefusalText)}
	for _, d := range s.Details() {
		if q, ok := d.(*errdetails.QuotaFailure); ok && len(q.GetViolations()) > 0 {
			refusal.Subject = cutText(q.GetViolations()[0].GetSubject(), maxRefusalText)
		}
	}
	return refusal, true
}

// cutText is a text's beginning.
func cutText(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// refusalOf is a refusal as it was kept.
func refusalOf(r *controlv1.Refusal) *Refusal {
	return &Refusal{Reason: r.GetReason(), Message: r.GetMessage(), Subject: r.GetSubject(), code: codes.Code(r.GetCode())}
}

// voided says of a request that was over before there was a command of it, what its attempts are told that come later.
func voided(past *controlv1.RequestState) *Refusal {
	if r := past.GetRefusal(); r != nil {
		return refusalOf(r)
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED, "the request was answered before: there was nothing to do")
}

// nothingToDo tells whether a request was answered before with nothing to do.
func (c *Controller) nothingToDo(ctx context.Context, requestID string) bool {
	past := c.store.view().request(requestKey(ctx, requestID), 0)
	if past.GetOutcome().GetKind() != kindVoid || past.GetRefusal() != nil {
		return false
	}
	learnt(ctx)
	return true
}

// asRepeated is a call's context once an attempt of it has been lost.
func asRepeated(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	md = md.Copy()
	md.Set(repeatedHeader, "true")
	return metadata.NewIncomingContext(ctx, md)
}

// kindVoid is the command by which a request is over that has changed nothing.
const kindVoid = "void_request"
