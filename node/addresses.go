package node

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"labd.dev/tcpstack/wire"
)

// Links get networks of four addresses out of 10.0.0.0/8, in the order of their names: .1 for the end whose node comes
// first by name, .2 for the other.
const (
	autoBase = 10 << 24
	autoBits = 30
	autoNets = 1 << (autoBits - 8)
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

func (a *assignment) prevInterface(node, ifc string) *InterfacePlan {
	i, ok := a.prevNode(node)
	if !ok {
		return nil
	}
	if j := a.prev.Nodes[i].ifc(ifc); j >= 0 {
		return &a.prev.Nodes[i].Interfaces[j]
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
	for i := range a.plan.Links {
		x, y := a.ends(&a.plan.Links[i])
		a.completeLink(&a.plan.Links[i], x, y)
		if x.Prefix.IsValid() {
			used = append(used, x.Prefix.Masked())
		}
	}
	slices.SortFunc(used, netip.Prefix.Compare)
	for i := range a.plan.Links {
		l := &a.plan.Links[i]
		x, y := a.ends(l)
		if !x.Prefix.IsValid() && !y.Prefix.IsValid() {
			a.freshNet(x, y, used)
		}
		l.Subnet = x.Prefix.Masked()
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

func lastAddr(p netip.Prefix) netip.Addr { return ip4(num4(p.Masked().Addr()) | 1<<(32-p.Bits()) - 1) }

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

// keptAddresses keeps a link's addresses where neither end has a new fixed one.
func (a *assignment) keptAddresses() {
	for i := range a.plan.Links {
		l := &a.plan.Links[i]
		x, y := a.ends(l)
		if x.Prefix.IsValid() || y.Prefix.IsValid() {
			continue
		}
		f := &a.plan.Directions[l.Forward]
		px := a.prevInterface(f.fromEnd.node, f.fromEnd.ifc)
		py := a.prevInterface(f.toEnd.node, f.toEnd.ifc)
		if px == nil || py == nil || px.Prefix.Masked() != py.Prefix.Masked() {
			continue
		}
		if a.plan.Nodes[f.From].Name > a.plan.Nodes[f.To].Name {
			px, py = py, px
		}
		x.Prefix, y.Prefix = px.Prefix, py.Prefix
	}
}

// ends is a link's two interfaces, that of the node whose name comes first before the other.
func (a *assignment) ends(l *LinkPlan) (x, y *InterfacePlan) {
	f := &a.plan.Directions[l.Forward]
	x, y = &a.plan.Nodes[f.From].Interfaces[f.FromIf], &a.plan.Nodes[f.To].Interfaces[f.ToIf]
	if a.plan.Nodes[f.From].Name > a.plan.Nodes[f.To].Name {
		x, y = y, x
	}
	return x, y
}

// completeLink gives the other end of a link with one fixed address the first free one of the same network.
func (a *assignment) completeLink(l *LinkPlan, x, y *InterfacePlan) {
	if x.Prefix.IsValid() == y.Prefix.IsValid() {
		if x.Prefix.IsValid() && x.Prefix.Masked() != y.Prefix.Masked() {
			n := &a.plan.Nodes[a.plan.Directions[y.Out].From]
			a.errs.add(a.addressField(n, y), "%s is not in the network of the link's other end, %s", y.Prefix, x.Prefix)
		}
		return
	}
	have, want := x, y
	if y.Prefix.IsValid() {
		have, want = y, x
	}
	for v := num4(have.Prefix.Masked().Addr()); ; v++ {
		p := netip.PrefixFrom(ip4(v), have.Prefix.Bits())
		if p.Addr() != have.Prefix.Addr() && usable(p) {
			want.Prefix = p
			return
		}
	}
}

// freshNet gives a link the next network that overlaps none in use; used is sorted.
func (a *assignment) freshNet(x, y *InterfacePlan, used []netip.Prefix) {
	for a.plan.nextNet < autoNets {
		net := netip.PrefixFrom(ip4(autoBase+a.plan.nextNet<<(32-autoBits)), autoBits)
		a.plan.nextNet++
		if overlapsAny(net, used) {
			continue
		}
		first := num4(net.Addr())
		x.Prefix, y.Prefix = netip.PrefixFrom(ip4(first+1), autoBits), netip.PrefixFrom(ip4(first+2), autoBits)
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

// checkClashes finds two interfaces with one address and two links whose networks overlap.
func (a *assignment) checkClashes() {
	type use struct {
		net netip.Prefix
		l   *LinkPlan
	}
	var nets []use
	for i := range a.plan.Links {
		l := &a.plan.Links[i]
		x, y := a.ends(l)
		if x.Prefix.Addr() == y.Prefix.Addr() {
			n := &a.plan.Nodes[a.plan.Directions[y.Out].From]
			a.errs.add(a.addressField(n, y), "both ends of %s have the address %s", l.Name, y.Prefix.Addr())
		}
		nets = append(nets, use{l.Subnet, l})
	}
	slices.SortFunc(nets, func(x, y use) int { return x.net.Compare(y.net) })
	widest := 0 // of those before, the one that reaches furthest
	for i := 1; i < len(nets); i++ {
		w := &nets[widest]
		if w.net.Overlaps(nets[i].net) {
			l := nets[i].l
			x, y := a.ends(l)
			if n := &a.plan.Nodes[a.plan.Directions[x.Out].From]; specHasAddress(n, x) {
				y = x
			}
			n := &a.plan.Nodes[a.plan.Directions[y.Out].From]
			a.errs.add(a.addressField(n, y), "the network %s of %s overlaps %s of %s", nets[i].net, l.Name, w.net, w.l.Name)
		}
		if lastAddr(w.net).Less(lastAddr(nets[i].net)) {
			widest = i
		}
	}
}

func specHasAddress(n *NodePlan, i *InterfacePlan) bool {
	j := specInterface(n, i.Name)
	return j >= 0 && n.Spec.Interfaces[j].GetAddress() != ""
}
