package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// requestARP asks for the neighbour's hardware address, or whether it still has it.
func (n *neighbour) requestARP() {
	s := n.ifc.stack
	dst := wire.Broadcast
	if n.state == NeighbourProbe {
		dst = wire.MAC(n.eth[:6])
	}
	s.count[cARPRequestsSent]++
	n.ifc.sendARP(dst, wire.ARP{
		Op: wire.ARPRequest, SenderMAC: n.ifc.cfg.MAC, SenderIP: addr4(n.ifc.addr), TargetIP: n.addr.netip(),
	})
}

// sendARP sends an ARP packet to a hardware address.
func (i *Interface) sendARP(dst wire.MAC, a wire.ARP) {
	s := i.stack
	f := s.loop.NewFrame()
	f.Pkt, f.Verified = s.id.NextPacket(), true
	a.Put(f.Append(wire.ARPLen))
	wire.Ethernet{Dst: dst, Src: i.cfg.MAC, Type: wire.EtherTypeARP}.Put(f.Prepend(wire.EthernetLen))
	i.tx.Transmit(f)
}

// arpInput receives an ARP packet that came from hardware address src. It follows RFC 826 "Packet Reception", with two
// departures. A sender's hardware address must be the one its frame came from: our links flip bits above where real
// Ethernet checks its FCS, and a mapping learned from a flipped bit would last a minute. And an address that is not of
// the interface's own network is not learned, so that strangers fill no table.
func (s *Stack) arpInput(ifc *Interface, f *sim.Frame, src wire.MAC) {
	if !gather(f, wire.ARPLen) {
		s.drop(f, dropARP)
		return
	}
	a, err := wire.ParseARP(f.Header())
	if err != nil || a.SenderMAC != src || src.IsGroup() || (a.Op != wire.ARPRequest && a.Op != wire.ARPReply) {
		s.drop(f, dropARP)
		return
	}
	f.Release()
	if a.Op == wire.ARPRequest {
		s.count[cARPRequestsReceived]++
	} else {
		s.count[cARPRepliesReceived]++
	}
	sender, target := num4(a.SenderIP), num4(a.TargetIP)
	if ifc.addr == 0 { // the interface has no IPv4
		return
	}
	if sender == ifc.addr {
		s.count[cARPConflicts]++ // RFC 5227 2.4; we keep our address, case (c)
		return
	}
	forUs := target == ifc.addr
	if sender != 0 && ifc.onLink(sender) {
		// RFC 826: "If the pair <protocol type, sender protocol address> is already in my translation table, update the
		// sender hardware address field of the entry" - that is what a gratuitous packet does, and no more than that.
		n := ifc.neighbours[ipAddr4(sender)]
		if n == nil && forUs {
			n = ifc.neighbour(sender)
		}
		if n != nil {
			n.learn(a.SenderMAC)
		}
	}
	if forUs && a.Op == wire.ARPRequest {
		s.count[cARPRepliesSent]++
		ifc.sendARP(a.SenderMAC, wire.ARP{
			Op: wire.ARPReply, SenderMAC: ifc.cfg.MAC, SenderIP: a.TargetIP, TargetMAC: a.SenderMAC, TargetIP: a.SenderIP,
		})
	}
}
