package node

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"labd.dev/tcpstack/wire"
)

// Segments get networks out of 10.0.0.0/8, in the order of the names of their first links: a link alone four addresses,
// .1 for the end whose node comes first by name, .2 for the other; what switches join 256, so that there is room for
// more, or as many as are twice enough.
const (
	autoBase   = 10 << 24
	autoBits   = 30
	autoNets   = 1 << (autoBits - 8)
	switchBits = 24
)

// macs gives interfaces 02:00:00:00:00:01 and on (locally administered), in the order of node and interface names.
func (a *assignment) macs() {
	p := a.plan
	owner := map[wire.MAC]string{}
	a.eachInterface(func(n *NodePlan, i *InterfacePlan) {
		j := specInterface(n, i.Name)
		if j < 0 || n.Spec.Interfaces[j].GetMac() == "" {
			return
		}
		field := fmt.Sprintf("nodes[%d].interfaces[%d].mac", n.index, j)
		mac, ok := parseMAC(n.Spec.Interfaces[j].Mac)
		if !ok {
			a.errs.add(field, "%q is not a unicast MAC address like 02:00:00:00:00:01", n.Spec.Interfaces[j].Mac)
			return
		}
		i.MAC = mac
		if at, ok := owner[i.MAC]; ok {
			a.errs.add(field, "%s is the MAC address of %s already", n.Spec.Interfaces[j].Mac, at)
		}
		owner[i.MAC] = n.Name + ":" + i.Name
	})
	a.eachInterface(func(n *NodePlan, i *InterfacePlan) {
		if old := a.prevInterface(n.Name, i.Name); old != nil && i.MAC == (wire.MAC{}) && owner[old.MAC] == "" {
			i.MAC = old.MAC
			owner[i.MAC] = n.Name + ":" + i.Name
		}
	})
	a.eachInterface(func(n *NodePlan, i *InterfacePlan) {
		for i.MAC == (wire.MAC{}) {
			m := p.nextMAC
			p.nextMAC++
			mac := wire.MAC{2, byte(m >> 32), byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}
			if owner[mac] == "" {
				i.MAC = mac
			}
		}
	})
}

// parseMAC reads six bytes in hex with colons between them; the address must be a station's, not a group's.
func parseMAC(s string) (mac wire.MAC, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) != len(mac) {
		return mac, false
	}
	for i, p := range parts {
		b, err := hex.DecodeString(p)
		if err != nil || len(b) != 1 {
			return mac, false
		}
		mac[i] = b[0]
	}
	return mac, mac != wire.MAC{} && mac[0]&1 == 0
}

// eachInterface visits all interfaces in the order of node names, then interface names.
func (a *assignment) eachInterface(visit func(*NodePlan, *InterfacePlan)) {
	for _, i := range a.byName() {
		n := &a.plan.Nodes[i]
		for j := range n.Interfaces {
			visit(n, &n.Interfaces[j])
		}
	}
}

// byName is the nodes in name order. Ids follow names too, but not those of nodes that came later.
func (a *assignment) byName() []int {
	order := make([]int, len(a.plan.Nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		if a.plan.Nodes[x].Name < a.plan.Nodes[y].Name {
			return -1
		}
		return 1
	})
	return order
}

func specInterface(n *NodePlan, name string) int {
	for j, is := range n.Spec.GetInterfaces() {
		if is.GetName() == name {
			return j
		}
	}
	return -1
}

// prevInterface is what an interface was, or had been when its node last had it.
func (a *assignment) prevInterface(node, ifc string) *InterfacePlan {
	if i, ok := a.plan.goneIfcs[end{node, ifc}]; ok {
		return &i
	}
	return nil
}

// addresses honours the fixed ones, keeps what previous had, and deals out the rest.
func (a *assignment) addresses() {
	a.fixedAddresses()
	if len(a.errs) > 0 {
		return
	}
	a.keptAddresses()
	var used []netip.Prefix
	for i := range a.plan.Segments {
		s := &a.plan.Segments[i]
		a.completeSegment(s)
		if s.Subnet.IsValid() {
			used = append(used, s.Subnet)
		}
	}
	slices.SortFunc(used, netip.Prefix.Compare)
	for i := range a.plan.Segments {
		if s := &a.plan.Segments[i]; !s.Subnet.IsValid() && len(s.Stations) > 0 {
			a.freshNet(s, used)
		}
	}
	if len(a.errs) == 0 {
		a.checkClashes()
	}
}

func (a *assignment) fixedAddresses() {
	a.eachInterface(func(n *NodePlan, i *InterfacePlan) {
		j := specInterface(n, i.Name)
		if j < 0 || n.Spec.Interfaces[j].GetAddress() == "" {
			return
		}
		text := n.Spec.Interfaces[j].Address
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || !p.Addr().Is4():
			a.errs.add(a.addressField(n, i), "%q is not an IPv4 address with its network's length, like 10.0.1.2/24", text)
		case n.switches():
			a.errs.add(a.addressField(n, i), "%s is a switch and has no address", n.Name)
		case p.Bits() > 31 || p.Bits() < 8:
			a.errs.add(a.addressField(n, i), "a link's network is between /8 and /31, not /%d", p.Bits())
		case !usable(p):
			a.errs.add(a.addressField(n, i), "%s is not an address a host can have", text)
		default:
			i.Prefix = p
		}
	})
}

// usable reports whether p's address can be a host's: unicast, and neither its network's first nor its last.
func usable(p netip.Prefix) bool {
	ip := p.Addr()
	if ip.IsMulticast() || ip.IsLoopback() || ip.IsUnspecified() || ip.As4()[0] >= 240 || ip.As4()[0] == 0 {
		return false
	}
	// RFC 3021 2.1: on a point-to-point link with a /31 both addresses are hosts.
	return p.Bits() == 31 || ip != p.Masked().Addr() && ip != lastAddr(p)
}

func lastAddr(p netip.Prefix) netip.Addr {
	return ip4(num4(p.Masked().Addr()) | (1<<(32-p.Bits()) - 1))
}

func num4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func ip4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// addressField is where an interface's address stands in the spec, or the node where it was assigned.
func (a *assignment) addressField(n *NodePlan, i *InterfacePlan) string {
	if j := specInterface(n, i.Name); j >= 0 && n.Spec.Interfaces[j].GetAddress() != "" {
		return fmt.Sprintf("nodes[%d].interfaces[%d].address", n.index, j)
	}
	return fmt.Sprintf("nodes[%d]", n.index)
}

// keptAddresses keeps the addresses of segments where no station has a new fixed one. A network that two segments could
// keep stays with the one all of whose stations were on it, or else with the first.
func (a *assignment) keptAddresses() {
	if a.prev == nil {
		return
	}
	var fixed []netip.Prefix
	for i := range a.plan.Segments {
		for _, st := range a.plan.Segments[i].Stations {
			if p := a.plan.station(st).Prefix; p.IsValid() {
				fixed = append(fixed, p.Masked())
			}
		}
	}
	claimed := map[netip.Prefix]bool{}
	free := func(net netip.Prefix) bool { return !claimed[net] && !slices.ContainsFunc(fixed, net.Overlaps) }
	for _, whole := range []bool{true, false} {
		for i := range a.plan.Segments {
			s := &a.plan.Segments[i]
			if net, all := a.keptNet(s); net.IsValid() && all == whole && free(net) && a.fits(s, net) {
				claimed[net] = true
				a.keepOn(s, net)
			}
		}
	}
}

// keptNet is the network that the first station of a segment was on which was on any, and whether all were; none where
// a station's address is fixed.
func (a *assignment) keptNet(s *SegmentPlan) (net netip.Prefix, all bool) {
	all = true
	for _, st := range s.Stations {
		if a.plan.station(st).Prefix.IsValid() {
			return netip.Prefix{}, false
		}
		old := a.prevInterface(a.plan.Nodes[st.Node].Name, a.plan.station(st).Name)
		switch {
		case old == nil || !old.Prefix.IsValid():
			all = false
		case !net.IsValid():
			net = old.Prefix.Masked()
		default:
			all = all && old.Prefix.Masked() == net
		}
	}
	return net, all
}

// fits reports whether a network has an address for each station.
func (a *assignment) fits(s *SegmentPlan, net netip.Prefix) bool {
	return net.Bits() == 31 && len(s.Stations) <= 2 || len(s.Stations) <= 1<<(32-net.Bits())-2
}

func (a *assignment) keepOn(s *SegmentPlan, net netip.Prefix) {
	for _, st := range s.Stations {
		i := a.plan.station(st)
		if old := a.prevInterface(a.plan.Nodes[st.Node].Name, i.Name); old != nil && old.Prefix.Masked() == net {
			i.Prefix = old.Prefix
		}
	}
}

// completeSegment finds the network of a segment some of whose stations have addresses, and gives the others the first
// free ones of it.
func (a *assignment) completeSegment(s *SegmentPlan) {
	var have *InterfacePlan
	taken := map[netip.Addr]bool{}
	for _, st := range s.Stations {
		i := a.plan.station(st)
		switch {
		case !i.Prefix.IsValid():
		case have == nil:
			have = i
		case i.Prefix.Masked() != have.Prefix.Masked():
			other := "the link's other end"
			if s.Switched {
				other = "another station on the same switch"
			}
			a.errs.add(a.addressField(&a.plan.Nodes[st.Node], i), "%s is not in the network of %s, %s", i.Prefix, other, have.Prefix)
		}
		taken[i.Prefix.Addr()] = true
	}
	if have == nil {
		return
	}
	s.Subnet = have.Prefix.Masked()
	next, last := num4(s.Subnet.Addr()), num4(lastAddr(s.Subnet))
	for _, st := range s.Stations {
		i := a.plan.station(st)
		for ; !i.Prefix.IsValid(); next++ {
			if next > last {
				a.errs.add(a.addressField(&a.plan.Nodes[st.Node], i), "the network %s of %s has no address left for %s",
					s.Subnet, a.plan.Links[s.link].Name, a.plan.Nodes[st.Node].Name)
				return
			}
			if p := netip.PrefixFrom(ip4(next), s.Subnet.Bits()); usable(p) && !taken[p.Addr()] {
				i.Prefix = p
			}
		}
	}
}

// freshNet gives a segment the next network that overlaps none in use; used is sorted.
func (a *assignment) freshNet(s *SegmentPlan, used []netip.Prefix) {
	bits := autoBits
	if s.Switched {
		for bits = switchBits; bits > 8 && 2*len(s.Stations)+2 > 1<<(32-bits); {
			bits--
		}
	}
	nets := uint32(1) << (autoBits - bits) // of the least size
	for a.plan.nextNet = (a.plan.nextNet + nets - 1) / nets * nets; a.plan.nextNet+nets <= autoNets; {
		net := netip.PrefixFrom(ip4(autoBase+a.plan.nextNet<<(32-autoBits)), bits)
		a.plan.nextNet += nets
		if overlapsAny(net, used) {
			continue
		}
		s.Subnet = net
		for k, st := range s.Stations {
			a.plan.station(st).Prefix = netip.PrefixFrom(ip4(num4(net.Addr())+1+uint32(k)), bits)
		}
		return
	}
	a.errs.add("links", "10.0.0.0/8 has no network left for a link")
}

// overlapsAny looks among sorted prefixes that do not overlap each other, or whose clash is reported later.
func overlapsAny(p netip.Prefix, sorted []netip.Prefix) bool {
	i, _ := slices.BinarySearchFunc(sorted, lastAddr(p), func(q netip.Prefix, last netip.Addr) int { return q.Addr().Compare(last) })
	for _, j := range []int{i - 1, i} {
		if j >= 0 && j < len(sorted) && sorted[j].Overlaps(p) {
			return true
		}
	}
	return false
}

// checkClashes finds two interfaces with one address and two segments whose networks overlap.
func (a *assignment) checkClashes() {
	var nets []*SegmentPlan
	for i := range a.plan.Segments {
		s := &a.plan.Segments[i]
		taken := map[netip.Addr]bool{}
		for _, st := range s.Stations {
			ifc, n := a.plan.station(st), &a.plan.Nodes[st.Node]
			switch {
			case !taken[ifc.Prefix.Addr()]:
			case s.Switched:
				a.errs.add(a.addressField(n, ifc), "two stations on one switch have the address %s", ifc.Prefix.Addr())
			default:
				a.errs.add(a.addressField(n, ifc), "both ends of %s have the address %s", a.plan.Links[s.link].Name, ifc.Prefix.Addr())
			}
			taken[ifc.Prefix.Addr()] = true
		}
		if s.Subnet.IsValid() {
			nets = append(nets, s)
		}
	}
	slices.SortStableFunc(nets, func(x, y *SegmentPlan) int { return x.Subnet.Compare(y.Subnet) })
	widest := 0 // of those before, the one that reaches furthest
	for i := 1; i < len(nets); i++ {
		w := nets[widest]
		if w.Subnet.Overlaps(nets[i].Subnet) {
			a.errs.add(a.blame(nets[i]), "the network %s of %s overlaps %s of %s",
				nets[i].Subnet, a.plan.Links[nets[i].link].Name, w.Subnet, a.plan.Links[w.link].Name)
		}
		if lastAddr(w.Subnet).Less(lastAddr(nets[i].Subnet)) {
			widest = i
		}
	}
}

// blame is the field of a segment's last fixed address, or else of its last station.
func (a *assignment) blame(s *SegmentPlan) string {
	at := s.Stations[len(s.Stations)-1]
	for _, st := range s.Stations {
		if specHasAddress(&a.plan.Nodes[st.Node], a.plan.station(st)) {
			at = st
		}
	}
	return a.addressField(&a.plan.Nodes[at.Node], a.plan.station(at))
}

func specHasAddress(n *NodePlan, i *InterfacePlan) bool {
	j := specInterface(n, i.Name)
	return j >= 0 && n.Spec.Interfaces[j].GetAddress() != ""
}
