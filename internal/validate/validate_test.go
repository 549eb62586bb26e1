package validate_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"labd.dev/internal/validate"
	labv1 "labd.dev/proto/lab/v1"
)

// two is a lab that is right: a test breaks one thing of it.
func two() *labv1.LabSpec {
	return &labv1.LabSpec{
		Name:  "x",
		Nodes: []*labv1.NodeSpec{{Name: "a"}, {Name: "b"}, {Name: "r", Kind: labv1.NodeKind_NODE_KIND_ROUTER}},
		Links: []*labv1.LinkSpec{
			{A: &labv1.Endpoint{Node: "a", Interface: "eth0"}, B: &labv1.Endpoint{Node: "b", Interface: "eth0"}, Forward: &labv1.DirectionSpec{}},
			{A: &labv1.Endpoint{Node: "b", Interface: "eth1"}, B: &labv1.Endpoint{Node: "r", Interface: "eth0"}},
		},
	}
}

func TestLab(t *testing.T) {
	if v := validate.Lab(two()); v != nil {
		t.Fatalf("a right lab: %v", v)
	}
	for _, c := range []struct {
		name   string
		change func(*labv1.LabSpec)
		want   string
	}{
		{"name", func(s *labv1.LabSpec) { s.Name = "No Lab" }, `name: "No Lab" is not a lab's name`},
		{"no nodes", func(s *labv1.LabSpec) { s.Nodes, s.Links = nil, nil }, "nodes: a lab needs at least one node"},
		{"name of a direction", func(s *labv1.LabSpec) { s.Nodes[0].Name = "a->b" }, `nodes[0].name: "a->b" is not a node's name`},
		{"name of a link", func(s *labv1.LabSpec) { s.Nodes[0].Name = "a--b" }, `nodes[0].name: "a--b" is not a node's name`},
		{"twice", func(s *labv1.LabSpec) { s.Nodes[1].Name = "a" }, `nodes[1].name: there are two nodes named "a"`},
		{"nobody", func(s *labv1.LabSpec) { s.Links[0].A.Node = "A" }, `links[0].a.node: no node "A"; did you mean a?`},
		{"interface", func(s *labv1.LabSpec) { s.Links[0].A.Interface = "wlan0" }, `links[0].a.interface: "wlan0" is not an interface`},
		{"taken", func(s *labv1.LabSpec) { s.Links[1].A.Interface = "eth0" }, `links[1].a.interface: b:eth0 is already an end of link 1 (b:eth0--a:eth0)`},
		{"half a link", func(s *labv1.LabSpec) { s.Links[0].B = nil }, `links[0]: a link needs two endpoints`},
		{"not a number", func(s *labv1.LabSpec) { s.Links[0].Forward.Corrupt = math.NaN() }, "links[0].forward.corrupt: is not a number"},
		{"a timeout of nothing", func(s *labv1.LabSpec) { s.Nodes[0].Tcp = &labv1.TcpSettings{MaxRtoNs: new(int64)} }, "nodes[0].tcp.max_rto_ns: must be at least 0.001s"},
		{"past the end of time", func(s *labv1.LabSpec) { s.Links[0].Forward.DelayNs = math.MaxInt64 }, "links[0].forward.delay_ns: must be at most 3600s"},
		{"mtu", func(s *labv1.LabSpec) { s.Links[0].Forward.MtuBytes = 60 }, "links[0].forward.mtu_bytes: must be from 68 to 65535 B, got 60"},
		{"unknown enum", func(s *labv1.LabSpec) { s.Nodes[0].Kind = 77 }, "nodes[0].kind: unknown value 77"},
		{"frames", func(s *labv1.LabSpec) {
			s.Links[0].Forward.Loss = &labv1.Loss{Model: &labv1.Loss_Frames{Frames: &labv1.FrameList{Frames: []uint64{3, 3}}}}
		}, "links[0].forward.loss.frames.frames[1]: frames are counted from 1 and listed in ascending order; 3 comes after 3"},
		{"congestion", func(s *labv1.LabSpec) { s.Nodes[0].Tcp = &labv1.TcpSettings{Congestion: proto.String("cubci")} }, `nodes[0].tcp.congestion: no congestion control "cubci"; did you mean cubic?`},
		{"address", func(s *labv1.LabSpec) {
			s.Nodes[0].Interfaces = []*labv1.InterfaceSpec{{Name: "eth0", Address: "10.0.0.0/24"}}
		}, "nodes[0].interfaces[0].address: 10.0.0.0/24 is not an address that a host can have"},
		{"two networks", func(s *labv1.LabSpec) {
			s.Nodes[0].Interfaces = []*labv1.InterfaceSpec{{Name: "eth0", Address: "10.0.0.1/24"}}
			s.Nodes[1].Interfaces = []*labv1.InterfaceSpec{{Name: "eth0", Address: "10.0.1.1/24"}}
		}, "nodes[1].interfaces[0].address: 10.0.1.1/24 is not in the network of the link's other end, 10.0.0.1/24 at a:eth0"},
		{"no such interface", func(s *labv1.LabSpec) { s.Nodes[0].Interfaces = []*labv1.InterfaceSpec{{Name: "eth7"}} }, "nodes[0].interfaces[0].name: no link ends at a:eth7"},
		{"ports", func(s *labv1.LabSpec) {
			s.Nodes[0].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Port: 9}}}, {App: &labv1.AppSpec_Sink{Sink: &labv1.SinkApp{}}}}
		}, "nodes[0].apps[1].sink.port: port 9 of this node is already taken by another app"},
		{"out of the root", func(s *labv1.LabSpec) {
			s.Nodes[0].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Files: []*labv1.FileRef{{Path: "../x", Sha256: strings.Repeat("0", 64)}}}}}}
		}, `nodes[0].apps[0].http.files[0].path: "../x" is not a relative path without ..`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := two()
			c.change(s)
			v := validate.Lab(s)
			if len(v) == 0 || !strings.HasPrefix(v[0].Error(), c.want) {
				t.Errorf("got %v, want %s", v, c.want)
			}
		})
	}
}

func TestInput(t *testing.T) {
	transfer := func(t *labv1.Transfer) *labv1.Input { return &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: t}} }
	fault := func(f *labv1.Fault) *labv1.Input { return &labv1.Input{Kind: &labv1.Input_Fault{Fault: f}} }
	bytes := &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1}
	for _, c := range []struct {
		name string
		in   *labv1.Input
		want string // empty: right
	}{
		{"transfer", transfer(&labv1.Transfer{From: "a", To: "b", Content: bytes}), ""},
		{"nothing to send", transfer(&labv1.Transfer{From: "a", To: "b"}), "transfer: what to send is missing"},
		{"to a router", transfer(&labv1.Transfer{From: "a", To: "r", Content: bytes}), `transfer.to: "r" is a router; only hosts run applications`},
		{"to itself", transfer(&labv1.Transfer{From: "a", To: "a", Content: bytes}), "transfer.to: from and to are the same node"},
		{"url", &labv1.Input{Kind: &labv1.Input_HttpGet{HttpGet: &labv1.HttpGet{From: "a", Url: "https://b/x"}}}, `http_get.url: "https://b/x" is not a URL like`},
		{"host of a url", &labv1.Input{Kind: &labv1.Input_HttpGet{HttpGet: &labv1.HttpGet{From: "a", Url: "http://c/x"}}}, `http_get.url: no node "c"`},
		{"address of a url", &labv1.Input{Kind: &labv1.Input_HttpGet{HttpGet: &labv1.HttpGet{From: "a", Url: "http://10.0.0.2:8080/x"}}}, ""},
		{"ping of a router", &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{From: "a", To: "r"}}}, ""},
		{"link either way round", fault(&labv1.Fault{Link: "b--a", Effect: &labv1.Fault_Down{}}), ""},
		{"direction", fault(&labv1.Fault{Link: "b->a", Effect: &labv1.Fault_Down{}}), ""},
		{"no such direction", fault(&labv1.Fault{Link: "a->r", Effect: &labv1.Fault_Down{}}), `fault.link: no link "a->r"`},
		{"crash", fault(&labv1.Fault{Node: "a", Effect: &labv1.Fault_Crash{}}), ""},
		{"crash of a link", fault(&labv1.Fault{Link: "a--b", Effect: &labv1.Fault_Crash{}}), "fault.node: which node is missing"},
		{"down of a node", fault(&labv1.Fault{Node: "a", Effect: &labv1.Fault_Down{}}), "fault.node: this fault is for links, not for nodes"},
		{"reboot takes no time", fault(&labv1.Fault{Node: "a", DurationNs: 1, Effect: &labv1.Fault_Reboot{}}), "fault.duration_ns: a reboot takes no time"},
		{"rate of nothing", fault(&labv1.Fault{Link: "a--b", Effect: &labv1.Fault_RateBps{}}), "fault.rate_bps: must be at least 1 bit"},
		{"queue of nothing", fault(&labv1.Fault{Link: "a--b", Effect: &labv1.Fault_Queue{Queue: &labv1.Queue{}}}), "fault.queue: must hold at least 1 packet"},
		{"no effect", fault(&labv1.Fault{Link: "a--b"}), "fault: what the fault does is missing"},
		{"no kind", &labv1.Input{}, ": an input needs a kind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := validate.Input(two(), c.in)
			if c.want == "" && v != nil || c.want != "" && (len(v) == 0 || !strings.HasPrefix(v[0].Error(), c.want)) {
				t.Errorf("got %v, want %q", v, c.want)
			}
		})
	}
}

// Two nodes that share two links: their names carry interfaces.
func TestParallelLinks(t *testing.T) {
	s := two()
	s.Links[1] = &labv1.LinkSpec{A: &labv1.Endpoint{Node: "b", Interface: "eth1"}, B: &labv1.Endpoint{Node: "a", Interface: "eth1"}}
	if got := strings.Join(validate.LinkNames(s), " "); got != "a:eth0--b:eth0 b:eth1--a:eth1" {
		t.Errorf("names %s", got)
	}
}

// What anybody may send neither panics nor takes long, however much of it is wrong or missing.
func TestHostileMessages(t *testing.T) {
	for name, s := range map[string]*labv1.LabSpec{
		"nothing":      nil,
		"empty":        {},
		"empty things": {Name: "x", Nodes: []*labv1.NodeSpec{{}, nil}, Links: []*labv1.LinkSpec{{}, nil, {A: &labv1.Endpoint{}, B: &labv1.Endpoint{}}}},
		"empty apps":   {Name: "x", Nodes: []*labv1.NodeSpec{{Name: "a", Apps: []*labv1.AppSpec{{}, nil, {App: &labv1.AppSpec_Http{}}, {App: &labv1.AppSpec_Sink{}}}, Interfaces: []*labv1.InterfaceSpec{nil}, Routes: []*labv1.RouteSpec{nil}}}},
	} {
		if v := validate.Lab(s); len(v) == 0 {
			t.Errorf("%s: nothing wrong with it", name)
		}
		validate.Input(s, nil)
		for _, in := range []*labv1.Input{nil, {}, {Kind: &labv1.Input_Transfer{}}, {Kind: &labv1.Input_HttpGet{}}, {Kind: &labv1.Input_Udp{}}, {Kind: &labv1.Input_Ping{}},
			{Kind: &labv1.Input_Traceroute{}}, {Kind: &labv1.Input_Send{}}, {Kind: &labv1.Input_Send{Send: &labv1.RawSend{Packets: []*labv1.RawPacket{nil, {Fields: []*labv1.RawField{nil}}}}}}, {Kind: &labv1.Input_Fault{}}, {Kind: &labv1.Input_ClearFault{}}} {
			if v := validate.Input(s, in); len(v) == 0 {
				t.Errorf("%s: nothing wrong with input %v", name, in)
			}
		}
	}
	big := &labv1.LabSpec{Name: "x"}
	for i := range 50_000 {
		big.Nodes = append(big.Nodes, &labv1.NodeSpec{Name: fmt.Sprintf("node-with-a-rather-long-name-%d", i), Interfaces: []*labv1.InterfaceSpec{{Name: "eth9"}}})
		big.Links = append(big.Links, &labv1.LinkSpec{A: &labv1.Endpoint{Node: "node-with-a-rather-long-mane"}, B: &labv1.Endpoint{Node: "nobody"}})
	}
	start := time.Now()
	if v := validate.Lab(big); len(v) != 100 {
		t.Errorf("%d violations, want the first 100", len(v))
	}
	if d := time.Since(start); d > time.Minute {
		t.Errorf("took %v", d)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"dealy", "delay"}, {"Delay", "delay"}, {"delai", "delay"}, {"lss", "loss"}, {"bandwidth", ""}, {"", ""}, {strings.Repeat("x", 1000), ""},
	} {
		if got := validate.Nearest(c.word, []string{"rate", "delay", "loss", "queue"}); got != c.want {
			t.Errorf("%q: %q, want %q", c.word, got, c.want)
		}
	}
}
