package validate

import (
	"math"
	"net"
	"net/netip"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

// Lab checks a lab: every field, and what only the whole shows.
func Lab(spec *labv1.LabSpec) []Violation {
	f := &found{}
	if spec == nil {
		f.add("", "there is no lab")
		return f.list
	}
	f.settings(spec)
	if len(spec.Nodes) == 0 {
		f.add("nodes", "a lab needs at least one node")
	}
	l := f.names(spec)
	for i, n := range spec.Nodes {
		if f.full() {
			break
		}
		f.node(at("", "nodes", i), n)
	}
	for i, k := range spec.Links {
		if f.full() {
			break
		}
		f.direction(at("", "links", i)+".forward", k.GetForward())
		f.direction(at("", "links", i)+".reverse", k.GetReverse())
	}
	f.addresses(spec, l)
	return f.list
}

// Names checks names and who is joined to whom, and nothing else: what can be said of a file whose values could not all
// be read.
func Names(spec *labv1.LabSpec) []Violation {
	f := &found{}
	f.names(spec)
	return f.list
}

func (f *found) settings(s *labv1.LabSpec) {
	if len(s.Name) > maxName || !labName.MatchString(s.Name) {
		f.add("name", "%q is not a lab's name: lower-case letters, digits and -, at most %d", clip(s.Name), maxName)
	}
	if math.IsNaN(s.Pace) || s.Pace < 0 || s.Pace > maxPace {
		f.add("pace", "must be from 0 to %g", float64(maxPace))
	}
	if unknown(s.Clock, labv1.Clock_name) {
		f.add("clock", "unknown value %d", s.Clock)
	}
	if unknown(s.Checksums, labv1.Checksums_name) {
		f.add("checksums", "unknown value %d", s.Checksums)
	}
	if unknown(s.Record, labv1.Record_name) {
		f.add("record", "unknown value %d", s.Record)
	}
	if n := s.GetPlacement().GetLoops(); n > maxLoops {
		f.add("placement.loops", "must be at most %d", maxLoops)
	}
	if n := s.GetPlacement().GetWorkers(); n > maxWorkers {
		f.add("placement.workers", "must be at most %d", maxWorkers)
	}
}

// unknown reports whether an enum's value is none of its names; proto3 lets any number through.
func unknown[E ~int32](v E, names map[int32]string) bool { return names[int32(v)] == "" }

// layout is who is joined to whom.
type layout struct {
	nodes map[string]int    // by name, index in the spec
	names []string          // of the nodes, sorted
	peers map[string]string // "node:ethN" to the other end's
}

func (f *found) names(s *labv1.LabSpec) *layout {
	l := &layout{nodes: map[string]int{}, peers: map[string]string{}}
	if len(s.Nodes) > maxNodes {
		f.add("nodes", "%d nodes are more than %d", len(s.Nodes), maxNodes)
		return l
	}
	if len(s.Links) > maxLinks {
		f.add("links", "%d links are more than %d", len(s.Links), maxLinks)
		return l
	}
	for i, n := range s.Nodes {
		path, name := at("", "nodes", i)+".name", n.GetName()
		_, twice := l.nodes[name]
		switch {
		case len(name) > maxName || !nodeName.MatchString(name) || strings.Contains(name, "--"):
			f.add(path, "%q is not a node's name: a letter, then letters, digits, _ . -, at most %d, no --", clip(name), maxName)
		case twice:
			f.add(path, "there are two nodes named %q", name)
		}
		if !twice {
			l.nodes[name] = i
		}
	}
	l.names = mapKeys(l.nodes)
	used := map[string]int{}
	for i, k := range s.Links {
		if f.full() {
			break
		}
		f.link(l, used, i, k)
	}
	return l
}

func (f *found) link(l *layout, used map[string]int, i int, k *labv1.LinkSpec) {
	path := at("", "links", i)
	if k.GetA() == nil || k.GetB() == nil {
		f.add(path, "a link needs two endpoints")
		return
	}
	var ends []string
	for _, e := range []struct {
		field string
		*labv1.Endpoint
	}{{"a", k.A}, {"b", k.B}} {
		if _, ok := l.nodes[e.Node]; !ok {
			f.suggest(sub(path, e.field)+".node", Nearest(e.Node, l.names), "no node %q", clip(e.Node))
			continue
		}
		if e.Interface == "" {
			continue
		}
		if !ifcName.MatchString(e.Interface) {
			f.add(sub(path, e.field)+".interface", "%q is not an interface: eth0, eth1, ...", clip(e.Interface))
			continue
		}
		end := e.Node + ":" + e.Interface
		if other, ok := used[end]; ok {
			f.add(sub(path, e.field)+".interface", "%s is already an end of link %d (%s)", end, other+1, linkText(l, end))
			continue
		}
		used[end] = i
		ends = append(ends, end)
	}
	if k.A.Node == k.B.Node && k.A.Node != "" {
		f.add(path+".b.node", "a link joins two different nodes, not %q with itself", clip(k.A.Node))
		return
	}
	if len(ends) == 2 {
		l.peers[ends[0]], l.peers[ends[1]] = ends[1], ends[0]
	}
}

func linkText(l *layout, end string) string {
	if peer := l.peers[end]; peer != "" {
		return end + "--" + peer
	}
	return end
}

func mapKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	return sorted(keys)
}

func (f *found) node(path string, n *labv1.NodeSpec) {
	if unknown(n.GetKind(), labv1.NodeKind_name) {
		f.add(path+".kind", "unknown value %d", n.GetKind())
	}
	if n.GetKind() == labv1.NodeKind_NODE_KIND_SWITCH {
		f.switchNode(path, n)
		return
	}
	f.tcp(path+".tcp", n.GetTcp())
	f.ip(path+".ip", n.GetIp())
	for _, c := range []struct {
		field string
		n     int
	}{{"interfaces", len(n.GetInterfaces())}, {"routes", len(n.GetRoutes())}, {"apps", len(n.GetApps())}} {
		if c.n > maxPerNode {
			f.add(sub(path, c.field), "%d are more than %d", c.n, maxPerNode)
			return
		}
	}
	for i, r := range n.GetRoutes() {
		if p, err := netip.ParsePrefix(r.GetDestination()); err != nil || p.Addr().Is4In6() || p.Masked() != p {
			f.add(at(path, "routes", i)+".destination", "%q is not a prefix like 10.9.0.0/16 or fd00:9::/48", clip(r.GetDestination()))
		} else if a, err := netip.ParseAddr(r.GetVia()); err != nil || a.Is4() != p.Addr().Is4() || a.Zone() != "" {
			f.add(at(path, "routes", i)+".via", "%q is not an address of the same version of IP as %s", clip(r.GetVia()), p)
		}
	}
	f.apps(path, n)
}

// switchNode refuses what only a node with a TCP/IP stack can have.
func (f *found) switchNode(path string, n *labv1.NodeSpec) {
	for _, c := range []struct {
		field string
		has   bool
	}{{"tcp", n.GetTcp() != nil}, {"ip", n.GetIp() != nil}, {"routes", len(n.GetRoutes()) > 0}, {"apps", len(n.GetApps()) > 0}} {
		if c.has {
			f.add(sub(path, c.field), "a switch forwards frames by their MAC addresses: it has no TCP/IP stack and no %s", c.field)
		}
	}
	if len(n.GetInterfaces()) > maxPerNode {
		f.add(path+".interfaces", "%d are more than %d", len(n.GetInterfaces()), maxPerNode)
		return
	}
	for i, ifc := range n.GetInterfaces() {
		if ifc.GetAddress() != "" {
			f.add(at(path, "interfaces", i)+".address", "a switch has no address")
		}
	}
}

const (
	minRAIntervalNs = 4e9 // RFC 4861 6.2.1: MaxRtrAdvInterval "MUST be no less than 4 seconds and no greater than 1800"
	maxRAIntervalNs = 1800e9
	maxDADTransmits = 16 // seconds that an address is waited for, with the usual interval
)

func (f *found) ip(path string, s *labv1.IpSettings) {
	if s == nil {
		return
	}
	if s.Ttl > 255 {
		f.add(path+".ttl", "must be from 1 to 255")
	}
	f.span(path+".reassembly_timeout_ns", s.GetReassemblyTimeoutNs(), maxTimerNs)
	f.span(path+".arp_timeout_ns", s.GetArpTimeoutNs(), maxTimerNs)
	f.span(path+".arp_retry_ns", s.GetArpRetryNs(), maxTimerNs)
	if s.RaIntervalNs != 0 && (s.RaIntervalNs < minRAIntervalNs || s.RaIntervalNs > maxRAIntervalNs) {
		f.add(path+".ra_interval_ns", "must be from 4s to 1800s (RFC 4861 6.2.1)")
	}
	if s.DadTransmits > maxDADTransmits {
		f.add(path+".dad_transmits", "must be at most %d", maxDADTransmits)
	}
	if (s.Slaac || s.RouterAdvertisements) && s.Version == labv1.IpVersion_IP_VERSION_IPV4 {
		f.add(path+".version", "slaac and routerAdvertisements are IPv6's")
	}
}

// addresses checks what was fixed: that it can be, that no two are the same, and that the two ends of a link agree.
func (f *found) addresses(s *labv1.LabSpec, l *layout) {
	byAddr, byMAC := map[netip.Addr]string{}, map[string]string{}
	fixed := map[string]netip.Prefix{}
	named := allNamed(s)
	for i, n := range s.Nodes {
		seen := map[string]bool{}
		for j, ifc := range n.GetInterfaces() {
			if f.full() {
				return
			}
			path, end := at(at("", "nodes", i), "interfaces", j), n.GetName()+":"+ifc.GetName()
			switch {
			case seen[ifc.GetName()]:
				f.add(path+".name", "interface %q is given twice", clip(ifc.GetName()))
			case l.peers[end] == "" && named:
				f.add(path+".name", "no link ends at %s", clip(end))
			}
			seen[ifc.GetName()] = true
			f.mac(path+".mac", ifc.GetMac(), end, byMAC)
			f.address(path+".address", ifc.GetAddress(), end, byAddr, fixed, l)
			f.address6(path+".address6", ifc.GetAddress6(), end, byAddr)
		}
	}
}

// allNamed reports whether every link's interfaces are filled in, so that an interface without a link is certain.
func allNamed(s *labv1.LabSpec) bool {
	for _, k := range s.Links {
		if k.GetA().GetInterface() == "" || k.GetB().GetInterface() == "" {
			return false
		}
	}
	return true
}

func (f *found) mac(path, text, end string, seen map[string]string) {
	if text == "" {
		return
	}
	hw, err := net.ParseMAC(text)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 {
		f.add(path, "%q is not a unicast MAC address like 02:00:00:00:00:01", clip(text))
		return
	}
	if other := seen[hw.String()]; other != "" {
		f.add(path, "%s is already the MAC address of %s", text, other)
	}
	seen[hw.String()] = end
}

func (f *found) address(path, text, end string, seen map[netip.Addr]string, fixed map[string]netip.Prefix, l *layout) {
	if text == "" {
		return
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !p.Addr().Is4():
		f.add(path, "%q is not an IPv4 address with its prefix, like 10.0.1.2/24", clip(text))
		return
	case p.Bits() < 8 || p.Bits() > 31:
		f.add(path, "a link's network is from /8 to /31, not /%d", p.Bits())
		return
	case !hostAddress(p):
		f.add(path, "%s is not an address that a host can have", text)
		return
	}
	if other := seen[p.Addr()]; other != "" {
		f.add(path, "address clash: %s is already the address of %s", p.Addr(), other)
		return
	}
	seen[p.Addr()] = end
	fixed[end] = p
	if q, ok := fixed[l.peers[end]]; ok && q.Masked() != p.Masked() {
		f.add(path, "%s is not in the network of the link's other end, %s at %s", text, q, l.peers[end])
	}
}

// address6 checks a fixed IPv6 address by itself; node.Assign sees whether it fits its link.
func (f *found) address6(path, text, end string, seen map[netip.Addr]string) {
	if text == "" {
		return
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !p.Addr().Is6() || p.Addr().Is4In6():
		f.add(path, "%q is not an IPv6 address with its prefix, like fd00:1::2/64", clip(text))
		return
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsUnspecified() || p.Addr().IsLinkLocalUnicast():
		f.add(path, "%s is not an address that a host can be given", text)
		return
	}
	if other := seen[p.Addr()]; other != "" {
		f.add(path, "address clash: %s is already the address of %s", p.Addr(), other)
		return
	}
	seen[p.Addr()] = end
}

// hostAddress reports whether a prefix's address is unicast and neither its network's first nor its last.
func hostAddress(p netip.Prefix) bool {
	a := p.Addr()
	b := a.As4()
	if a.IsMulticast() || a.IsLoopback() || b[0] == 0 || b[0] >= 240 {
		return false
	}
	// RFC 3021 2.1: on a point-to-point link with a /31 both addresses are hosts'.
	if p.Bits() == 31 {
		return true
	}
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	host := uint32(1)<<(32-p.Bits()) - 1
	return v&host != 0 && v&host != host
}
