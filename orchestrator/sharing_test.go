package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// arenaSpec is a lab for two teams behind one router: a1, a2 and b1, b2.
func arenaSpec(name string) *labv1.LabSpec {
	spec := &labv1.LabSpec{Name: name, Seed: 7, Nodes: []*labv1.NodeSpec{{Name: "r", Kind: labv1.NodeKind_NODE_KIND_ROUTER}}}
	for i, node := range []string{"a1", "a2", "b1", "b2"} {
		spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: node})
		spec.Links = append(spec.Links, &labv1.LinkSpec{
			A: &labv1.Endpoint{Node: node, Interface: "eth0"}, B: &labv1.Endpoint{Node: "r", Interface: fmt.Sprint("eth", i)},
			Forward: &labv1.DirectionSpec{DelayNs: 1_000_000}, Reverse: &labv1.DirectionSpec{DelayNs: 1_000_000}})
	}
	return spec
}

// arena is a lab of alice's that is shared with bob, who operates b* and views the router.
type arena struct {
	*server
	sharing                  labv1.SharingServiceClient
	execs                    labv1.ExecServiceClient
	clocks                   labv1.ClockServiceClient
	alice, bob, carol, admin context.Context
	requests                 int
	lab                      string // that calls name
}

func newArena(t *testing.T) *arena {
	t.Helper()
	s := startServer(t, newFakeWorker(), "")
	a := &arena{server: s, sharing: labv1.NewSharingServiceClient(s.conn), execs: labv1.NewExecServiceClient(s.conn), clocks: labv1.NewClockServiceClient(s.conn),
		alice: student(t, "alice"), bob: student(t, "bob"), carol: student(t, "carol"), admin: as(t.Context(), "root", auth.Admin), lab: "alice/arena"}
	if _, err := s.labs.CreateLab(a.alice, &labv1.CreateLabRequest{RequestId: a.id(), Spec: arenaSpec("arena")}); err != nil {
		t.Fatal(err)
	}
	a.people("alice", "bob", "carol", "dave")
	a.share("bob", labv1.LabRole_LAB_ROLE_OPERATOR, "b*")
	a.share("bob", labv1.LabRole_LAB_ROLE_VIEWER, "r")
	return a
}

// people takes students in.
func (s *server) people(names ...string) {
	s.t.Helper()
	cmd := &controlv1.ImportPeople{}
	for _, name := range names {
		cmd.People = append(cmd.People, &controlv1.ImportPerson{Name: name, Role: auth.Student})
	}
	if _, err := s.control.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_ImportPeople{ImportPeople: cmd}}); err != nil {
		s.t.Fatal(err)
	}
}

func (a *arena) id() string {
	a.requests++
	return fmt.Sprint("r", a.requests)
}

func (a *arena) share(person string, role labv1.LabRole, nodes ...string) {
	a.t.Helper()
	if err := a.tryShare(a.alice, person, role, nodes...); err != nil {
		a.t.Fatal(err)
	}
}

func (a *arena) tryShare(ctx context.Context, person string, role labv1.LabRole, nodes ...string) error {
	_, err := a.sharing.ShareLab(ctx, &labv1.ShareLabRequest{RequestId: a.id(), Lab: a.lab,
		Member: &labv1.LabMember{Person: person, Role: role, Nodes: nodes}})
	return err
}

func (a *arena) ping(ctx context.Context, from, to string) error {
	_, err := a.execs.CreateExec(ctx, &labv1.CreateExecRequest{RequestId: a.id(), Lab: a.lab,
		Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: from, To: to}}})
	return err
}

func (a *arena) move(ctx context.Context, from, to string) error {
	_, err := a.moves.CreateTransfer(ctx, &labv1.CreateTransferRequest{RequestId: a.id(), Lab: a.lab,
		Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: from, To: to, Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1}}}})
	return err
}

func (a *arena) get(ctx context.Context, from, url string) error {
	_, err := a.moves.CreateTransfer(ctx, &labv1.CreateTransferRequest{RequestId: a.id(), Lab: a.lab,
		Kind: &labv1.CreateTransferRequest_HttpGet{HttpGet: &labv1.HttpGet{From: from, Url: url}}})
	return err
}

func (a *arena) fault(ctx context.Context, f *labv1.Fault) (string, error) {
	r, err := a.faults.CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: a.id(), Lab: a.lab, Fault: f})
	return r.GetId(), err
}

func (a *arena) linkDown(ctx context.Context, link string) error {
	_, err := a.fault(ctx, &labv1.Fault{Id: "f" + a.id(), Link: link, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}})
	return err
}

func (a *arena) crash(ctx context.Context, node string) error {
	_, err := a.fault(ctx, &labv1.Fault{Id: "f" + a.id(), Node: node, Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}})
	return err
}

func (a *arena) set(ctx context.Context, link string) error {
	delay := int64(5_000_000)
	_, err := a.links.SetLink(ctx, &labv1.SetLinkRequest{RequestId: a.id(), Lab: a.lab,
		Set: &labv1.LinkSet{Link: link, Patch: &labv1.DirectionPatch{DelayNs: &delay}}})
	return err
}

func nodesIn(spec *labv1.LabSpec) string {
	return strings.Join(nodeNames(spec), " ")
}

// A member sees the nodes that the lab is shared for, and the links that end there.
func TestMembersSeeTheirNodes(t *testing.T) {
	a := newArena(t)
	r, err := a.labs.GetLab(a.bob, &labv1.GetLabRequest{Lab: a.lab})
	if err != nil {
		t.Fatal(err)
	}
	lab := r.GetLab()
	if lab.GetName() != "alice/arena" || nodesIn(lab.GetSpec()) != "r b1 b2" || lab.GetSpec().GetSeed() != 0 || len(lab.GetSpec().GetLinks()) != 4 {
		t.Errorf("bob gets %v", lab)
	}
	nodes, err := a.nodes.ListNodes(a.bob, &labv1.ListNodesRequest{}) // the only lab of bob's
	if err != nil || len(nodes.GetNodes()) != 3 {
		t.Errorf("bob lists %v, %v", nodes, err)
	}
	conns, err := a.nodes.ListConns(a.bob, &labv1.ListConnsRequest{Listening: true})
	if err != nil || len(conns.GetConns()) != 3 {
		t.Errorf("bob's connections: %v, %v", conns, err)
	}
	a.share("carol", labv1.LabRole_LAB_ROLE_VIEWER, "a?")
	if r, err := a.labs.GetLab(a.carol, &labv1.GetLabRequest{}); err != nil || nodesIn(r.GetLab().GetSpec()) != "a1 a2" || len(r.GetLab().GetSpec().GetLinks()) != 2 {
		t.Errorf("carol gets %v, %v", r, err)
	}
	for _, whole := range []context.Context{a.alice, a.admin} {
		if r, err := a.labs.GetLab(whole, &labv1.GetLabRequest{Lab: a.lab}); err != nil || nodesIn(r.GetLab().GetSpec()) != "r a1 a2 b1 b2" || r.GetLab().GetSpec().GetSeed() != 7 {
			t.Errorf("the owner gets %v, %v", r, err)
		}
	}
}

// An operator acts on nodes of his own and on what they send, towards all that he sees and every address.
func TestOperatorsActOnTheirNodes(t *testing.T) {
	a := newArena(t)
	a.share("carol", labv1.LabRole_LAB_ROLE_VIEWER)
	for what, err := range map[string]error{
		"ping":         a.ping(a.bob, "b1", "b2"),
		"by address":   a.ping(a.bob, "b1", "10.0.0.2"),
		"transfer":     a.move(a.bob, "b1", "b2"),
		"url":          a.get(a.bob, "b1", "http://10.0.0.2/"),
		"fault":        a.linkDown(a.bob, "b1->r"),
		"crash":        a.crash(a.bob, "b2"),
		"link set":     a.set(a.bob, "b1->r"),
		"owner's link": a.set(a.alice, "a1--r"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"ping from the router":    a.ping(a.bob, "r", "b1"),
		"both directions":         a.linkDown(a.bob, "b1--r"),
		"what the router sends":   a.linkDown(a.bob, "r->b1"),
		"crash of the router":     a.crash(a.bob, "r"),
		"setting both directions": a.set(a.bob, "b1--r"),
		"viewer's ping":           a.ping(a.carol, "a1", "b1"),
		"viewer's crash":          a.crash(a.carol, "a1"),
		"viewer's link set":       a.set(a.carol, "a1--r"),
		"clock":                   errOf(a.clocks.ControlClock(a.bob, &labv1.ControlClockRequest{RequestId: a.id(), Lab: a.lab, Action: &labv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}})),
		"delete":                  errOf(a.labs.DeleteLab(a.bob, &labv1.DeleteLabRequest{RequestId: a.id(), Lab: a.lab})),
		"apply":                   errOf(a.labs.ApplyLab(a.bob, &labv1.ApplyLabRequest{RequestId: a.id(), Lab: a.lab, Spec: arenaSpec("arena")})),
		"share":                   a.tryShare(a.bob, "carol", labv1.LabRole_LAB_ROLE_OWNER),
		"unshare":                 errOf(a.sharing.UnshareLab(a.bob, &labv1.UnshareLabRequest{RequestId: a.id(), Lab: a.lab, Person: "carol"})),
	} {
		if status.Code(err) != codes.PermissionDenied || reasonIn(err) != "NOT_ALLOWED" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

// A node or a link that a member may not view answers, to the byte, as in a lab that has it not.
func TestHiddenNodesAreNotThere(t *testing.T) {
	a := newArena(t)
	a.share("bob", labv1.LabRole_LAB_ROLE_VIEWER, "b*") // no longer the router
	without := arenaSpec("arena")
	without.Nodes = slices.DeleteFunc(without.Nodes, func(n *labv1.NodeSpec) bool { return n.GetName()[0] == 'a' })
	without.Links = slices.DeleteFunc(without.Links, func(l *labv1.LinkSpec) bool { return l.GetA().GetNode()[0] == 'a' })
	if _, err := a.labs.CreateLab(a.carol, &labv1.CreateLabRequest{RequestId: a.id(), Spec: without}); err != nil {
		t.Fatal(err)
	}
	_, err := a.sharing.ShareLab(a.carol, &labv1.ShareLabRequest{RequestId: a.id(), Lab: "arena",
		Member: &labv1.LabMember{Person: "bob", Role: labv1.LabRole_LAB_ROLE_OPERATOR, Nodes: []string{"b*"}}})
	if err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"get node":    func() error { return errOf(a.nodes.GetNode(a.bob, &labv1.GetNodeRequest{Lab: a.lab, Node: "a1"})) },
		"connections": func() error { return errOf(a.nodes.ListConns(a.bob, &labv1.ListConnsRequest{Lab: a.lab, Node: "a1"})) },
		"link":        func() error { return errOf(a.links.GetLink(a.bob, &labv1.GetLinkRequest{Lab: a.lab, Link: "a1--r"})) },
		"watch": func() error {
			stream, err := a.watches.WatchStatus(a.bob, &labv1.WatchStatusRequest{Lab: a.lab, Kind: labv1.StatusKind_STATUS_KIND_CONNS, Node: "a1"})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"capture": func() error {
			stream, err := labv1.NewCaptureServiceClient(a.conn).WatchCapture(a.bob, &labv1.WatchCaptureRequest{Lab: a.lab, Node: "a1"})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"capture filter": func() error {
			stream, err := labv1.NewCaptureServiceClient(a.conn).WatchCapture(a.bob, &labv1.WatchCaptureRequest{Lab: a.lab, Node: "b1", Filter: "host a1"})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"send to": func() error {
			return errOf(a.execs.CreateExec(a.bob, &labv1.CreateExecRequest{RequestId: a.id(), Lab: a.lab, Command: &labv1.CreateExecRequest_Send{
				Send: &labv1.RawSend{From: "b1", Packets: []*labv1.RawPacket{{Fields: []*labv1.RawField{{Name: "ip.dst", Value: "a1"}}}}}}}))
		},
		"ping from":   func() error { return a.ping(a.bob, "a1", "b1") },
		"ping to":     func() error { return a.ping(a.bob, "b1", "a1") },
		"transfer to": func() error { return a.move(a.bob, "b1", "a1") },
		"get from":    func() error { return a.get(a.bob, "b1", "http://a1/") },
		"crash":       func() error { return a.crash(a.bob, "a1") },
		"link down":   func() error { return a.linkDown(a.bob, "a1--r") },
		"link set":    func() error { return a.set(a.bob, "a1->r") },
		"clear fault": func() error {
			return errOf(a.faults.ClearFault(a.bob, &labv1.ClearFaultRequest{RequestId: a.id(), Lab: a.lab, Fault: "hidden"}))
		},
	} {
		a.lab = "alice/arena"
		if what == "clear fault" {
			if _, err := a.fault(a.alice, &labv1.Fault{Id: "hidden", Node: "a1", Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}}); err != nil {
				t.Fatal(err)
			}
		}
		hidden := status.Convert(call()).Proto()
		a.lab = "carol/arena"
		if missing := status.Convert(call()).Proto(); hidden.GetCode() == int32(codes.OK) || !proto.Equal(hidden, missing) {
			t.Errorf("%s: hidden: %v\nnot there: %v", what, hidden, missing)
		}
	}
}

// Of the journal, a member sees what concerns nodes in view, each with who gave it; of a fault also that it was cleared.
func TestMembersSeeTheirInputs(t *testing.T) {
	a := newArena(t)
	if err := a.ping(a.alice, "a1", "b1"); err != nil {
		t.Fatal(err)
	}
	if err := a.ping(a.bob, "b1", "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if err := a.crash(a.alice, "a2"); err != nil {
		t.Fatal(err)
	}
	mine, err := a.fault(a.bob, &labv1.Fault{Id: "mine", Node: "b2", Effect: &labv1.Fault_Crash{Crash: &labv1.Crash{}}})
	if err != nil || mine != "mine" {
		t.Fatal(mine, err)
	}
	spec := arenaSpec("arena")
	spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: "a3"}, &labv1.NodeSpec{Name: "b3"})
	for i, node := range []string{"a3", "b3"} {
		spec.Links = append(spec.Links, &labv1.LinkSpec{A: &labv1.Endpoint{Node: node, Interface: "eth0"}, B: &labv1.Endpoint{Node: "r", Interface: fmt.Sprint("eth", 4+i)},
			Forward: &labv1.DirectionSpec{}, Reverse: &labv1.DirectionSpec{}})
	}
	if _, err := a.labs.ApplyLab(a.alice, &labv1.ApplyLabRequest{RequestId: a.id(), Spec: spec}); err != nil {
		t.Fatal(err)
	}
	r, err := a.labs.ListInputs(a.bob, &labv1.ListInputsRequest{})
	if err != nil || len(r.GetEntries()) != 3 || len(r.GetAuthors()) != 3 {
		t.Fatalf("bob sees %v, %v", r, err)
	}
	by := func(i int) string { return fmt.Sprint(r.GetAuthors()[i].GetIndex(), r.GetAuthors()[i].GetBy()) }
	if by(0) != "2bob" || by(1) != "4bob" || by(2) != "5alice" {
		t.Errorf("who did it: %v", r.GetAuthors())
	}
	if apply := r.GetEntries()[2].GetInput().GetApply(); nodesIn(apply.GetSpec()) != "r b1 b2 b3" || apply.GetSha256() != "" {
		t.Errorf("the apply tells bob %v", apply)
	}
	page, err := a.labs.ListInputs(a.bob, &labv1.ListInputsRequest{PageSize: 1})
	if err != nil || len(page.GetEntries()) != 1 || !page.GetMore() {
		t.Errorf("a page: %v, %v", page, err)
	}
	if all, err := a.labs.ListInputs(a.alice, &labv1.ListInputsRequest{Lab: "arena"}); err != nil || len(all.GetEntries()) != 5 {
		t.Errorf("alice sees %v, %v", all, err)
	}
}

// What cannot be shared says why, and changes nothing.
func TestSharesThatAreRefused(t *testing.T) {
	a := newArena(t)
	for _, c := range []struct {
		err    error
		reason string
		text   string
	}{
		{a.tryShare(a.alice, "", labv1.LabRole_LAB_ROLE_VIEWER), "INVALID", "say with whom"},
		{a.tryShare(a.alice, "alice", labv1.LabRole_LAB_ROLE_VIEWER), "INVALID", `"alice" owns the lab`},
		{a.tryShare(a.alice, "zoe", labv1.LabRole_LAB_ROLE_VIEWER), "USER_NOT_FOUND", `there is no person "zoe"`},
		{a.tryShare(a.alice, "carol", labv1.LabRole_LAB_ROLE_UNSPECIFIED), "INVALID", "viewer, operator or owner"},
		{a.tryShare(a.alice, "carol", 17), "INVALID", "viewer, operator or owner"},
		{a.tryShare(a.alice, "carol", labv1.LabRole_LAB_ROLE_OWNER, "a*"), "INVALID", "an owner has all nodes"},
		{a.tryShare(a.alice, "carol", labv1.LabRole_LAB_ROLE_VIEWER, "b*", "c*"), "INVALID", `"c*" picks none of the lab's nodes`},
		{a.tryShare(a.alice, "carol", labv1.LabRole_LAB_ROLE_VIEWER, "[b"), "INVALID", "no name of nodes"},
		{a.tryShare(a.alice, "carol", labv1.LabRole_LAB_ROLE_VIEWER, strings.Repeat("b", 300)), "INVALID", "no name of nodes"},
		{a.tryShare(a.alice, "carol", labv1.LabRole_LAB_ROLE_VIEWER, slices.Repeat([]string{"b*"}, 65)...), "INVALID", "at most 64"},
		{a.tryShare(a.carol, "carol", labv1.LabRole_LAB_ROLE_OWNER), "LAB_NOT_FOUND", `there is no lab "alice/arena"`},
		{a.takeOut(a.alice, "carol"), "NOT_SHARED", `not shared with "carol"`},
		{a.takeOut(a.alice, "alice"), "OWNS_LAB", "delete the lab instead"},
		{a.leave(a.alice), "OWNS_LAB", "delete it instead"},
		{a.leave(a.carol), "LAB_NOT_FOUND", `there is no lab "alice/arena"`},
		{a.leave(a.admin), "NOT_SHARED", `not shared with "root"`},
	} {
		if reasonIn(c.err) != c.reason || !strings.Contains(messageOf(c.err), c.text) {
			t.Errorf("%v, want %s with %q", c.err, c.reason, c.text)
		}
	}
	if r, err := a.sharing.ListLabMembers(a.alice, &labv1.ListLabMembersRequest{}); err != nil || len(r.GetMembers()) != 2 || r.GetOwner() != "alice" {
		t.Errorf("members: %v, %v", r, err)
	}
}

func (a *arena) takeOut(ctx context.Context, person string) error {
	return errOf(a.sharing.UnshareLab(ctx, &labv1.UnshareLabRequest{RequestId: a.id(), Lab: a.lab, Person: person}))
}

func (a *arena) leave(ctx context.Context) error {
	return errOf(a.sharing.LeaveLab(ctx, &labv1.LeaveLabRequest{RequestId: a.id(), Lab: a.lab}))
}

// Sharing anew changes the nodes; who has left or was taken out is a stranger; a second owner may do all.
func TestMembersComeAndGo(t *testing.T) {
	a := newArena(t)
	a.share("bob", labv1.LabRole_LAB_ROLE_OPERATOR, "b1")
	if err := a.ping(a.bob, "b2", "b1"); reasonIn(err) != "NODE_NOT_FOUND" {
		t.Errorf("a node that was taken back: %v", err)
	}
	if r, err := a.sharing.ListLabMembers(a.alice, &labv1.ListLabMembersRequest{}); err != nil || len(r.GetMembers()) != 2 {
		t.Errorf("members: %v, %v", r, err)
	}
	req := &labv1.LeaveLabRequest{RequestId: "leave", Lab: a.lab}
	for range 2 { // the second is a repetition
		if _, err := a.sharing.LeaveLab(a.bob, req); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.ping(a.bob, "b1", "b1"); reasonIn(err) != "LAB_NOT_FOUND" {
		t.Errorf("after leaving: %v", err)
	}
	a.share("carol", labv1.LabRole_LAB_ROLE_OWNER)
	if r, err := a.sharing.ListLabMembers(a.carol, &labv1.ListLabMembersRequest{}); err != nil || len(r.GetMembers()) != 1 {
		t.Errorf("carol's view of the members: %v, %v", r, err)
	}
	if err := a.tryShare(a.carol, "bob", labv1.LabRole_LAB_ROLE_VIEWER); err != nil {
		t.Fatal(err)
	}
	if r, err := a.sharing.ListLabMembers(a.bob, &labv1.ListLabMembersRequest{}); err != nil || len(r.GetMembers()) != 2 {
		t.Errorf("bob sees himself and the owners: %v, %v", r, err)
	}
	// A file of the same lab name makes a lab of carol's own, unless the other is named.
	if r, err := a.labs.ApplyLab(a.carol, &labv1.ApplyLabRequest{RequestId: a.id(), Spec: arenaSpec("arena"), DryRun: true}); err != nil || r.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_CREATED {
		t.Errorf("carol's own: %v, %v", r, err)
	}
	if r, err := a.labs.ApplyLab(a.carol, &labv1.ApplyLabRequest{RequestId: a.id(), Lab: a.lab, Spec: arenaSpec("arena"), DryRun: true}); err != nil || r.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_UNCHANGED {
		t.Errorf("alice's: %v, %v", r, err)
	}
	if _, err := a.labs.DeleteLab(a.carol, &labv1.DeleteLabRequest{RequestId: a.id(), Lab: a.lab}); err != nil {
		t.Fatal(err)
	}
	if err := a.ping(a.bob, "b1", "b1"); reasonIn(err) != "LAB_NOT_FOUND" {
		t.Errorf("in a lab that was deleted: %v", err)
	}
}

// A watch ends for who is taken out of the lab.
func TestWatchesEndWithTheShare(t *testing.T) {
	a := newArena(t)
	stream, err := a.watches.WatchStatus(a.bob, &labv1.WatchStatusRequest{Lab: a.lab, Kind: labv1.StatusKind_STATUS_KIND_NODES, IntervalMs: 50})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || len(m.GetNodes()) != 3 {
		t.Fatalf("%v, %v", m, err)
	}
	if err := a.takeOut(a.alice, "bob"); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, err, codes.NotFound, "LAB_NOT_FOUND")
}

// Changes are told to who may see what has changed; a lab is made for whom it comes to be shared with, and removed again.
func TestChangesAreForWhoMaySee(t *testing.T) {
	a := newArena(t)
	ctx, cancel := context.WithCancel(a.carol)
	defer cancel()
	stream, err := a.watches.WatchChanges(ctx, &labv1.WatchChangesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || !first.GetSnapshot() || len(first.GetChanges()) != 0 {
		t.Fatalf("carol begins with %v, %v", first, err)
	}
	for _, err := range []error{
		a.ping(a.alice, "a1", "b1"), // carol hears nothing
		a.tryShare(a.alice, "carol", labv1.LabRole_LAB_ROLE_OPERATOR, "a*"),
		a.ping(a.bob, "b1", "b2"), // of another team's nothing
		a.ping(a.alice, "a1", "b1"),
		a.tryShare(a.alice, "dave", labv1.LabRole_LAB_ROLE_VIEWER),
		a.takeOut(a.alice, "carol"),
		a.ping(a.alice, "a1", "b1"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a.createAs(a.carol, "own", "mine")
	var told []string
	at := first.GetIndex()
	for !slices.Contains(told, "CREATED mine") {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetIndex() < at {
			t.Errorf("index %d after %d", m.GetIndex(), at)
		}
		at = m.GetIndex()
		for _, c := range m.GetChanges() {
			what := c.GetName()
			if c.GetEntry() != nil {
				what = fmt.Sprint("input ", c.GetEntry().GetIndex(), " by ", c.GetBy())
			}
			told = append(told, strings.TrimPrefix(c.GetKind().String(), "KIND_")+" "+what)
		}
	}
	want := []string{"CREATED arena", "CREATED input 3 by alice", "CHANGED arena", "REMOVED arena", "CREATED mine"}
	if got := told[:slices.Index(told, "CREATED mine")+1]; !slices.Equal(got, want) {
		t.Errorf("carol is told %q, want %q", got, want)
	}
	// Resumed before the share, she is told the same again.
	again, err := a.watches.WatchChanges(ctx, &labv1.WatchChangesRequest{AfterIndex: first.GetIndex()})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := again.Recv(); err != nil || m.GetSnapshot() || m.GetChanges()[0].GetName() != "arena" || m.GetChanges()[0].GetKind() != labv1.Change_KIND_CREATED {
		t.Errorf("resumed: %v, %v", m, err)
	}
}

// Students hear of the workers that have something of theirs, and of that alone.
func TestWorkersAreToldInPart(t *testing.T) {
	a := newArena(t)
	workers := labv1.NewWorkerServiceClient(a.conn)
	for _, c := range []struct {
		ctx  context.Context
		labs uint32
	}{{a.alice, 1}, {a.bob, 1}, {a.carol, 0}} {
		r, err := workers.ListWorkers(c.ctx, &labv1.ListWorkersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.GetWorkers()) != int(c.labs) || c.labs > 0 && (r.GetWorkers()[0].GetLabs() != c.labs || r.GetWorkers()[0].GetId() != "") {
			t.Errorf("told of %v", r.GetWorkers())
		}
	}
}
