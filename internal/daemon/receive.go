package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"labd.dev/orchestrator"
	labv1 "labd.dev/proto/lab/v1"
)

// defaultRequestBytes bounds the messages of calls whose definition says nothing: names and settings.
const defaultRequestBytes = 64 << 10

// slowness is how slowly a call's message may come. The zero value means the defaults.
type slowness struct {
	wait time.Duration // until it begins, and beyond what its length takes
	rate int64         // bytes a second at the least
}

// defaultSlowness: half a minute for a network that stalls, and the 32 kB/s of a poor one.
var defaultSlowness = slowness{wait: 30 * time.Second, rate: 32 << 10}

// within is how long a message of a length may take.
func (s slowness) within(length uint32) time.Duration {
	return s.wait + time.Duration(int64(length)*int64(time.Second)/s.rate)
}

// incoming is the stream beneath a gRPC call, as far as reading goes: gRPC hands it out as a ServerTransportStream.
type incoming interface {
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
}

// receive reads a call's next message. It is told by five bytes how long it is (gRPC over HTTP/2: Length-Prefixed-Message), and
// refuses it by these where it is longer than the method takes, or than its caller may have under way: HTTP/2's window is then
// not widened for it, so that it never comes. io.EOF: there is no further message.
func receive(ctx context.Context, message any) error {
	c, ok := ctx.Value(callKey{}).(*call)
	from, isStream := grpc.ServerTransportStreamFromContext(ctx).(incoming)
	m, isMessage := message.(proto.Message)
	if !ok || !isStream || !isMessage {
		return status.Errorf(codes.Internal, "no message of %T can be read here", message)
	}
	late := c.expect()
	defer late.stop()
	var header [5]byte
	if err := from.ReadMessageHeader(header[:]); err != nil {
		return late.of(err)
	}
	length := binary.BigEndian.Uint32(header[1:])
	if header[0] != 0 {
		return c.refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "labd takes no compressed messages")
	}
	if length > c.method.most {
		return c.refuse(labv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE, "a message of %d bytes is larger than the %d that this call takes", length, c.method.most)
	}
	if err := c.in.hold(c, int64(length)); err != nil {
		return orchestrator.Status(err)
	}
	late.extend(length)
	data, err := from.Read(int(length))
	if err != nil {
		return late.of(err)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	data.Free()
	defer whole.Free()
	if err := proto.Unmarshal(whole.ReadOnlyData(), m); err != nil {
		return c.refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "the call's message cannot be read: %v", err)
	}
	return nil
}

// receiveOnly reads the message of a call that has one.
func receiveOnly(ctx context.Context, message any) error {
	c, _ := ctx.Value(callKey{}).(*call)
	err := receive(ctx, message)
	if errors.Is(err, io.EOF) {
		return c.refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "the call ended before its message")
	}
	if err != nil {
		return err
	}
	late := c.expect()
	defer late.stop()
	var more [1]byte
	switch err := grpc.ServerTransportStreamFromContext(ctx).(incoming).ReadMessageHeader(more[:]); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return late.of(err)
	}
	return c.refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "the call has more than one message")
}

// receiver is a stream whose messages are read here.
type receiver struct {
	grpc.ServerStream
	many bool // it takes more than one
	got  bool // the one that it takes
}

func (r *receiver) RecvMsg(message any) error {
	switch {
	case r.many:
		return receive(r.Context(), message)
	case r.got:
		return io.EOF
	}
	r.got = true
	return receiveOnly(r.Context(), message)
}

// stream is the outermost interceptor of streams.
func (in *intake) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(srv, &receiver{ServerStream: ss, many: info.IsClientStream})
}

// lateness ends a call whose message takes too long.
type lateness struct {
	call  *call
	timer *time.Timer // nil: it may take as long as it likes
	late  atomic.Bool
}

// expect gives a call's next message its time. What is between daemons has none: a stream of reports lasts as long as they do,
// and what has gone is noticed by its connection.
func (c *call) expect() *lateness {
	l := &lateness{call: c}
	if c.method.access.GetPermission() != labv1.Permission_PERMISSION_DAEMON {
		l.timer = time.AfterFunc(c.in.slowest.within(0), func() {
			l.late.Store(true)
			c.end()
		})
	}
	return l
}

func (l *lateness) extend(length uint32) {
	if l.timer != nil && l.timer.Stop() {
		l.timer.Reset(l.call.in.slowest.within(length))
	}
}

func (l *lateness) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

// of is the error of a read that failed.
func (l *lateness) of(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case l.late.Load():
		return l.call.refuse(labv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_SLOW, "the call's message did not come in time")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return l.call.refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "the call ended within a message")
	}
	if s, ok := status.FromError(err); ok {
		return s.Err() // the transport's: the caller has gone
	}
	return status.FromContextError(err).Err()
}

// refuse refuses a call for its message.
func (c *call) refuse(reason labv1.ErrorReason, format string, args ...any) error {
	c.in.note(reasonName(reason))
	return orchestrator.Status(&orchestrator.Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// reasonName is a reason as errors bear it.
func reasonName(r labv1.ErrorReason) string {
	return strings.TrimPrefix(r.String(), "ERROR_REASON_")
}
