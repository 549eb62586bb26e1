package node

import (
	"fmt"
	"net/netip"
	"slices"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/tcpstack"
)

// An IPv6 network is assigned beside each IPv4 one and follows from it, so that nothing is renumbered that IPv4 does not
// renumber: 10.0.1.4/30 is fd00:0:a00:104::/64, with the network's four bytes in the middle, and what is host 2 there is
// ::2 here. (RFC 4193 3.2.2 wants 40 random bits after fd; a lab's networks meet nobody else's, and these can be read.)
const (
	autoBits6 = 64
	// minBits6 and maxBits6 bound the length of a link's network that a file fixes.
	minBits6 = 16
	maxBits6 = 127
)

// autoNet6 is the IPv6 network that belongs to an IPv4 one.
func autoNet6(net netip.Prefix) netip.Prefix {
	b := net.Masked().Addr().As4()
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0, 0, b[0], b[1], b[2], b[3]}), autoBits6)
}

// hostNumber is an address's place in its network. On a /31, whose first address is a host's, it is one more: an IPv6
// network's first address is all its routers' (RFC 4291 2.6.1).
func hostNumber(p netip.Prefix) uint32 {
	n := num4(p.Addr()) - num4(p.Masked().Addr())
	if p.Bits() == 31 {
		n++
	}
	return n
}

// speaks reports whether a node has a version of IP.
func (n *NodePlan) speaks(f labv1.Family) bool {
	switch n.Spec.GetIp().GetVersion() {
	case labv1.IpVersion_IP_VERSION_IPV4:
		return f == labv1.Family_FAMILY_IPV4
	case labv1.IpVersion_IP_VERSION_IPV6:
		return f == labv1.Family_FAMILY_IPV6
	}
	return true
}

// slaac reports whether a node makes its own IPv6 addresses.
func (n *NodePlan) slaac() bool {
	return n.Spec.GetIp().GetSlaac() && n.kind() == labv1.NodeKind_NODE_KIND_HOST
}

// addresses6 honours the fixed IPv6 addresses and deals out the rest.
func (a *assignment) addresses6() {
	a.fixedAddresses6()
	if len(a.errs) > 0 {
		return
	}
	for i := range a.plan.Segments {
		if s := &a.plan.Segments[i]; s.Subnet.IsValid() {
			a.completeSegment6(s)
		}
	}
	if len(a.errs) == 0 {
		a.checkOverlaps6()
	}
}

func (a *assignment) fixedAddresses6() {
	a.eachInterface(func(n *NodePlan, i *InterfacePlan) {
		j := specInterface(n, i.Name)
		if j < 0 || n.Spec.Interfaces[j].GetAddress6() == "" {
			return
		}
		text, field := n.Spec.Interfaces[j].Address6, a.addressField6(n, i)
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || !p.Addr().Is6() || p.Addr().Is4In6():
			a.errs.add(field, "%q is not an IPv6 address with its network's length, like fd00:1::2/64", text)
		case n.switches():
			a.errs.add(field, "%s is a switch and has no address", n.Name)
		case !n.speaks(labv1.Family_FAMILY_IPV6):
			a.errs.add(field, "%s has no IPv6", n.Name)
		case n.slaac():
			a.errs.add(field, "%s makes its own IPv6 address (slaac)", n.Name)
		case p.Bits() < minBits6 || p.Bits() > maxBits6:
			a.errs.add(field, "a link's IPv6 network is between /%d and /%d, not /%d", minBits6, maxBits6, p.Bits())
		case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsUnspecified() || p.Addr().IsLinkLocalUnicast():
			a.errs.add(field, "%s is not an address a host can be given", text)
		default:
			i.Prefix6 = p
		}
	})
}

// addressField6 is where an interface's IPv6 address stands in the spec, or the node where it was assigned.
func (a *assignment) addressField6(n *NodePlan, i *InterfacePlan) string {
	if j := specInterface(n, i.Name); j >= 0 && n.Spec.Interfaces[j].GetAddress6() != "" {
		return fmt.Sprintf("nodes[%d].interfaces[%d].address6", n.index, j)
	}
	return fmt.Sprintf("nodes[%d]", n.index)
}

// completeSegment6 finds a segment's IPv6 network and gives an address to each station that has none.
func (a *assignment) completeSegment6(s *SegmentPlan) {
	for _, st := range s.Stations {
		i, n := a.plan.station(st), &a.plan.Nodes[st.Node]
		switch {
		case !i.Prefix6.IsValid():
		case !s.Subnet6.IsValid():
			s.Subnet6 = i.Prefix6.Masked()
		case s.Subnet6 != i.Prefix6.Masked():
			a.errs.add(a.addressField6(n, i), "%s is not in %s, the IPv6 network of %s", i.Prefix6, s.Subnet6, a.plan.Links[s.link].Name)
			return
		}
	}
	if !s.Subnet6.IsValid() {
		s.Subnet6 = autoNet6(s.Subnet)
	}
	owner := map[netip.Addr]string{}
	for _, st := range s.Stations {
		i, n := a.plan.station(st), &a.plan.Nodes[st.Node]
		switch {
		case i.Prefix6.IsValid() || !n.speaks(labv1.Family_FAMILY_IPV6):
		case n.slaac() && s.Subnet6.Bits() != autoBits6:
			a.errs.add(a.addressField6(n, i), "%s makes its own address (slaac), for which %s must be a /64", n.Name, s.Subnet6)
			return
		case n.slaac():
			i.Prefix6 = tcpstack.SLAACAddress(s.Subnet6, i.MAC)
		default:
			b := s.Subnet6.Addr().As16()
			h := hostNumber(i.Prefix)
			b[12], b[13], b[14], b[15] = b[12]|byte(h>>24), b[13]|byte(h>>16), b[14]|byte(h>>8), b[15]|byte(h)
			i.Prefix6 = netip.PrefixFrom(netip.AddrFrom16(b), s.Subnet6.Bits())
			if !s.Subnet6.Contains(i.Prefix6.Addr()) {
				a.errs.add(a.addressField6(n, i), "%s has no IPv6 address left for %s:%s", s.Subnet6, n.Name, i.Name)
				return
			}
		}
		if !i.Prefix6.IsValid() {
			continue
		}
		if at := owner[i.Prefix6.Addr()]; at != "" {
			a.errs.add(a.addressField6(n, i), "%s is the IPv6 address of %s already", i.Prefix6.Addr(), at)
			return
		}
		owner[i.Prefix6.Addr()] = n.Name + ":" + i.Name
	}
}

// checkOverlaps6 finds two segments whose IPv6 networks overlap.
func (a *assignment) checkOverlaps6() {
	var nets []*SegmentPlan
	for i := range a.plan.Segments {
		if s := &a.plan.Segments[i]; s.Subnet6.IsValid() {
			nets = append(nets, s)
		}
	}
	slices.SortStableFunc(nets, func(x, y *SegmentPlan) int { return x.Subnet6.Compare(y.Subnet6) })
	for i := 1; i < len(nets); i++ {
		if w := nets[i-1]; w.Subnet6.Overlaps(nets[i].Subnet6) {
			at := nets[i].Stations[0]
			a.errs.add(a.addressField6(&a.plan.Nodes[at.Node], a.plan.station(at)), "the IPv6 network %s of %s overlaps %s of %s",
				nets[i].Subnet6, a.plan.Links[nets[i].link].Name, w.Subnet6, a.plan.Links[w.link].Name)
		}
	}
}
