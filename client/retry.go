package client

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// attempts and firstPause bound the repetition of a call: 100 + 200 + 400 ms of waiting in all, so that a labd that is
	// not there is told of soon.
	attempts   = 4
	firstPause = 100 * time.Millisecond
)

// retrying repeats a call that labd could not answer just then, where repeating it is safe: it reads, or it carries a
// request id, by which labd knows it again. Where nobody listens nothing is repeated, unless labd was there before: then
// it restarts, and is waited for.
func (l *link) retrying(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	pause, began := firstPause, time.Now()
	for attempt := 1; ; attempt++ {
		err := invoke(ctx, method, req, reply, conn, opts...)
		if status.Code(err) != codes.Unavailable || !safeToRepeat(method, req) {
			return err
		}
		if l.answered.Load() && broken(err) {
			if time.Since(began) > awayLimit {
				return err
			}
		} else if attempt >= attempts || nobodyListens(err) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// broken tells whether an error is of the way to labd, and not its answer: that has details.
func broken(err error) bool {
	return status.Code(err) == codes.Unavailable && len(status.Convert(err).Details()) == 0
}

// safeToRepeat tells whether a call may be sent twice.
func safeToRepeat(method string, req any) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, reads := range []string{"Get", "List", "Missing"} {
		if strings.HasPrefix(name, reads) {
			return true
		}
	}
	return requestID(req) != ""
}

func requestID(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	fd := m.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if fd == nil || fd.Kind() != protoreflect.StringKind {
		return ""
	}
	return m.ProtoReflect().Get(fd).String()
}
