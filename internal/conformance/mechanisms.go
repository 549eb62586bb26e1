package conformance

// Mechanism is something that a TCP has, or has not, and that can be switched here.
type Mechanism struct {
	Name   string
	RFCs   []string // whose numbers its tests and scripts name
	Switch string   // key of a lab file's tcp; empty: there is nothing to switch
}

// Mechanisms lists them by what they are for.
var Mechanisms = []Mechanism{
	{"Window scale, timestamps, PAWS", []string{"7323"}, "windowScaling, timestamps"},
	{"Retransmission timer", []string{"6298"}, "minRto, initialRto, maxRto"},
	{"Slow start, congestion avoidance, fast retransmit", []string{"5681"}, "fastRetransmit"},
	{"NewReno", []string{"6582"}, "sack: off"},
	{"Limited transmit", []string{"3042"}, "limitedTransmit"},
	{"Selective acknowledgement", []string{"2018", "6675"}, "sack"},
	{"Duplicate SACK", []string{"2883"}, "dsack"},
	{"RACK and tail loss probes", []string{"8985"}, "rack, rackAdapt, tlp"},
	{"Proportional rate reduction", []string{"9937"}, "prr"},
	{"F-RTO", []string{"5682"}, "frto"},
	{"Eifel detection and response", []string{"3522", "4015"}, "eifel, dsackUndo"},
	{"Initial window of ten", []string{"6928"}, "initialWindow"},
	{"Idle restart", []string{"2861"}, "slowStartAfterIdle"},
	{"Congestion window validation", []string{"7661"}, "cwndValidation"},
	{"Appropriate byte counting", []string{"3465"}, "abc"},
	{"CUBIC", []string{"9438"}, "congestion: cubic"},
	{"HyStart++", []string{"9406"}, "hystart"},
	{"DCTCP", []string{"8257"}, "congestion: dctcp"},
	{"Explicit congestion notification", []string{"3168"}, "ecn, ecnFallback"},
	{"ABE", []string{"8511"}, "abe"},
	{"Silly windows, Nagle, delayed ACKs", []string{"1122", "9293"}, "nagle, minshall, delayedAck, quickAck"},
	{"Urgent data", []string{"6093"}, "stdUrg"},
	{"User timeout", []string{"5482"}, "userTimeout, userTimeoutOption"},
	{"TIME-WAIT's hazards", []string{"1337"}, "rfc1337"},
	{"TIME-WAIT and timestamps", []string{"6191"}, "timeWaitReuse"},
	{"Initial sequence numbers", []string{"6528"}, "isnGenerator"},
	{"Blind attacks", []string{"5961"}, "challengeAcks"},
	{"SYN floods", []string{"4987"}, "synCookies"},
	{"Port randomisation", []string{"6056"}, "portRandomization"},
	{"ICMP attacks", []string{"5927"}, "icmpHardening"},
	{"Fast Open", []string{"7413"}, "fastOpen"},
	{"Path MTU discovery", []string{"1191", "8201"}, "pmtuDiscovery"},
	{"Packetization layer path MTU discovery", []string{"4821"}, "mtuProbing"},
	{"IPv6", []string{"8200"}, ""},
	{"Neighbour discovery", []string{"4861"}, ""},
	{"Address autoconfiguration", []string{"4862"}, ""},
	{"ICMPv6", []string{"4443"}, ""},
}
