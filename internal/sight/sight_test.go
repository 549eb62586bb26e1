package sight_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"labd.dev/internal/sight"
	"labd.dev/link"
	"labd.dev/node"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/trace"
)

func member(person string, role labv1.LabRole, nodes ...string) *labv1.LabMember {
	return &labv1.LabMember{Person: person, Role: role, Nodes: nodes}
}

const (
	viewer   = labv1.LabRole_LAB_ROLE_VIEWER
	operator = labv1.LabRole_LAB_ROLE_OPERATOR
	owner    = labv1.LabRole_LAB_ROLE_OWNER
)

func TestPlaces(t *testing.T) {
	members := []*labv1.LabMember{member("bob", operator, "b*"), member("bob", viewer, "r"), member("carol", viewer), member("dave", owner),
		member("eve", operator), member("", viewer)}
	for _, c := range []struct {
		person                                 string
		views, operates                        string // of a1 b1 r
		owns, seesAll, operatesAll, operatesAt bool
	}{
		{"bob", "b1 r", "b1", false, false, false, true},
		{"carol", "a1 b1 r", "", false, true, false, false},
		{"dave", "a1 b1 r", "a1 b1 r", true, true, true, true},
		{"eve", "a1 b1 r", "a1 b1 r", false, true, true, true},
		{"frank", "", "", false, false, false, false},
		{"", "", "", false, false, false, false},
	} {
		p := sight.Of(c.person, members)
		var views, operates []string
		for _, n := range []string{"a1", "b1", "r"} {
			if p.Views(n) {
				views = append(views, n)
			}
			if p.Operates(n) {
				operates = append(operates, n)
			}
		}
		if strings.Join(views, " ") != c.views || strings.Join(operates, " ") != c.operates || p.Owns() != c.owns ||
			p.SeesAll() != c.seesAll || p.OperatesAll() != c.operatesAll {
			t.Errorf("%q: views %v, operates %v, %+v", c.person, views, operates, p)
		}
	}
}

func spec() *labv1.LabSpec {
	s := &labv1.LabSpec{Name: "x", Seed: 3}
	for _, n := range []string{"a1", "a2", "b1", "r"} {
		s.Nodes = append(s.Nodes, &labv1.NodeSpec{Name: n})
	}
	for i, ends := range [][2]string{{"a1", "r"}, {"a2", "r"}, {"r", "b1"}, {"r", "b1"}} {
		s.Links = append(s.Links, &labv1.LinkSpec{A: &labv1.Endpoint{Node: ends[0], Interface: fmt.Sprint("eth", i)}, B: &labv1.Endpoint{Node: ends[1], Interface: fmt.Sprint("eth", i)}})
	}
	return s
}

func TestLinksInView(t *testing.T) {
	bob := sight.Of("bob", []*labv1.LabMember{member("bob", operator, "b1")})
	if s := bob.Spec(spec()); len(s.GetNodes()) != 1 || len(s.GetLinks()) != 2 || s.GetSeed() != 0 {
		t.Errorf("bob's part: %v", s)
	}
	list := []*labv1.LinkStatus{{Name: "a1--r"}, {Name: "r:eth2--b1:eth2"}, {Name: "r:eth3--b1:eth3"}, {Name: "unknown"}}
	if got := bob.Links(spec(), slices.Clone(list)); len(got) != 2 || got[0].GetName() != "r:eth2--b1:eth2" {
		t.Errorf("bob's links: %v", got)
	}
	for name, want := range map[string][2]bool{ // in view, to be acted on
		"b1->r": {true, true}, "r->b1": {true, false}, "r--b1": {true, false}, "b1--r": {true, false}, "b1:eth2->r:eth2": {true, true},
		"a1--r": {false, false}, "a1->r": {false, false}, "r->a1": {false, false}, "b1": {false, false}, "": {false, false}, "->": {false, false},
		"b1->zz": {false, false}, "b1:eth9->r": {false, false},
	} {
		if got := [2]bool{bob.ViewsLinkNamed(spec(), name), bob.OperatesLinkNamed(spec(), name)}; got != want {
			t.Errorf("link %q: %v, want %v", name, got, want)
		}
	}
}

func TestStatusInView(t *testing.T) {
	bob := sight.Of("bob", []*labv1.LabMember{member("bob", viewer, "b1")})
	if got := bob.Nodes([]*labv1.NodeStatus{{Name: "a1"}, {Name: "b1"}}); len(got) != 1 {
		t.Errorf("nodes %v", got)
	}
	if got := bob.Conns([]*labv1.ConnStatus{{Node: "a1", Conn: "b1/1"}, {Node: "b1", Conn: "b1/1"}}); len(got) != 1 || got[0].GetNode() != "b1" {
		t.Errorf("connections %v", got)
	}
	if got := bob.Transfers([]*labv1.TransferStatus{{From: "a1", To: "a2"}, {From: "a1", To: "b1"}, {From: "b1", To: "a1"}}); len(got) != 2 {
		t.Errorf("transfers %v", got)
	}
	if got := bob.Execs([]*labv1.ExecStatus{{Node: "a1"}, {Node: "b1"}}); len(got) != 1 {
		t.Errorf("commands %v", got)
	}
	if got := bob.Hops([]*labv1.PacketHop{{Node: "a1"}, {Node: "r"}, {Node: "b1"}}); len(got) != 1 {
		t.Errorf("hops %v", got)
	}
	faults := []*labv1.FaultStatus{{Fault: &labv1.Fault{Node: "a1"}}, {Fault: &labv1.Fault{Node: "b1"}}, {Fault: &labv1.Fault{Link: "r->b1"}}, {Fault: &labv1.Fault{Link: "a1--r"}}, {}}
	if got := bob.Faults(spec(), faults); len(got) != 2 {
		t.Errorf("faults %v", got)
	}
}

// Every kind of input is in view or not by what it names; a kind that is not known here is in nobody's view but the owner's.
func TestInputsInView(t *testing.T) {
	bob := sight.Of("bob", []*labv1.LabMember{member("bob", viewer, "b1")})
	none := func(string) *labv1.Fault { return nil }
	fields := (&labv1.Input{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	for i := range fields.Len() {
		in := (&labv1.Input{}).ProtoReflect()
		in.Set(fields.Get(i), in.NewField(fields.Get(i)))
		got := bob.Input(spec(), in.Interface().(*labv1.Input), none)
		if name := fields.Get(i).Name(); got != nil && name != "apply" {
			t.Errorf("an empty %s is in view", name)
		}
	}
	for _, in := range []*labv1.Input{
		{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{From: "a1", To: "b1"}}},
		{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{From: "b1", To: "a1"}}},
		{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Link: "r--b1"}}},
		{Kind: &labv1.Input_Fault{Fault: &labv1.Fault{Node: "b1"}}},
	} {
		if bob.Input(spec(), in, none) != in {
			t.Errorf("%v is not in view", in)
		}
	}
	clearing := &labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: "f1"}}}
	if bob.Input(spec(), clearing, func(string) *labv1.Fault { return &labv1.Fault{Node: "b1"} }) == nil {
		t.Error("that a fault in view is cleared is not in view")
	}
}

// A stream of records holds those of nodes in view, whole, and names nobody else whom they do not bear.
func TestRecordsInView(t *testing.T) {
	nodes := []string{"", "a1", "b1", "r", "c1"}
	directions := make([]string, 20)
	directions[10], directions[11] = "b1->r", "r->b1"
	recs := []sim.Record{
		{T: 1, Node: 0, Kind: node.KindInput, W: [6]uint32{1}},
		{T: 1, Node: 0, Kind: node.KindInput, W: [6]uint32{2}},
		{T: 2, Node: 1, Kind: tcpstack.KindTCPSegmentSent, Conn: sim.MakeConnID(1, 1), Pkt: sim.MakePacketID(1, 1)},
		{T: 2, Node: 1, Kind: sim.KindMore},
		{T: 3, Node: 2, Kind: tcpstack.KindTCPSegmentReceived, Conn: sim.MakeConnID(1, 1), Pkt: sim.MakePacketID(1, 1)},
		{T: 3, Node: 2, Kind: sim.KindMore},
		{T: 4, Node: 2, Kind: link.KindHop, W: [6]uint32{10}},
		{T: 5, Node: 3, Kind: link.KindHop, W: [6]uint32{11}},
	}
	var raw []byte
	for i := range recs {
		raw = trace.AppendRecord(raw, &recs[i])
	}
	bob := sight.Of("bob", []*labv1.LabMember{member("bob", viewer, "b*")})
	for at := 64; at < len(raw); at += 64 { // wherever the messages are cut
		r := bob.NewRecords(func(index uint64) bool { return index == 2 })
		one, names, dirs, err := r.Cut(raw[:at], nodes, directions)
		if err != nil || names == nil {
			t.Fatal(names, err)
		}
		two, later, laterDirs, err := r.Cut(raw[at:], nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if later != nil {
			names, dirs = later, laterDirs
		}
		got, err := trace.DecodeRecords(append(slices.Clone(one), two...))
		if err != nil {
			t.Fatal(err)
		}
		if want := []sim.Record{recs[1], recs[4], recs[5], recs[6]}; !slices.Equal(got, want) {
			t.Fatalf("cut at %d: %v, want %v", at, got, want)
		}
		if want := []string{"", "a1", "b1", "", ""}; !slices.Equal(names, want) {
			t.Errorf("names %q, want %q", names, want)
		}
		if dirs[10] != "b1->r" || dirs[11] != "" {
			t.Errorf("directions %q", dirs)
		}
	}
	if _, _, _, err := bob.NewRecords(nil).Cut(raw[:63], nil, nil); err == nil {
		t.Error("half a record is taken")
	}
	all, names, _, err := sight.Whole().NewRecords(nil).Cut(raw, nodes, directions)
	if err != nil || len(all) != len(raw) || !slices.Equal(names, nodes) {
		t.Errorf("the owner's: %d bytes, %q, %v", len(all), names, err)
	}
}
