package craft

import "slices"

// Key is a field that a packet may have.
type Key struct {
	Name, Doc string
	parse     func(string) (value, error)
}

// The fields, by their place in keys.
const (
	ipSrc = iota
	ipDst
	ipTTL
	ipTOS
	ipProto
	ipVersion
	ipIHL
	ipLength
	ipID
	ipDF
	ipMF
	ipOffset
	ipChecksum
	ipOptions
	ip6Version
	ip6Flow
	ip6Length
	ip6Ext
	tcpSport
	tcpDport
	tcpSeq
	tcpAck
	tcpFlags
	tcpWin
	tcpUrg
	tcpOffset
	tcpChecksum
	tcpOptions
	udpSport
	udpDport
	udpLength
	udpChecksum
	icmpType
	icmpCode
	icmpChecksum
	icmpID
	icmpSeq
	icmpMTU
	icmpRest
	quoteSrc
	quoteDst
	quoteProto
	quoteSport
	quoteDport
	quoteSeq
	quoteSeen
	data
	hexData
	size
	numKeys
)

var keys = [numKeys]Key{
	ipSrc:        {"ip.src", "Source: a node, an address, a prefix (any address of it), or `seen.src`, `seen.dst`; absent: the node's own.", parseAddr},
	ipDst:        {"ip.dst", "Destination, in the same forms.", parseAddr},
	ipTTL:        {"ip.ttl", "TTL or hop limit; absent: 64.", number(8)},
	ipTOS:        {"ip.tos", "Type of service or traffic class, ECN included; absent: 0.", number(8)},
	ipProto:      {"ip.proto", "Protocol or next header; absent: what the packet carries, else 253 (RFC 3692).", number(8)},
	ipVersion:    {"ip.version", "IPv4 header's version; absent: 4.", number(4)},
	ipIHL:        {"ip.ihl", "Header length in words; absent: what it is.", number(4)},
	ipLength:     {"ip.length", "Total length; absent: what it is.", number(16)},
	ipID:         {"ip.id", "Identification; absent: 0.", number(16)},
	ipDF:         {"ip.df", "Do not fragment: 1 or 0; absent: 0.", number(1)},
	ipMF:         {"ip.mf", "More fragments: 1 or 0; absent: 0.", number(1)},
	ipOffset:     {"ip.offset", "Fragment offset in units of 8 bytes; absent: 0.", number(13)},
	ipChecksum:   {"ip.checksum", "Header checksum; absent: the right one.", number(16)},
	ipOptions:    {"ip.options", "IPv4 options, hex.", parseHex},
	ip6Version:   {"ip6.version", "IPv6 header's version; absent: 6.", number(4)},
	ip6Flow:      {"ip6.flow", "Flow label; absent: 0.", number(20)},
	ip6Length:    {"ip6.length", "Payload length; absent: what it is.", number(16)},
	ip6Ext:       {"ip6.ext", "Extension headers, hex; `ip.proto` then names the first of them.", parseHex},
	tcpSport:     {"tcp.sport", "Source port; absent: 0.", number(16)},
	tcpDport:     {"tcp.dport", "Destination port; absent: 0.", number(16)},
	tcpSeq:       {"tcp.seq", "Sequence number; absent: 0.", number(32)},
	tcpAck:       {"tcp.ack", "Acknowledgement number; absent: 0.", number(32)},
	tcpFlags:     {"tcp.flags", "Letters of C E U A P R S F (`.` is A), or a number; absent: none.", parseFlags},
	tcpWin:       {"tcp.win", "Window as on the wire; absent: 65535.", number(16)},
	tcpUrg:       {"tcp.urg", "Urgent pointer; absent: 0.", number(16)},
	tcpOffset:    {"tcp.offset", "Data offset in words; absent: what it is.", number(4)},
	tcpChecksum:  {"tcp.checksum", "Checksum; absent: the right one.", number(16)},
	tcpOptions:   {"tcp.options", "`mss=1460,sackok,ts=VAL:ECR,nop,wscale=7,sack=LEFT:RIGHT,fo=HEX,KIND=HEX,eol`; absent: none.", parseOptions},
	udpSport:     {"udp.sport", "Source port; absent: 0.", number(16)},
	udpDport:     {"udp.dport", "Destination port; absent: 0.", number(16)},
	udpLength:    {"udp.length", "Length; absent: what it is.", number(16)},
	udpChecksum:  {"udp.checksum", "Checksum; absent: the right one.", number(16)},
	icmpType:     {"icmp.type", "Type; absent: 8 (echo request; of ICMPv6 128).", number(8)},
	icmpCode:     {"icmp.code", "Code; absent: 0.", number(8)},
	icmpChecksum: {"icmp.checksum", "Checksum; absent: the right one.", number(16)},
	icmpID:       {"icmp.id", "Identifier of an echo, the fifth and sixth byte; absent: 0.", number(16)},
	icmpSeq:      {"icmp.seq", "Sequence number of an echo, the seventh and eighth byte; absent: 0.", number(16)},
	icmpMTU:      {"icmp.mtu", "Next-hop MTU of fragmentation needed or packet too big; absent: 0.", number(32)},
	icmpRest:     {"icmp.rest", "The fifth to eighth byte as one number.", number(32)},
	quoteSrc:     {"quote.src", "An ICMP error quotes a packet: its source. Absent: the destination of the error.", parseAddr},
	quoteDst:     {"quote.dst", "Its destination.", parseAddr},
	quoteProto:   {"quote.proto", "Its protocol; absent: 6, TCP.", number(8)},
	quoteSport:   {"quote.sport", "Its source port.", number(16)},
	quoteDport:   {"quote.dport", "Its destination port.", number(16)},
	quoteSeq:     {"quote.seq", "Its sequence number.", number(32)},
	quoteSeen:    {"quote.seen", "1: quotes the packet that was waited for.", number(1)},
	data:         {"data", "What it carries, as text.", parseText},
	hexData:      {"hex", "The same in hex.", parseHex},
	size:         {"size", "Bytes carried: what is given is repeated, zeros if nothing is.", number(16)},
}

// Keys lists the fields in the order of the headers.
func Keys() []Key { return keys[:] }

func find(name string) int {
	return slices.IndexFunc(keys[:], func(k Key) bool { return k.Name == name })
}

// nearest is the field whose name differs least; empty if none is near.
func nearest(name string) string {
	best, least := "", 3
	for _, k := range keys {
		if d := distance(name, k.Name); d < least {
			best, least = k.Name, d
		}
	}
	return best
}

// distance is how many letters have to be put in, taken out or changed (Levenshtein), for short words.
func distance(a, b string) int {
	if len(a) > 32 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
