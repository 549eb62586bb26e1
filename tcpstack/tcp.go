package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
)

// TCPConfig holds the settings of connections.
type TCPConfig struct{}

// tcpState is the stack's TCP part.
type tcpState struct{}

// tcpInit prepares the TCP part of a new stack: it checks s.cfg.TCP.
func (s *Stack) tcpInit() error { return nil }

// tcpInput takes a segment for an address of this stack and owns f: f.Header() is the IPv4 header and the whole TCP
// header, f.Payload just the segment's data. The checksum has not been verified: checksumOK does. src and dst are
// unicast.
func (s *Stack) tcpInput(ifc *Interface, f *sim.Frame, src, dst netip.Addr) { f.Release() }

// tcpControl hears an ICMP error about a segment this stack sent from src to dst with sequence number seq.
func (s *Stack) tcpControl(e ICMPError, src, dst netip.AddrPort, seq uint32) {}

// tcpShutdown ends all connections without a packet or a callback.
func (s *Stack) tcpShutdown() {}

// tcpCounters appends TCP's counters.
func (s *Stack) tcpCounters(c []Counter) []Counter { return c }
