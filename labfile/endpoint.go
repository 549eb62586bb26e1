package labfile

import (
	"fmt"
	"strconv"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

// parseEndpoint reads "r1" or "r1:eth0".
func parseEndpoint(s string) (*labv1.Endpoint, error) {
	node, ifc, named := strings.Cut(s, ":")
	if node == "" || named && ifc == "" {
		return &labv1.Endpoint{}, fmt.Errorf("%q is not an endpoint; write node or node:ethN", s)
	}
	return &labv1.Endpoint{Node: node, Interface: ifc}, nil
}

// assignInterfaces gives each endpoint that names none its node's next free ethN, in the order of the links.
func assignInterfaces(spec *labv1.LabSpec) {
	type place struct{ node, ifc string }
	taken := map[place]bool{}
	var open []*labv1.Endpoint
	for _, l := range spec.Links {
		for _, e := range []*labv1.Endpoint{l.A, l.B} {
			if e.GetInterface() != "" {
				taken[place{e.Node, e.Interface}] = true
			} else if e != nil {
				open = append(open, e)
			}
		}
	}
	next := map[string]int{}
	for _, e := range open {
		for e.Interface == "" {
			p := place{e.Node, "eth" + strconv.Itoa(next[e.Node])}
			next[e.Node]++
			if !taken[p] {
				e.Interface = p.ifc
			}
		}
	}
}
