package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"labd.dev/client"
	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

const (
	teamSize   = 10 // of each of two teams: a class's arena
	teamRounds = 3  // commands of each kind that everybody gives
)

// arenaSpec is two teams of hosts, a0... and b0..., each behind a router of its own, and one bottleneck between the two.
func arenaSpec() *labv1.LabSpec {
	spec := &labv1.LabSpec{Name: "arena", Seed: 5, Clock: labv1.Clock_CLOCK_VIRTUAL, Nodes: []*labv1.NodeSpec{
		{Name: "ra", Kind: labv1.NodeKind_NODE_KIND_ROUTER}, {Name: "rb", Kind: labv1.NodeKind_NODE_KIND_ROUTER}}}
	join := func(a string, ai int, b string, bi int, d *labv1.DirectionSpec) {
		spec.Links = append(spec.Links, &labv1.LinkSpec{A: &labv1.Endpoint{Node: a, Interface: fmt.Sprint("eth", ai)},
			B: &labv1.Endpoint{Node: b, Interface: fmt.Sprint("eth", bi)}, Forward: d, Reverse: d})
	}
	join("ra", 0, "rb", 0, &labv1.DirectionSpec{DelayNs: 5e6, RateBps: 10e6})
	for i := range teamSize {
		for _, team := range []string{"a", "b"} {
			name := fmt.Sprint(team, i)
			spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: name})
			join(name, 0, "r"+team, i+1, &labv1.DirectionSpec{DelayNs: 1e6})
		}
	}
	return spec
}

// arena is a shared lab with the people in it.
type arena struct {
	*school
	teacher *client.Client
	people  map[string]*client.Client // by name: "red0" plays a0, "blue0" b0

	mu     sync.Mutex        // guards gave
	gave   map[uint64]string // who was told to have given the input with this index
	addrs  map[string]string // of hosts
	errors []error
}

func newArena(t *testing.T) *arena {
	a := &arena{school: newSchool(t), people: make(map[string]*client.Client), gave: make(map[uint64]string), addrs: make(map[string]string)}
	a.teacher = a.enrol("teacher", auth.Instructor)
	if _, err := a.teacher.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: client.RequestID(), Spec: arenaSpec()}); err != nil {
		t.Fatal(err)
	}
	nodes, err := a.teacher.Nodes.ListNodes(t.Context(), &labv1.ListNodesRequest{Lab: "arena"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.GetNodes() {
		a.addrs[n.GetName()], _, _ = strings.Cut(n.GetInterfaces()[0].GetAddress(), "/")
	}
	for i := range teamSize {
		a.join(fmt.Sprint("red", i), "a*", "ra")
		a.join(fmt.Sprint("blue", i), "b*", "rb")
	}
	return a
}

// join lets a person into the lab: to act on the team's hosts, and to see its router.
func (a *arena) join(name, hosts, router string) {
	a.t.Helper()
	a.people[name] = a.enrol(name, auth.Student)
	for role, nodes := range map[labv1.LabRole]string{labv1.LabRole_LAB_ROLE_OPERATOR: hosts, labv1.LabRole_LAB_ROLE_VIEWER: router} {
		if _, err := a.teacher.Sharing.ShareLab(a.t.Context(), &labv1.ShareLabRequest{RequestId: client.RequestID(), Lab: "arena",
			Member: &labv1.LabMember{Person: name, Role: role, Nodes: []string{nodes}}}); err != nil {
			a.t.Fatal(err)
		}
	}
}

// note keeps who has given an input, as its giver was told.
func (a *arena) note(name string, stamp *labv1.Stamp, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.errors = append(a.errors, fmt.Errorf("%s: %w", name, err))
		return
	}
	if other := a.gave[stamp.GetIndex()]; other != "" {
		a.errors = append(a.errors, fmt.Errorf("input %d was given by %s and by %s", stamp.GetIndex(), other, name))
	}
	a.gave[stamp.GetIndex()] = name
}

// play gives a person's commands: bytes within the team, probes of the enemy's addresses with forged sources, and faults on
// what the person's own host sends.
func (a *arena) play(ctx context.Context, name, host, mate, enemy string) {
	c, lab := a.people[name], "teacher/arena"
	for round := range teamRounds {
		t, err := c.Transfers.CreateTransfer(ctx, &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: lab,
			Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: host, To: mate, Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 20_000}}}})
		a.note(name, t.GetStamp(), err)
		p, err := c.Execs.CreateExec(ctx, &labv1.CreateExecRequest{RequestId: client.RequestID(), Lab: lab,
			Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: host, To: a.addrs[enemy], Count: 1}}})
		a.note(name, p.GetStamp(), err)
		s, err := c.Execs.CreateExec(ctx, &labv1.CreateExecRequest{RequestId: client.RequestID(), Lab: lab,
			Command: &labv1.CreateExecRequest_Send{Send: &labv1.RawSend{From: host, Packets: []*labv1.RawPacket{{Count: 20, IntervalNs: 1e6, Fields: []*labv1.RawField{
				{Name: "ip.src", Value: a.addrs[mate]}, {Name: "ip.dst", Value: a.addrs[enemy]}, {Name: "tcp.dport", Value: "5001"}, {Name: "tcp.flags", Value: "S"}}}}}}})
		a.note(name, s.GetStamp(), err)
		router := "r" + host[:1]
		f, err := c.Faults.CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: client.RequestID(), Lab: lab,
			Fault: &labv1.Fault{Link: host + "->" + router, DurationNs: 1e6 * int64(1+round), Effect: &labv1.Fault_DelayNs{DelayNs: 2e6}}})
		a.note(name, f.GetStamp(), err)
	}
}

// Twenty people at once in one lab, in two teams that compete for one bottleneck and attack each other: every command has its
// place in the journal and its giver, each team sees its own, and the journal makes the same lab again.
func TestSharedArena(t *testing.T) {
	a := newArena(t)
	var all sync.WaitGroup
	for i := range teamSize {
		mate := (i + 1) % teamSize
		all.Go(func() {
			a.play(t.Context(), fmt.Sprint("red", i), fmt.Sprint("a", i), fmt.Sprint("a", mate), fmt.Sprint("b", i))
		})
		all.Go(func() {
			a.play(t.Context(), fmt.Sprint("blue", i), fmt.Sprint("b", i), fmt.Sprint("b", mate), fmt.Sprint("a", i))
		})
	}
	all.Wait()
	for _, err := range a.errors {
		t.Error(err)
	}
	given := 2 * teamSize * teamRounds * 4
	if len(a.gave) != given {
		t.Fatalf("%d inputs, want %d", len(a.gave), given)
	}
	a.wantAuthors(a.teacher, "arena", "", given)
	a.wantAuthors(a.people["red3"], "teacher/arena", "red", given/2)
	a.wantAuthors(a.people["blue7"], "", "blue", given/2)
	a.wantOwnRecords(a.people["red3"], "teacher/arena", "a")
	eventually(t, "all is done in the lab", func() bool { return a.idle(a.admin, "teacher/arena") })
	before, dir := a.records(a.admin, "teacher/arena"), a.d.DataDir()
	stop(t, a.d)
	a.open(dir)
	eventually(t, "the lab is there again", func() bool { return a.idle(a.admin, "teacher/arena") })
	if after := a.records(a.admin, "teacher/arena"); !bytes.Equal(before, after) {
		t.Errorf("the journal made other records: %d bytes instead of %d", len(after), len(before))
	}
}

// wantAuthors checks who has given the inputs that somebody sees.
func (a *arena) wantAuthors(c *client.Client, lab, team string, n int) {
	a.t.Helper()
	r, err := c.Labs.ListInputs(a.t.Context(), &labv1.ListInputsRequest{Lab: lab})
	if err != nil {
		a.t.Fatal(err)
	}
	if len(r.GetEntries()) != n || len(r.GetAuthors()) != n {
		a.t.Errorf("%s sees %d inputs of %d givers, want %d", team, len(r.GetEntries()), len(r.GetAuthors()), n)
	}
	for i, w := range r.GetAuthors() {
		if w.GetIndex() != r.GetEntries()[i].GetIndex() || w.GetBy() != a.gave[w.GetIndex()] || w.GetAt() == nil || !strings.HasPrefix(w.GetBy(), team) {
			a.t.Errorf("input %d is said to be of %s at %v; %s gave it", w.GetIndex(), w.GetBy(), w.GetAt(), a.gave[w.GetIndex()])
		}
	}
}

// records are a lab's trace records, as somebody may read them.
func (a *arena) records(c *client.Client, lab string) (all []byte) {
	a.t.Helper()
	stream, err := c.Traces.ReadRecords(a.t.Context(), &labv1.ReadRecordsRequest{Source: &labv1.ReadRecordsRequest_Lab{Lab: lab}})
	for err == nil {
		var m *labv1.ReadRecordsResponse
		if m, err = stream.Recv(); err == nil {
			all = append(all, m.GetRecords()...)
		}
	}
	if !errors.Is(err, io.EOF) {
		a.t.Fatal(err)
	}
	return all
}

// wantOwnRecords checks that somebody reads the records of the team's nodes, and of nobody else's.
func (a *arena) wantOwnRecords(c *client.Client, lab, team string) {
	a.t.Helper()
	nodes, err := a.teacher.Nodes.ListNodes(a.t.Context(), &labv1.ListNodesRequest{Lab: "arena"})
	if err != nil {
		a.t.Fatal(err)
	}
	own := map[uint32]bool{0: true} // the lab's, of inputs
	for _, n := range nodes.GetNodes() {
		own[n.GetId()] = strings.HasPrefix(n.GetName(), team) || n.GetName() == "r"+team
	}
	recs, err := trace.DecodeRecords(a.records(c, lab))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, r := range recs {
		if r.Kind != sim.KindMore && !own[r.Node] {
			a.t.Fatalf("a record of node %d is told to team %s", r.Node, team)
		}
	}
	if len(recs) == 0 {
		a.t.Error("no records")
	}
}

// idle tells whether all that was begun in the lab has ended.
func (a *arena) idle(c *client.Client, lab string) bool {
	l, err := c.Labs.GetLab(a.t.Context(), &labv1.GetLabRequest{Lab: lab})
	if err != nil || l.GetLab().GetState() != labv1.LabState_LAB_STATE_RUNNING {
		return false
	}
	moves, err := c.Transfers.ListTransfers(a.t.Context(), &labv1.ListTransfersRequest{Lab: lab})
	if err != nil || len(moves.GetTransfers()) == 0 {
		return false
	}
	for _, m := range moves.GetTransfers() {
		if !m.GetEnded() {
			return false
		}
	}
	execs, err := c.Execs.ListExecs(a.t.Context(), &labv1.ListExecsRequest{Lab: lab})
	if err != nil {
		return false
	}
	for _, e := range execs.GetExecs() {
		if !e.GetDone() {
			return false
		}
	}
	return bytes.Equal(a.records(c, lab), a.records(c, lab))
}

// What is streamed out of a lab ends for who is taken out of it.
func TestStreamsEndWithTheShare(t *testing.T) {
	s := newSchool(t)
	ann, bob := s.enrol("ann", auth.Student), s.enrol("bob", auth.Student)
	if _, err := ann.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: client.RequestID(), Spec: twoHosts("arena", labv1.Clock_CLOCK_REAL)}); err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Sharing.ShareLab(t.Context(), &labv1.ShareLabRequest{RequestId: client.RequestID(), Lab: "arena",
		Member: &labv1.LabMember{Person: "bob", Role: labv1.LabRole_LAB_ROLE_VIEWER}}); err != nil {
		t.Fatal(err)
	}
	stream, err := bob.Traces.WatchRecords(t.Context(), &labv1.WatchRecordsRequest{Lab: "ann/arena"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Sharing.UnshareLab(t.Context(), &labv1.UnshareLabRequest{RequestId: client.RequestID(), Lab: "arena", Person: "bob"}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, "who was taken out", err, labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND)
}
