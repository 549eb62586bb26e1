package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// attempts and firstPause bound the repetition of a call: 100 + 200 + 400 ms of waiting in all, so that a labd that is
	// not there is told of soon.
	attempts   = 4
	firstPause = 100 * time.Millisecond
	// tellAfter is how long a call waits silently.
	tellAfter = time.Second
	// tooLong bounds the waiting of a caller who makes too many calls: labd asks for milliseconds at a time.
	tooLong = 2 * time.Second
)

// repeat carries a call out, and again when labd could not answer it just then, where repeating it is safe: it reads, or it
// carries a request id, by which labd knows it again. Another server is asked at once. Where none is left nothing is
// repeated, unless labd was there before: then it restarts, and is waited for, as are an election and a lab
// that moves from a worker that died.
func (l *link) repeat(ctx context.Context, method string, req any, call func(context.Context) error) error {
	first, pause, began, asked, told := ctx, firstPause, time.Now(), 0, false
	for attempt := 1; ; {
		err := call(ctx)
		if told && !passing(err) {
			l.tell("")
			told = false
		}
		if wait := tooMany(err); wait > 0 && time.Since(began)+wait < tooLong {
			if !waited(ctx, wait) {
				return err
			}
			continue
		}
		if status.Code(err) != codes.Unavailable || !safeToRepeat(method, req) || tlsTrouble(status.Convert(err).Message()) != "" {
			return err
		}
		ctx = metadata.AppendToOutgoingContext(first, repeatedHeader, "true")
		if asked++; asked < len(l.servers) && (broken(err) || elsewhere(err)) {
			continue
		}
		asked = 0
		if passing(err) && !told && time.Since(began) > tellAfter {
			l.tell(fmt.Sprintf("%s; waiting up to %v", status.Convert(err).Message(), awayLimit))
			told = true
		}
		if passing(err) || l.answered.Load() && broken(err) {
			if time.Since(began) > awayLimit {
				return err
			}
		} else if attempt++; attempt > attempts || nobodyListens(err) || reasonOf(err) == "NO_QUORUM" {
			return err // a server without a quorum has waited for one already
		}
		if !waited(ctx, pause) {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// repeatedHeader says that a call has been made before, and that nobody knows what became of it: it may still be on its way.
const repeatedHeader = "labd-repeated"

// waited waits; false: the context ended before.
func waited(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tooMany is how long to wait where labd has refused a call, before it began with it, because its caller makes too many; 0: it
// has not.
func tooMany(err error) time.Duration {
	if reasonOf(err) != "TOO_MANY_CALLS" {
		return 0
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return max(info.GetRetryDelay().AsDuration(), firstPause/10)
		}
	}
	return firstPause
}

// elsewhere tells whether another server may well answer what this one could not.
func elsewhere(err error) bool {
	switch reasonOf(err) {
	case "NO_QUORUM", "NOT_LEADER", "NOT_READY":
		return true
	}
	return false
}

// passing tells whether what hinders a call passes by itself within seconds: servers elect another leader, or a lab's worker is gone,
// and when its lease has run out the lab is rebuilt elsewhere.
func passing(err error) bool {
	switch reasonOf(err) {
	case "NOT_LEADER", "WORKER_AWAY", "LAB_STARTING":
		return true
	}
	return false
}

// reasonOf is the reason that an error's status names; empty: none.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// broken tells whether an error is of the way to labd, and not its answer: that has details.
func broken(err error) bool {
	return status.Code(err) == codes.Unavailable && len(status.Convert(err).Details()) == 0
}

// safeToRepeat tells whether a call may be sent twice.
func safeToRepeat(method string, req any) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, reads := range []string{"Get", "List", "Missing", "WhoAmI", "Check"} {
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
