package orchestrator

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
)

func shownLabs(at time.Duration, now int64, names ...string) *labsShown {
	s := &labsShown{m: &labv1.WatchLabsResponse{}, firm: &labv1.WatchLabsResponse{}, at: time.Unix(0, 0).Add(at)}
	for _, name := range names {
		s.firm.Labs = append(s.firm.Labs, &labv1.Lab{Name: name})
		s.m.Labs = append(s.m.Labs, &labv1.Lab{Name: name, Progress: &labv1.LabProgress{NowNs: now}})
	}
	return s
}

// What changes is told at once, and how far labs are as often as is asked, or less often where many would hear much.
func TestWhenLabsAreTold(t *testing.T) {
	const every = 500 * time.Millisecond
	long := string(slices.Repeat([]byte("x"), 16<<10)) // told to 10,000 it is ten seconds' worth
	for name, c := range map[string]struct {
		was, now *labsShown
		watchers int
		want     bool
	}{
		"nothing":                {shownLabs(0, 1, "x"), shownLabs(time.Hour, 1, "x"), 1, false},
		"progress too soon":      {shownLabs(0, 1, "x"), shownLabs(every-1, 2, "x"), 1, false},
		"progress":               {shownLabs(0, 1, "x"), shownLabs(every, 2, "x"), 1, true},
		"progress for many":      {shownLabs(0, 1, long), shownLabs(9*time.Second, 2, long), 10_000, false},
		"progress for many, due": {shownLabs(0, 1, long), shownLabs(10*time.Second, 2, long), 10_000, true},
		"a lab more":             {shownLabs(0, 1, long), shownLabs(1, 1, long, "y"), 10_000, true},
		"a lab less":             {shownLabs(0, 1, "x", "y"), shownLabs(1, 1, "x"), 10_000, true},
	} {
		if got := due(c.was, c.now, every, c.watchers); got != c.want {
			t.Errorf("%s: told: %v", name, got)
		}
	}
}

// All who see the same are told the same: what there was when they began, and each change. When they are gone nobody looks
// any more.
func TestManyWatchLabs(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	const watchers = 40
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type message struct {
		to    int
		names []string
	}
	told := make(chan message)
	ends := make(chan error, watchers)
	s.create("a")
	for i := range watchers {
		stream, err := s.watches.WatchLabs(ctx, &labv1.WatchLabsRequest{IntervalMs: 50})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				m, err := stream.Recv()
				if err != nil {
					ends <- err
					return
				}
				var names []string
				for _, lab := range m.GetLabs() {
					names = append(names, lab.GetName())
				}
				select {
				case told <- message{i, names}:
				case <-ctx.Done():
				}
			}
		}()
	}
	all := func(want ...string) {
		t.Helper()
		for heard := map[int]bool{}; len(heard) < watchers; {
			select {
			case got := <-told:
				if slices.Equal(got.names, want) {
					heard[got.to] = true
				}
			case err := <-ends:
				t.Fatal(err)
			}
		}
	}
	all("a")
	s.create("b")
	all("a", "b")
	if _, err := s.labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "r", Lab: "a"}); err != nil {
		t.Fatal(err)
	}
	all("b")
	views := s.control.leading().views
	if callers, _ := views.watched(); len(callers) != 1 {
		t.Errorf("%d views for %d who see the same", len(callers), watchers)
	}
	cancel()
	for range watchers {
		if err := <-ends; status.Code(err) != codes.Canceled {
			t.Errorf("a stream that was left: %v", err)
		}
	}
	eventually(t, "nobody looks any more", func() bool {
		callers, _ := views.watched()
		return len(callers) == 0
	})
}
