package trace

import (
	"fmt"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// ipEvent expands a record of the IP side: ip:dropped, icmp:*, icmp6:*, udp:*, arp:*, ndp:*.
func (x *expander) ipEvent(r *sim.Record, more []sim.Record, e *Event) {
	w := &r.W
	src, dst, six := addr4(w[0]), addr4(w[1]), false
	if first, second, ok := tcpstack.RecordedIPv6(r, more); ok {
		src, dst, six = first, second, true
	}
	addrs := []Field{{"pkt", x.names.Packet(r.Pkt)}, {"src", src.String()}, {"dst", dst.String()}}
	switch r.Kind {
	case tcpstack.KindIPDropped:
		e.Name = "ip:dropped"
		e.Data = append(addrs, Field{"protocol", uint64(r.Aux)}, Field{"len", num(w[2])}, Field{"reason", tcpstack.IPDropReason(r.Reason)})
	case tcpstack.KindICMPSent, tcpstack.KindICMPReceived:
		e.Name = "icmp"
		if six {
			e.Name = "icmp6"
		}
		if r.Kind == tcpstack.KindICMPReceived {
			e.Name += ":received"
		} else {
			e.Name += ":sent"
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
		if six {
			e.Name = "ndp:neighbour_updated"
		}
		e.Data = []Field{{"address", src.String()}, {"mac", fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x",
			byte(w[1]>>8), byte(w[1]), byte(w[2]>>24), byte(w[2]>>16), byte(w[2]>>8), byte(w[2]))},
			{"state", tcpstack.NeighbourState(r.Reason).String()}, {"interface", num(w[3])}}
	case tcpstack.KindAddress:
		e.Name = "ndp:address_updated"
		e.Data = []Field{{"address", src.String()}, {"prefix_len", num(w[0])}, {"state", tcpstack.AddressState(r.Reason).String()},
			{"slaac", w[1] != 0}, {"interface", num(w[2])}}
	}
}

func addr4(w uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(w >> 24), byte(w >> 16), byte(w >> 8), byte(w)})
}
