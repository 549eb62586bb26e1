package shards_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"labd.dev/internal/runbook"
	"labd.dev/node/cut"
	"labd.dev/node/exchange"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// cutOff closes all frame connections that a member has been given, as its death does.
func (m *member) cutOff() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, conn := range m.conns {
		conn.Close()
	}
}

// A peer that is lost in the midst of windows breaks the lab in all shards, which say why and of whom; under a new epoch,
// cut anew, it is rebuilt to where it was, and goes on.
func TestPeerLost(t *testing.T) {
	for _, loopback := range []bool{false, true} {
		c := newCluster(t, 3, loopback)
		client, req := c.request(standing(path()))
		if _, err := client.StartLab(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		e := c.give(client, "live", transfer("t1", "client", "server", 4_000_000))
		c.until(client, "live", "some of t1", func(got *workerv1.GetLabResponse) bool { return got.Transfers[0].Bytes > 0 })
		c.members[2].cutOff()
		for i, m := range client {
			got := c.until(m, "live", "that it is broken", func(got *workerv1.GetLabResponse) bool { return got.Broken != "" })
			if !strings.Contains(got.Broken, "the shard at w") || !got.Progress.Ended {
				t.Errorf("shard %d: %q, %v", i, got.Broken, got.Progress)
			}
			runbook.Says(t, "a part of a split lab loses another one", got.Broken)
			held, err := m.ListLabs(t.Context(), &workerv1.ListLabsRequest{})
			if err != nil || held.Labs[0].Broken != got.Broken {
				t.Errorf("%v %v", held, err)
			}
		}
		req.Epoch, req.Journal, req.ReplayToNs = 2, []*labv1.JournalEntry{e}, e.TNs+100*ms
		if _, err := client.StartLab(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if got := c.settled(client, "t1"); !got.Transfers[0].Match || got.Broken != "" {
			t.Errorf("%v", got)
		}
		c.kept(client, client, 2)
	}
}

// The same while nothing happens in the lab and nobody asks for it, on either clock.
func TestPeerLostInAnIdleLab(t *testing.T) {
	for _, clock := range []labv1.Clock{labv1.Clock_CLOCK_REAL, labv1.Clock_CLOCK_VIRTUAL} {
		c := newCluster(t, 3, true)
		spec := path()
		spec.Clock = clock
		client := c.start(standing(spec))
		c.give(client, "live", ping("p1", "client", "server"))
		c.settled(client, "p1")
		c.members[1].cutOff()
		for i, m := range client {
			why, late := "", time.Now().Add(patience)
			for why == "" && time.Now().Before(late) {
				held, err := m.ListLabs(t.Context(), &workerv1.ListLabsRequest{}) // it asks no lab
				if err != nil {
					t.Fatal(err)
				}
				why = held.Labs[0].Broken
			}
			if !strings.Contains(why, "the shard at w") {
				t.Errorf("%v, shard %d: %q", clock, i, why)
			}
		}
	}
}

// A worker that is never told of the lab is named.
func TestPeerThatNeverComes(t *testing.T) {
	c := newCluster(t, 2, true)
	client, req := c.request(standing(path()))
	c.members[1].frames.Close()
	if _, err := client[0].StartLab(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	// It is stopped while it waits: nothing hangs.
	if _, err := client[0].StopLab(t.Context(), &workerv1.StopLabRequest{LabId: "live", Epoch: 1}); err != nil {
		t.Error(err)
	}
}

// A fault of the lab's own ends it everywhere, with its reason, and it is not to be rebuilt.
func TestBudgetEndsAllShards(t *testing.T) {
	c := newCluster(t, 3, true)
	req := busy(0)
	req.Spec.Budget = &labv1.EventBudget{PerLab: 200}
	client := c.start(req)
	got := c.ended(client, "busy")
	if !strings.Contains(got.Progress.Error, "200 events") || got.Broken != "" || !got.Progress.Partial {
		t.Errorf("%q %q", got.Progress.Error, got.Broken)
	}
	for i, m := range client {
		got, err := m.GetLab(t.Context(), &workerv1.GetLabRequest{LabId: "busy"})
		if err != nil || !strings.Contains(got.Progress.Error, "200 events") || got.Broken != "" {
			t.Errorf("shard %d: %v %v", i, got, err)
		}
	}
}

// A change that takes a cut link to no delay is not refused because of the split: the lab says that it must be cut
// elsewhere, and is, from the same journal.
func TestCutThatMoves(t *testing.T) {
	c := newCluster(t, 2, false)
	client, req := c.request(standing(path()))
	if _, err := client.StartLab(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	journal := []*labv1.JournalEntry{c.give(client, "live", transfer("t1", "client", "server", 3_000_000))}
	in := &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Link: "r1--r2", Patch: &labv1.DirectionPatch{DelayNs: proto.Int64(0)}}}}
	journal = append(journal, c.give(client, "live", in))
	got := c.until(client, "live", "that the cut must move", func(got *workerv1.GetLabResponse) bool { return got.Broken != "" })
	runbook.Says(t, "a live change takes all delay from a link that a lab is split at", got.Broken)
	parts, err := cut.Shards(req.Spec, journal, 2)
	if err != nil {
		t.Fatal(err)
	}
	req.Epoch, req.Journal = 2, journal
	for i, p := range parts {
		req.Shards[i].Nodes = p
	}
	if _, err := client.StartLab(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got := c.settled(client, "t1"); !got.Transfers[0].Match {
		t.Errorf("%v", got.Transfers[0])
	}
	c.kept(client, client, 2)
}

// A split at a link without delay is refused, as is one that is no split.
func TestBadShards(t *testing.T) {
	c := newCluster(t, 2, false)
	_, req := c.request(standing(path()))
	for what, change := range map[string]func(*workerv1.StartLabRequest){
		"(no delay)":     func(r *workerv1.StartLabRequest) { r.Spec.Links[1].Forward.DelayNs = 0 },
		"is in no shard": func(r *workerv1.StartLabRequest) { r.Shards[0].Nodes = r.Shards[0].Nodes[1:] },
		"in two shards":  func(r *workerv1.StartLabRequest) { r.Shards[0].Nodes = append(r.Shards[0].Nodes, r.Shards[1].Nodes[0]) },
		"shard 7 of 2":   func(r *workerv1.StartLabRequest) { r.Shard = 7 },
	} {
		bad := proto.Clone(req).(*workerv1.StartLabRequest)
		change(bad)
		_, err := c.members[0].client.StartLab(t.Context(), bad)
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v: no %q", err, what)
		}
	}
}

// What comes to the frames port and is not from a shard of this life of the lab is refused, and disturbs nothing.
func TestStrangersAreRefused(t *testing.T) {
	c := newCluster(t, 2, true)
	req := standing(path())
	req.Epoch = 5
	client := c.start(req)
	hello := exchange.Hello{Lab: "live", Epoch: 4, From: 0, To: 1, Shards: 2}
	for _, s := range []struct {
		why    string
		change func(*exchange.Hello)
	}{
		{"stale epoch: the lab runs under epoch 5, not 4", func(*exchange.Hello) {}},
		{"were not started alike", func(h *exchange.Hello) { h.Epoch = 5 }},
		{"were not started alike", func(h *exchange.Hello) { h.Epoch, h.To = 5, 0 }},
	} {
		h := hello
		s.change(&h)
		conn := c.connect(1)
		err := exchange.Greet(conn, h)
		if _, refused := err.(*exchange.RefusedError); !refused || !strings.Contains(err.Error(), s.why) {
			t.Errorf("%v, want %q", err, s.why)
		} else if h.Epoch != req.Epoch {
			runbook.Says(t, "a part of a split lab was taken for dead", err.Error())
		}
		conn.Close()
	}
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00", "\x36\x00\x02", strings.Repeat("\xff", 100_000)} {
		conn := c.connect(1)
		_, _ = conn.Write([]byte(garbage))
		conn.Close()
	}
	s, err := client.StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "live", Turn: c.turn(), Epoch: 5, Input: transfer("t1", "client", "server", 10_000)})
	if err == nil {
		_, err = client.CommitInput(t.Context(), &workerv1.CommitInputRequest{LabId: "live", Epoch: 5,
			Entry: &labv1.JournalEntry{Index: s.Index, TNs: s.TNs, Input: s.Input}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := c.settled(client, "t1"); !got.Transfers[0].Match {
		t.Errorf("%v", got.Transfers[0])
	}
}

func (c *cluster) connect(i int) net.Conn {
	c.t.Helper()
	conn, err := c.dial(context.WithoutCancel(c.t.Context()), c.address(i))
	if err != nil {
		c.t.Fatal(err)
	}
	return conn
}
