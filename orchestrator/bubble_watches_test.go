package orchestrator

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// Watches that clients keep, at any server, each begun anew somewhere else when it breaks or after a while.

// watching begins a watch again and again until ctx ends, and takes what it tells. It gives why the last one broke.
func watching[M any](ctx context.Context, k *clients, rng *rand.Rand, begin func(context.Context, *grpc.ClientConn) (grpc.ServerStreamingClient[M], error),
	told func(*M), broken func(error)) {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, time.Duration(2+rng.IntN(8))*time.Second)
		stream, err := begin(once, k.conns[rng.IntN(len(k.conns))])
		for err == nil {
			var m *M
			if m, err = stream.Recv(); err == nil {
				told(m)
			}
		}
		cancel()
		broken(err)
		pause(ctx, 100*time.Millisecond)
	}
}

// recordWatch is a watch of the steady lab's records.
type recordWatch struct {
	position *labv1.RecordPosition
	told     []byte
	tags     []string // the messages, of a worker that is a model
	anew     int      // so often it had to begin from the first record
}

func (w *recordWatch) follow(ctx context.Context, k *clients, rng *rand.Rand) {
	watching(ctx, k, rng, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[labv1.WatchRecordsResponse], error) {
		return labv1.NewTraceServiceClient(conn).WatchRecords(ctx, &labv1.WatchRecordsRequest{Lab: steady, After: w.position})
	}, func(m *labv1.WatchRecordsResponse) {
		w.told, w.tags, w.position = append(w.told, m.GetRecords()...), append(w.tags, string(m.GetRecords())), m.GetPosition()
	}, func(err error) {
		if reasonIn(err) == "TOO_OLD" {
			*w = recordWatch{anew: w.anew + 1}
		}
	})
}

// check complains unless the watch was told each record once, in order: those of the trace up to where the watch got.
func (w *recordWatch) check(c *bubble, journal string, trace []byte) {
	switch {
	case !c.real && strings.Join(w.tags, " ") != journal:
		c.complain("a watch was told of [%s], the journal has [%s]", strings.Join(w.tags, " "), journal)
	case c.real && !bytes.HasPrefix(trace, w.told):
		at := 0
		for at < len(trace) && at < len(w.told) && trace[at] == w.told[at] {
			at++
		}
		c.complain("a watch was told of %d records, the trace has %d, and they differ from record %d on", len(w.told)/recordBytes, len(trace)/recordBytes, at/recordBytes)
	case c.real && len(trace)-len(w.told) > watchLags*recordBytes:
		c.complain("a watch was told of %d records, and the trace has %d", len(w.told)/recordBytes, len(trace)/recordBytes)
	}
}

const (
	// recordBytes is a record's length.
	recordBytes = 64
	// watchLags is of how many records a watch of a lab in real time need not know yet: those of a tenth of a second.
	watchLags = 100
)

// changeWatch is a watch of all that changes in the servers' state.
type changeWatch struct {
	from    uint64 // the log entry of the state that it began with
	upTo    uint64
	changes []*labv1.Change
	first   []*labv1.Change // the state that it began with
	anew    int
}

func (w *changeWatch) follow(ctx context.Context, k *clients, rng *rand.Rand) {
	watching(ctx, k, rng, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[labv1.WatchChangesResponse], error) {
		after := w.upTo
		if k.c.how == watchSkips && after > 0 {
			after++
		}
		return labv1.NewWatchServiceClient(conn).WatchChanges(ctx, &labv1.WatchChangesRequest{AfterIndex: after})
	}, func(m *labv1.WatchChangesResponse) {
		if m.GetSnapshot() {
			w.from, w.first, w.changes = m.GetIndex(), m.GetChanges(), nil
		} else {
			w.changes = append(w.changes, m.GetChanges()...)
		}
		w.upTo = m.GetIndex()
	}, func(err error) {
		if reasonIn(err) == "TOO_OLD" {
			*w = changeWatch{anew: w.anew + 1}
		}
	})
}

// check complains unless the watch was told each change behind the state that it began with once, in order, and none was left out.
func (w *changeWatch) check(c *bubble, h *logHistory) {
	var want []*labv1.Change
	for _, change := range h.changes {
		if change.GetIndex() > w.from && change.GetIndex() <= w.upTo {
			want = append(want, change)
		}
	}
	if !slices.EqualFunc(w.changes, want, func(a, b *labv1.Change) bool { return proto.Equal(a, b) }) {
		c.complain("a watch from %d to %d was told of changes\n%v\nand there were\n%v", w.from, w.upTo, w.changes, want)
	}
	if n := len(h.changes); n > 0 && w.upTo < h.changes[n-1].GetIndex() {
		c.complain("a watch was told of changes up to %d, the last one is %v", w.upTo, h.changes[n-1])
	}
	if first := h.stateAt(w.from); w.from > 0 && !slices.EqualFunc(w.first, first, func(a, b *labv1.Change) bool { return proto.Equal(a, b) }) {
		c.complain("a watch from %d on began with\n%v\nand the state was\n%v", w.from, w.first, first)
	}
}

// followLabs watches the list of labs. Each message is a read of every lab's name, made at some time since the watch began: it may
// have been held up on its way.
func (k *clients) followLabs(ctx context.Context, id int, rng *rand.Rand) {
	var began time.Time
	watching(ctx, k, rng, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[labv1.WatchLabsResponse], error) {
		began = time.Now()
		return labv1.NewWatchServiceClient(conn).WatchLabs(ctx, &labv1.WatchLabsRequest{IntervalMs: 1000})
	}, func(m *labv1.WatchLabsResponse) {
		for _, name := range []string{steady, "x", "y"} {
			a := answer{fails: "LAB_NOT_FOUND"}
			for _, lab := range m.GetLabs() {
				if lab.GetName() == name {
					a = answer{seed: int64(lab.GetSpec().GetSeed()), delay: delayOf(lab.GetSpec())}
				}
			}
			k.note(id, call{deed: deedGet, lab: name}, a, began)
		}
	}, func(error) {})
}
