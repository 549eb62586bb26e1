package conformance

// Mechanism is something that a TCP has, or has not, and that can be switched here.
type Mechanism struct {
	Name   string
	RFCs   []string // whose numbers its tests and scripts name
	Words  []string // which they name where no RFC has it: Linux's names, requirements
	Switch string   // key of a lab file's tcp; empty: there is nothing to switch
}

// Mechanisms lists them by what they are for.
var Mechanisms = []Mechanism{
	{"Window scale, timestamps, PAWS", []string{"7323"}, nil, "windowScaling, timestamps"},
	{"Retransmission timer", []string{"6298"}, nil, "minRto, initialRto, maxRto"},
	{"Slow start, congestion avoidance, fast retransmit", []string{"5681"}, nil, "fastRetransmit"},
	{"NewReno", []string{"6582"}, nil, "sack: off"},
	{"Limited transmit", []string{"3042"}, nil, "limitedTransmit"},
	{"Selective acknowledgement", []string{"2018", "6675"}, nil, "sack"},
	{"Duplicate SACK", []string{"2883"}, nil, "dsack"},
	{"RACK and tail loss probes", []string{"8985"}, nil, "rack, rackAdapt, tlp"},
	{"Proportional rate reduction", []string{"9937"}, nil, "prr"},
	{"F-RTO", []string{"5682"}, nil, "frto"},
	{"Eifel detection and response", []string{"3522", "4015"}, nil, "eifel, dsackUndo"},
	{"Initial window of ten", []string{"6928"}, nil, "initialWindow"},
	{"MD5 signatures", []string{"2385"}, nil, "md5Key"},
	{"Temporal sharing (tcp_metrics)", []string{"9040"}, nil, "metricsSave"},
	{"Idle restart", []string{"2861"}, nil, "slowStartAfterIdle"},
	{"Congestion window validation", []string{"7661"}, nil, "cwndValidation"},
	{"Appropriate byte counting", []string{"3465"}, nil, "abc"},
	{"CUBIC", []string{"9438"}, nil, "congestion: cubic"},
	{"HyStart++", []string{"9406"}, nil, "hystart"},
	{"DCTCP", []string{"8257"}, nil, "congestion: dctcp"},
	{"Explicit congestion notification", []string{"3168"}, nil, "ecn, ecnFallback"},
	{"ABE", []string{"8511"}, nil, "abe"},
	{"Silly windows", nil, []string{"MUST-38", "MUST-39"}, ""},
	{"Nagle, Minshall", nil, []string{"SHLD-7", "Minshall"}, "nagle, minshall"},
	{"Cork", nil, []string{"TCP_CORK"}, "cork"},
	{"MSG_MORE", nil, []string{"MSG_MORE"}, ""},
	{"Delayed ACKs", nil, []string{"SHLD-18", "MUST-40"}, "delayedAck"},
	{"Quick ACKs", nil, []string{"quick-ACK", "quick ACK", "TCP_QUICKACK", "TCP_MAX_QUICKACKS"}, "quickAck"},
	{"Pacing", nil, []string{"SO_MAX_PACING_RATE", "tcp_pacing_ss_ratio"}, "pacing, maxPacingRate"},
	{"BBRv1", nil, []string{"BBRv1", "congestion=bbr,", `"bbr"`}, "congestion: bbr"},
	{"BBRv3", nil, []string{"BBRv3", `"bbr3"`}, "congestion: bbr3"},
	{"Keep-alive", nil, []string{"MUST-24", "MUST-25"}, "keepAlive"},
	{"Half-open connections, old duplicates", nil, []string{"half-open", "old duplicate"}, ""},
	{"Backlog and accept queue", nil, []string{"tcp_abort_on_overflow", "tcp_max_syn_backlog", "accept queue"}, "backlog, abortOnOverflow"},
	{"Buffers that grow", nil, []string{"tcp_moderate_rcvbuf", "tcp_rcv_space_adjust", "tcp_sndbuf_expand", "the buffer may grow"}, "sendAutotuning, recvAutotuning"},
	{"Memory limits", nil, []string{"tcp_mem", "MemoryLimit"}, "memoryLimit"},
	{"Source routes", nil, []string{"MUST-51", "MUST-53"}, "sourceRoute; ip: acceptSourceRoute"},
	{"tcp_info", nil, []string{"tcp_info"}, ""},
	{"Urgent data", []string{"6093"}, nil, "stdUrg"},
	{"User timeout", []string{"5482"}, nil, "userTimeout, userTimeoutOption"},
	{"TIME-WAIT's hazards", []string{"1337"}, nil, "rfc1337"},
	{"TIME-WAIT and timestamps", []string{"6191"}, nil, "timeWaitReuse"},
	{"Initial sequence numbers", []string{"6528"}, nil, "isnGenerator"},
	{"Blind attacks", []string{"5961"}, nil, "challengeAcks"},
	{"SYN floods", []string{"4987"}, nil, "synCookies"},
	{"Port randomisation", []string{"6056"}, nil, "portRandomization"},
	{"ICMP attacks", []string{"5927"}, nil, "icmpHardening"},
	{"Fast Open", []string{"7413"}, nil, "fastOpen"},
	{"Path MTU discovery", []string{"1191", "8201"}, nil, "pmtuDiscovery"},
	{"Packetization layer path MTU discovery", []string{"4821"}, nil, "mtuProbing"},
	{"IPv6", []string{"8200"}, nil, ""},
	{"Neighbour discovery", []string{"4861"}, nil, ""},
	{"Address autoconfiguration", []string{"4862"}, nil, ""},
	{"Multicast listener discovery", []string{"3810"}, nil, "ip: mld"},
	{"Redirects", nil, []string{"Redirect message", "redirect message"}, "ip: acceptRedirects, sendRedirects"},
	{"ICMPv6", []string{"4443"}, nil, ""},
}
