package trace

import (
	"fmt"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// ipEvent expands a record of the IP side: ip:dropped, icmp:*, udp:*, arp:*.
func (x *expander) ipEvent(r *sim.Record, e *Event) {
	w := &r.W
	addrs := []Field{{"pkt", x.names.Packet(r.Pkt)}, {"src", addr4(w[0]).String()}, {"dst", addr4(w[1]).String()}}
	switch r.Kind {
	case tcpstack.KindIPDropped:
		e.Name = "ip:dropped"
		e.Data = append(addrs, Field{"protocol", uint64(r.Aux)}, Field{"len", num(w[2])}, Field{"reason", tcpstack.IPDropReason(r.Reason)})
	case tcpstack.KindICMPSent, tcpstack.KindICMPReceived:
		e.Name = "icmp:sent"
		if r.Kind == tcpstack.KindICMPReceived {
			e.Name = "icmp:received"
		}
		e.Data = append(addrs, Field{"type", uint64(r.Reason)}, Field{"code", uint64(r.Aux)}, Field{"id", num(w[2] >> 16)},
			Field{"seq", num(w[2] & 0xffff)}, Field{"ttl", num(w[3])})
	case tcpstack.KindUDPSent, tcpstack.KindUDPReceived:
		e.Name = "udp:sent"
		if r.Kind == tcpstack.KindUDPReceived {
			e.Name = "udp:received"
		}
		e.Data = append(addrs, Field{"src_port", num(w[2] >> 16)}, Field{"dst_port", num(w[2] & 0xffff)}, Field{"len", num(w[3])})
	case tcpstack.KindNeighbour:
		e.Name = "arp:neighbour_updated"
		e.Data = []Field{{"address", addr4(w[0]).String()}, {"mac", fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x",
			byte(w[1]>>8), byte(w[1]), byte(w[2]>>24), byte(w[2]>>16), byte(w[2]>>8), byte(w[2]))},
			{"state", tcpstack.NeighbourState(r.Reason).String()}, {"interface", num(w[3])}}
	}
}

func addr4(w uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(w >> 24), byte(w >> 16), byte(w >> 8), byte(w)})
}
