package trace

import (
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/tcpstack/wire"
)

// tcpFrame is 20 bytes of data in a segment with timestamps, checksums made.
func tcpFrame() []byte {
	data := []byte("GET / HTTP/1.1\r\n\r\n..")
	b := make([]byte, 14+20+32+len(data))
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := b[14:]
	copy(ip, []byte{0x45, 0, 0, byte(20 + 32 + len(data)), 0x12, 0x34, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 1, 2})
	wire.SetIPv4Checksum(ip[:20])
	tcp := ip[20:]
	copy(tcp, []byte{0xc0, 0, 0, 80, 0, 0, 0, 101, 0, 0, 7, 0xd1, 0x80, 0x18, 1, 0xf6, 0, 0, 0, 0,
		1, 1, 8, 10, 0, 0, 3, 0xe8, 0, 0, 7, 0xd0})
	copy(tcp[32:], data)
	sum := wire.AddSums(wire.PseudoSum([4]byte(ip[12:]), [4]byte(ip[16:]), wire.ProtoTCP, len(tcp)), wire.Sum(tcp))
	tcp[16], tcp[17] = byte(^sum>>8), byte(^sum)
	return b
}

// forwarded is the frame as a router sends it on: new MACs, TTL less one.
func forwarded(b []byte) []byte {
	f := append([]byte{}, b...)
	copy(f, []byte{2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 3})
	f[14+8]--
	wire.SetIPv4Checksum(f[14:34])
	return f
}

func hop(t int64, node, ifc string, out bool, data []byte, state string) *labv1.PacketHop {
	return &labv1.PacketHop{TNs: t, Node: node, Interface: ifc, Out: out, Data: data, Length: uint32(len(data)), State: state}
}

func TestDecode(t *testing.T) {
	a := tcpFrame()
	b := forwarded(a)
	flipped := append([]byte{}, b...)
	flipped[14+20+32+4] ^= 0x20
	hops := []*labv1.PacketHop{
		hop(20_000_000, "client", "eth0", true, a, "ESTABLISHED cwnd=10"),
		hop(21_000_000, "r1", "eth0", false, a, ""),
		hop(21_000_000, "r1", "eth1", true, b, ""),
		hop(22_000_000, "server", "eth0", false, flipped, "ESTABLISHED"),
	}
	golden(t, "tcp.decode", Decode("client:4", hops, DecodeOptions{}))
	golden(t, "tcp-ascii.decode", Decode("client:4", hops[:1], DecodeOptions{ASCII: true}))
}

func FuzzDecode(f *testing.F) {
	f.Add(tcpFrame(), forwarded(tcpFrame()))
	f.Add([]byte{}, []byte{1})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		Decode("a:1", []*labv1.PacketHop{hop(1, "a", "eth0", true, a, ""), hop(2, "b", "eth0", false, b, "")}, DecodeOptions{})
	})
}
