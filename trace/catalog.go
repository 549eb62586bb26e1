package trace

import (
	"labd.dev/link"
	"labd.dev/tcpstack"
)

// EventKind is one kind of event: what docs/events.md says of it. A test holds the catalog against what records expand to,
// and the page against the catalog.
type EventKind struct {
	Name   string
	What   string
	Fields []FieldKind
}

// FieldKind is a field of a kind of event.
type FieldKind struct {
	Name   string
	Type   string // string | bool | integer | number | strings | object | json
	Unit   string // empty: none
	What   string
	When   string      // when it is present; empty: always
	Values []ValueKind // all that it may be, if they are few
}

// ValueKind is a value that a field may have.
type ValueKind struct{ Name, What string }

// Envelope is what every event has besides its data.
var Envelope = []FieldKind{
	{"node", "string", "", "the node it happened at; of a link's event the sending one", "null: the lab itself", nil},
	{"t_ns", "integer", "ns", "lab time", "", nil},
	{"eseq", "integer", "", "counts the events of a node, over its reboots too; what becomes of a frame on one hop is one number, also when the link changes meanwhile", "", nil},
	{"conn", "string", "", "the connection, after the node that opened it and that node's counter: `client/3`", "null: of no connection", nil},
	{"side", "string", "", "which end of the connection the node is", "null: neither", []ValueKind{
		{"initiator", "it opened the connection"}, {"responder", "it accepted it"}}},
	{"cause", "integer", "", "the `eseq` of the event of the same node that led to this one", "null: none is known", nil},
	{"name", "string", "", "the event's kind, below", "", nil},
	{"data", "object", "", "the fields of its kind, below", "", nil},
}

// Catalog lists every kind of event that a trace may hold, in the order that the page has them.
func Catalog() []EventKind {
	var all []EventKind
	for _, part := range [][]EventKind{tcpKinds, tcpSenderKinds, appKinds, linkKinds, ipKinds, labKinds} {
		all = append(all, part...)
	}
	return all
}

// EventNames lists the names of all kinds of event.
func EventNames() []string {
	var names []string
	for _, k := range Catalog() {
		names = append(names, k.Name)
	}
	return names
}

var appKinds = []EventKind{
	{"app:file_read", "The application read a block of the file that it sends, or made one, and holds it until it is written.", appFields[:1:1]},
	{"app:write", "The application handed bytes to its connection.", append(appFields[:2:2],
		FieldKind{"buffered", "integer", "bytes", "what the application still holds after it: read from its file, or from the connection, and not yet written", "", nil})},
	{"app:read", "The application took bytes from its connection.", appFields},
	{"app:shutdown", "The application said that it will write no more; `bytes` is what it has written in all.", appFields},
	{"app:close", "The application closed its connection.", append(appFields[:2:2],
		FieldKind{"abort", "bool", "", "true: it reset the connection", "only if so", nil})},
}

var appFields = []FieldKind{
	{"bytes", "integer", "bytes", "how many", "", nil},
	{"blocked_us", "integer", "us", "how long the application had waited until it could", "", nil},
}

var linkKinds = []EventKind{
	{string(link.Enqueued), "A frame entered a direction's queue.", append(hopFields[:4:4], queueFields...)},
	{string(link.Dequeued), "It left the queue: its first bit went on the wire, or it went into the ring of the device behind the queue.", append(hopFields[:4:4],
		FieldKind{"sojourn_us", "number", "us", "how long it had waited in the queue", "", nil})},
	{string(link.Transmitted), "Its first bit went on the wire, after it had waited in the device's ring (`queue: {device: ...}`).", append(hopFields[:4:4],
		FieldKind{"ring_us", "number", "us", "how long it had waited in the ring", "", nil})},
	{string(link.Delivered), "Its last bit arrived at the other end.", append(hopFields[:4:4], copyField)},
	{string(link.Dropped), "It was thrown away.", append(append(hopFields[:4:4], queueFields...),
		FieldKind{"cause", "string", "", "why", "", []ValueKind{
			{link.DropQueueFull.String(), "the queue held as much as it may"},
			{link.DropLoss.String(), "the loss model took it from the wire"},
			{link.DropFault.String(), "the direction is down"},
			{link.DropMTU.String(), "it is longer than the link's MTU"},
			{link.DropRemoved.String(), "the link was taken out of the lab"},
		}},
		FieldKind{"fault_input", "integer", "", "journal index of the fault that did it", "a fault did it", nil},
		FieldKind{"fault_id", "string", "", "name of the fault that did it", "a fault did it, and the journal is at hand", nil},
		copyField)},
	{string(link.Marked), "It leaves the queue with ECN's CE codepoint: it had waited too long (`queue: {mark: {sojourn: ...}}`).", hopFields[:4:4]},
	{string(link.Corrupted), "A bit of it was flipped on the wire.", hopFields[:4:4]},
	{string(link.Duplicated), "The wire made a second one of it.", hopFields[:4:4]},
	{string(link.Reordered), "It arrived before one that left earlier.", hopFields[:4:4]},
}

var hopFields = []FieldKind{
	{"link", "string", "", "the link: `r1--r2`", "", nil},
	{"dir", "string", "", "the direction: `r1->r2`", "", nil},
	pktField,
	{"bytes", "integer", "bytes", "the frame's length, Ethernet header included", "", nil},
}

var copyField = FieldKind{"copy", "bool", "", "true: it is the second frame that a duplication made", "only if so", nil}

var queueFields = []FieldKind{
	{"qpkts", "integer", "packets", "how many it found in the queue", "", nil},
	{"qbytes", "integer", "bytes", "how much it found in the queue", "", nil},
}

var pktField = FieldKind{"pkt", "string", "", "the packet, after the stack that made it and that node's counter: `client:1042`",
	"", nil}

var labKinds = []EventKind{
	{"lab:input", "An input takes effect. It is of the lab itself.", []FieldKind{
		{"index", "integer", "", "its place in the journal, from 1", "", nil},
		{"kind", "string", "", "which field of the API's `Input` it is: `transfer`, `fault`, `ping`, ...", journalAtHand, nil},
		specField,
	}},
	{"lab:fault_started", "A fault takes hold of a node or of one direction of a link.", append(faultFields[:4:4], specField)},
	{"lab:fault_ended", "It lets go.", append(faultFields[:4:4],
		FieldKind{"cleared", "bool", "", "it was cleared before its time", "", nil})},
	{"lab:link_set", "Settings of one direction of a link change, by `labctl link set`.", append(linkSetFields[:3:3], specField)},
	{"lab:link_reverted", "The time of those settings is over.", linkSetFields},
	{"lab:node_booted", "A node is up.", bootFields},
	{"lab:node_crashed", "A node has lost all its state.", bootFields},
}

const journalAtHand = "the journal is at hand"

var faultFields = []FieldKind{
	{"input", "integer", "", "journal index of the fault", "", nil},
	{"fault_id", "string", "", "its name", journalAtHand, nil},
	{"link", "string", "", "the link", "a link's fault", nil},
	{"dir", "string", "", "the direction", "a link's fault", nil},
}

var specField = FieldKind{"spec", "json", "", "all of the input, as the journal has it", journalAtHand, nil}

var linkSetFields = []FieldKind{
	{"input", "integer", "", "journal index of the change", "", nil},
	{"link", "string", "", "the link", "", nil},
	{"dir", "string", "", "the direction", "", nil},
}

var bootFields = []FieldKind{{"boots", "integer", "", "how often it has booted", "", nil}}

var ipKinds = []EventKind{
	{"ip:dropped", "The IP side of a stack threw a packet away.", []FieldKind{
		pktField, srcField, dstField,
		{"protocol", "integer", "", "IP protocol number; 0 where no header could be read", "", nil},
		{"len", "integer", "bytes", "the packet's length", "", nil},
		{"reason", "string", "", "why", "", ipDropValues},
	}},
	{"icmp:sent", "An ICMP message left.", icmpFields},
	{"icmp:received", "An ICMP message came.", icmpFields},
	{"udp:sent", "A datagram left.", udpFields},
	{"udp:received", "A datagram came.", udpFields},
	{"arp:neighbour_updated", "What is known of a neighbour's hardware address changed.", []FieldKind{
		{"address", "string", "", "the neighbour's IPv4 address", "", nil},
		{"mac", "string", "", "its hardware address; zeros until it is known", "", nil},
		{"state", "string", "", "what is known", "", []ValueKind{
			{tcpstack.NeighbourIncomplete.String(), "it is asked for, by broadcast"},
			{tcpstack.NeighbourReachable.String(), "it is known"},
			{tcpstack.NeighbourProbe.String(), "it was known long ago and is asked for again, by unicast"},
			{tcpstack.NeighbourFailed.String(), "nobody answered"},
			{tcpstack.NeighbourStale.String(), "IPv6 only"},
			{tcpstack.NeighbourDelay.String(), "IPv6 only"},
		}},
		{"interface", "integer", "", "number of the interface, from 0", "", nil},
	}},
	{"icmp6:sent", "An ICMPv6 message left, those of neighbour discovery among them.", icmp6Fields},
	{"icmp6:received", "An ICMPv6 message came.", icmp6Fields},
	{"ndp:neighbour_updated", "What is known of an IPv6 neighbour changed (RFC 4861 7.3.2).", []FieldKind{
		{"address", "string", "", "the neighbour's IPv6 address", "", nil},
		{"mac", "string", "", "its hardware address; zeros until it is known", "", nil},
		{"state", "string", "", "what is known", "", []ValueKind{
			{tcpstack.NeighbourIncomplete.String(), "its hardware address is asked for, by multicast"},
			{tcpstack.NeighbourReachable.String(), "it answered, or TCP got on, not long ago"},
			{tcpstack.NeighbourStale.String(), "its hardware address is known; whether it still listens is not"},
			{tcpstack.NeighbourDelay.String(), "a packet was sent to it while stale: TCP has 5 s to say that it arrived"},
			{tcpstack.NeighbourProbe.String(), "it is asked, by unicast, whether it is there"},
			{tcpstack.NeighbourFailed.String(), "nobody answered"},
		}},
		{"interface", "integer", "", "number of the interface, from 0", "", nil},
	}},
	{"ndp:address_updated", "An IPv6 address of the node that is checked for duplicates or made by SLAAC changed (RFC 4862 5).", []FieldKind{
		{"address", "string", "", "the address", "", nil},
		{"prefix_len", "integer", "bits", "length of its network's prefix", "", nil},
		{"state", "string", "", "how far it may be used", "", []ValueKind{
			{tcpstack.AddressTentative.String(), "not yet: it is being checked for duplicates"},
			{tcpstack.AddressPreferred.String(), "without limits"},
			{tcpstack.AddressDeprecated.String(), "by connections that use it; new ones choose another"},
			{tcpstack.AddressDuplicate.String(), "never: another station has it"},
			{tcpstack.AddressInvalid.String(), "no longer: its lifetime is over"},
		}},
		{"slaac", "bool", "", "it is made of a router's advertisement", "", nil},
		{"interface", "integer", "", "number of the interface, from 0", "", nil},
	}},
}

var (
	srcField = FieldKind{"src", "string", "", "source address", "", nil}
	dstField = FieldKind{"dst", "string", "", "destination address", "", nil}
)

var icmpFields = []FieldKind{
	pktField, srcField, dstField,
	{"type", "integer", "", "ICMP type (RFC 792)", "", nil},
	{"code", "integer", "", "ICMP code", "", nil},
	{"id", "integer", "", "an echo's identifier", "", nil},
	{"seq", "integer", "", "an echo's sequence number; of *fragmentation needed* the next hop's MTU", "", nil},
	{"ttl", "integer", "hops", "the packet's time to live", "", nil},
}

var icmp6Fields = append([]FieldKind{
	pktField, srcField, dstField,
	{"type", "integer", "", "ICMPv6 type (RFC 4443, RFC 4861)", "", nil},
}, icmpFields[4:]...)

var udpFields = []FieldKind{
	pktField, srcField, dstField,
	{"src_port", "integer", "", "source port", "", nil},
	{"dst_port", "integer", "", "destination port", "", nil},
	{"len", "integer", "bytes", "payload", "", nil},
}

var ipDropValues = []ValueKind{
	{"ethernet_header", "a frame shorter than an Ethernet header"},
	{"other_mac", "a frame for another station"},
	{"ethertype", "neither IPv4 nor ARP, nor IPv6 where the stack has it"},
	{"arp", "an ARP packet that is malformed or not for Ethernet and IPv4"},
	{"truncated", "fewer bytes than the header says"},
	{"version", "another version than the frame said"},
	{"header_length", "a header length below 20 bytes"},
	{"total_length", "a total length that the frame contradicts"},
	{"checksum", "a wrong header checksum"},
	{"ttl", "the time to live or hop limit ran out at a router"},
	{"source", "a source address that no host may have"},
	{"destination", "an address that is not the stack's, or may not be sent to"},
	{"not_forwarding", "for somebody else, at a host"},
	{"no_route", "no route to the destination"},
	{"too_big", "longer than the next link's MTU, with DF set or IPv6"},
	{"host_unreachable", "the next hop does not answer ARP or neighbour solicitations"},
	{"neighbour_queue", "too many packets wait for one neighbour's address"},
	{"neighbour_table", "too many neighbours are being asked for"},
	{"fragment", "a fragment that cannot be a part of any packet"},
	{"fragment_overlap", "fragments that overlap (RFC 5722)"},
	{"fragment_duplicate", "a fragment that came before"},
	{"reassembly_memory", "too much memory is in fragments"},
	{"reassembly_timeout", "the rest of the packet did not come in time"},
	{"protocol", "a protocol that the stack does not speak"},
	{"transport_header", "a transport header that is cut off or contradicts itself"},
	{"transport_checksum", "a wrong UDP or ICMP checksum"},
	{"no_socket", "no UDP socket is open on that port"},
	{"loopback_queue", "too many packets of a host to itself wait"},
	{"extension_header", "IPv6 extension headers that cannot be worked on, or an option that asks to be dropped"},
	{"source_route", "an IPv4 source route that cannot be followed, or may not"},
	{"ndp", "a message of neighbour discovery that is malformed or has crossed a router"},
}
