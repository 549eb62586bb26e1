package orchestrator

import (
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
)

// "addresses kept": an end whose number is only shifted by a link before it stays where it is.
func TestInterfacesAreKept(t *testing.T) {
	spec := func(links string) *labv1.LabSpec {
		s := &labv1.LabSpec{}
		for _, l := range strings.Fields(links) {
			a, b, _ := strings.Cut(l, "--")
			end := func(text string) *labv1.Endpoint {
				n, ifc, _ := strings.Cut(text, ":")
				return &labv1.Endpoint{Node: n, Interface: ifc}
			}
			s.Links = append(s.Links, &labv1.LinkSpec{A: end(a), B: end(b)})
		}
		return s
	}
	text := func(s *labv1.LabSpec) string {
		var links []string
		for _, l := range s.Links {
			links = append(links, endName(l.A)+"--"+endName(l.B))
		}
		return strings.Join(links, " ")
	}
	three := "r:eth0--a:eth0 r:eth1--b:eth0 r:eth2--c:eth0"
	for _, c := range []struct{ name, was, file, want string }{
		{"unchanged", three, three, three},
		{"one taken out", three, "r:eth0--a:eth0 r:eth1--c:eth0", "r:eth0--a:eth0 r:eth2--c:eth0"},
		{"one put in before", three, "r:eth0--d:eth0 r:eth1--a:eth0 r:eth2--b:eth0 r:eth3--c:eth0",
			"r:eth3--d:eth0 r:eth0--a:eth0 r:eth1--b:eth0 r:eth2--c:eth0"},
		{"put into another socket on purpose", three, "r:eth0--a:eth0 r:eth1--b:eth0 r:eth7--c:eth0", "r:eth0--a:eth0 r:eth1--b:eth0 r:eth7--c:eth0"},
		{"a second link beside", three, three + " r:eth3--a:eth1", three + " r:eth3--a:eth1"},
	} {
		if got := text(keepInterfaces(spec(c.was), spec(c.file))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	named := spec("r:eth0--a:eth0 r:eth1--c:eth0")
	named.Nodes = []*labv1.NodeSpec{{Name: "r", Interfaces: []*labv1.InterfaceSpec{{Name: "eth1"}}}}
	if got := text(keepInterfaces(spec(three), named)); got != text(named) {
		t.Errorf("interfaces that the file sets by name became %s", got)
	}
}
