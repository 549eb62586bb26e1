// Package conformance holds the list of what RFC 9293 and its companions ask of a TCP, and the tests that show each: from
// both it makes docs/conformance.md, and fails when something that must be there has nothing to show it.
package conformance

// Requirement is a line of RFC 9293's appendix B, or several with one number.
type Requirement struct {
	ID      string // MUST-12, SHLD-3, REC-1, MAY-2
	Section string // of RFC 9293
	Rule    string
}

// Topic is a group of the appendix.
type Topic struct {
	Title string
	Rules []Requirement
}

// Topics lists the appendix in its order.
var Topics = []Topic{
	{"Push flag", []Requirement{
		{"MAY-16", "3.9.1.2", "data that was not pushed may wait to be sent with more"},
		{"SHLD-27", "3.9.1.2", "successive pushes are joined into one segment where they fit"},
		{"MAY-15", "3.9.1.2", "the application may say what to push"},
		{"MUST-60", "3.9.1.2", "where it cannot, data does not wait for ever"},
		{"MUST-61", "3.9.1.2", "where it cannot, the last segment carries PSH"},
		{"MAY-17", "3.9.1.2", "the receiving application may be told of PSH"},
		{"SHLD-28", "3.9.1.2", "segments are as large as can be"},
	}},
	{"Window", []Requirement{
		{"MUST-1", "3.1", "the window is an unsigned number"},
		{"REC-1", "3.1", "it is kept in 32 bits"},
		{"SHLD-14", "3.8.6", "a receiver does not take back what it has offered"},
		{"SHLD-15", "3.8.6", "a sender whose window shrank sends nothing new beyond it"},
		{"SHLD-16", "3.8.6", "it goes on retransmitting what lies within it"},
		{"SHLD-17", "3.8.6", "data beyond it does not make the connection fail"},
		{"MUST-34", "3.8.6", "a sender copes with a window that shrinks"},
		{"MAY-8", "3.8.6.1", "a receiver may keep its window closed as long as it likes"},
		{"MUST-35", "3.8.6", "a window that has become zero by shrinking is probed like any other"},
		{"MUST-36", "3.8.6.1", "a closed window is probed"},
		{"SHLD-29", "3.8.6.1", "the first probe comes after the retransmission timeout"},
		{"SHLD-30", "3.8.6.1", "the time between probes grows exponentially"},
		{"MUST-37", "3.8.6.1", "a window may stay closed while probes are answered"},
		{"MAY-7", "3.8.6", "old data beyond the window may be retransmitted"},
		{"MUST-66", "3.4", "RST and URG count though the window is closed"},
	}},
	{"Urgent data", []Requirement{
		{"MUST-30", "3.8.5", "there is an urgent mechanism"},
		{"MUST-62", "3.8.5", "the pointer points behind the urgent data"},
		{"MUST-31", "3.8.5", "urgent data may be of any length"},
		{"MUST-32", "3.8.5", "the application is told of urgent data when it is announced"},
		{"MUST-33", "3.8.5", "it can learn whether there is urgent data to be read, and where it ends"},
		{"SHLD-13", "3.8.5", "new applications do without it"},
	}},
	{"TCP options", []Requirement{
		{"MUST-4", "3.1", "end of list, no-operation and MSS are there"},
		{"MUST-5", "3.1", "an option may come in any segment"},
		{"MUST-6", "3.1", "an unknown option is passed over"},
		{"MUST-68", "3.1", "every option but those of one byte has a length"},
		{"MUST-7", "3.1", "an illegal length does no harm"},
		{"MUST-64", "3.1", "options may begin at any byte"},
		{"MUST-14", "3.7.1", "MSS is sent and understood"},
		{"SHLD-5", "3.7.1", "MSS is sent in every SYN unless it is the default"},
		{"MAY-3", "3.7.1", "it may be sent always"},
		{"MUST-15", "3.7.1", "without one the send MSS is 536, over IPv6 1220"},
		{"MUST-16", "3.7.1", "a segment is no larger than the peer's MSS and the path allow, options counted"},
		{"SHLD-6", "3.7.1", "what is announced counts that the MTU may vary"},
		{"MUST-65", "3.7.1", "MSS comes with SYN only"},
		{"MUST-67", "3.7.1", "it tells what can be received and reassembled"},
		{"MUST-69", "3.1", "the header is filled up with zeros"},
	}},
	{"Checksums", []Requirement{
		{"MUST-2", "3.1", "the sender computes the checksum"},
		{"MUST-3", "3.1", "the receiver verifies it"},
	}},
	{"Initial sequence numbers", []Requirement{
		{"MUST-8", "3.4.1", "a clock drives them"},
		{"SHLD-1", "3.4.1", "a keyed function is added to the clock"},
		{"MUST-9", "3.4.1", "nobody else can compute the function"},
	}},
	{"Opening", []Requirement{
		{"MUST-10", "3.5", "both may open at once"},
		{"MUST-11", "3.5", "SYN-RECEIVED remembers whether the open was passive"},
		{"MUST-41", "3.9.1.1", "a passive open touches no connection that is there"},
		{"MUST-42", "3.9.1.1", "a port can be listened to while connections to it are open"},
		{"MUST-43", "3.9.1.1", "the local address may be given"},
		{"MUST-44", "3.9.1.1", "else IP says which it is"},
		{"MUST-45", "3.9.1.1", "it stays the same for all of the connection"},
		{"MUST-46", "3.9.1.1", "opening to a broadcast or multicast address is an error"},
	}},
	{"Closing", []Requirement{
		{"SHLD-2", "3.5.3", "a reset may carry data"},
		{"MUST-12", "3.6", "the application learns whether a connection was closed or aborted"},
		{"MAY-1", "3.6.1", "an application may close without reading on"},
		{"SHLD-3", "3.6.1", "data that is lost by it is answered with a reset"},
		{"MUST-13", "3.6.1", "who closed first stays in TIME-WAIT for 2 MSL"},
		{"MAY-2", "3.6.1", "a SYN may reopen a connection in TIME-WAIT"},
		{"SHLD-4", "3.6.1", "timestamps say when it may"},
	}},
	{"Retransmission", []Requirement{
		{"MUST-19", "3.8.2", "exponential backoff, slow start, congestion avoidance"},
		{"MAY-4", "3.8.1", "a retransmission may have the same IP identification"},
		{"MUST-18", "3.8.1", "Karn's algorithm"},
		{"SHLD-8", "3.8.2", "explicit congestion notification"},
		{"MAY-18", "3.8.2", "other conforming congestion controls"},
	}},
	{"Acknowledging", []Requirement{
		{"MUST-58", "3.10.7.4", "acknowledgements are aggregated where they can be"},
		{"SHLD-31", "3.10.7.4", "segments out of order are kept"},
		{"MUST-59", "3.10.7.4", "all that is queued is processed before an ACK is sent"},
		{"MAY-13", "3.10.7.4", "a segment out of order may be answered at once"},
		{"SHLD-18", "3.8.6.3", "acknowledgements are delayed"},
		{"MUST-40", "3.8.6.3", "by less than half a second"},
		{"SHLD-19", "3.8.6.3", "at least every second full segment is acknowledged"},
		{"MUST-39", "3.8.6.2.2", "the receiver avoids silly windows"},
	}},
	{"Sending", []Requirement{
		{"MUST-49", "3.9.2", "the TTL can be set"},
		{"MUST-38", "3.8.6.2.1", "the sender avoids silly windows"},
		{"SHLD-7", "3.7.4", "Nagle's algorithm"},
		{"MUST-17", "3.7.4", "an application can do without it"},
	}},
	{"Failures", []Requirement{
		{"MUST-20", "3.8.3", "after R1 retransmissions IP is told, after R2 the connection is closed"},
		{"MUST-21", "3.8.3", "an application can set R2"},
		{"SHLD-9", "3.8.3", "it is told between R1 and R2"},
		{"SHLD-10", "3.8.3", "R1 is at least 3"},
		{"SHLD-11", "3.8.3", "R2 is at least 100 seconds"},
		{"MUST-22", "3.8.3", "SYNs are retransmitted like other segments"},
		{"MUST-23", "3.8.3", "for at least 3 minutes where it is not set otherwise"},
	}},
	{"Keep-alive", []Requirement{
		{"MAY-5", "3.8.4", "idle connections may be probed"},
		{"MUST-24", "3.8.4", "for each connection by itself"},
		{"MUST-25", "3.8.4", "only where it is asked for"},
		{"MUST-26", "3.8.4", "only when nothing has come for an interval"},
		{"MUST-27", "3.8.4", "the interval can be set"},
		{"MUST-28", "3.8.4", "and is two hours where it is not"},
		{"MUST-29", "3.8.4", "one probe without an answer means nothing"},
		{"SHLD-12", "3.8.4", "a probe has no data"},
		{"MAY-6", "3.8.4", "or a byte of garbage, where it is so configured"},
	}},
	{"IP options", []Requirement{
		{"MUST-50", "3.9.2", "options that TCP does not know are passed over"},
		{"MAY-10", "3.9.2", "timestamps"},
		{"MAY-11", "3.9.2", "record route"},
		{"MUST-51", "3.9.2.1", "an application can give a source route"},
		{"MUST-52", "3.9.2.1", "which goes before the one that came in"},
		{"MUST-53", "3.9.2.1", "the one that came in is turned round for the way back"},
		{"SHLD-24", "3.9.2.1", "a later one goes before an earlier one"},
	}},
	{"ICMP", []Requirement{
		{"MUST-54", "3.9.2.2", "a message about a connection reaches it"},
		{"SHLD-25", "3.9.2.2", "unreachable 0, 1 and 5: the application is told"},
		{"MUST-56", "3.9.2.2", "and the connection lives; as it does after time exceeded and parameter problem"},
		{"SHLD-26", "3.9.2.2", "unreachable 2 to 4: the connection is aborted"},
		{"MUST-55", "3.9.2.2", "source quench is passed over"},
	}},
	{"Addresses", []Requirement{
		{"MUST-63", "3.9.2.3", "a SYN from an impossible address is dropped"},
		{"MUST-57", "3.9.2.3", "as is a segment to a broadcast or multicast address"},
	}},
	{"What an application is offered", []Requirement{
		{"MUST-47", "3.9.1.8", "errors are reported as they happen"},
		{"SHLD-20", "3.9.1.8", "which can be switched off"},
		{"MUST-48", "3.9.1.9", "it sets the differentiated services field"},
		{"SHLD-22", "3.9.2", "which goes to IP as it is"},
		{"SHLD-21", "3.9.1.9", "it can change it while a connection is open"},
		{"SHLD-23", "3.9.1.9", "though it had better not"},
		{"MAY-9", "3.9.2", "the field of what arrives may be passed up"},
		{"MAY-14", "3.9.1.7", "a flush call"},
		{"MAY-12", "3.10.7.4", "RFC 5961's protection against injected data"},
	}},
}

// Advice is what concerns the people who write applications and configure networks, and no test of a stack can show.
var Advice = map[string]string{
	"SHLD-13": "advice to those who write applications: none of labd's own uses it",
	"SHLD-23": "advice to those who write applications: none of labd's own does",
}

// Departures are where Linux's default, and so ours, is not what the RFC asks, and how it is had.
var Departures = map[string]string{
	"MUST-23": "not by default: Linux's SYN is given up after 131 s (`tcp_syn_retries` 6, `tcp_syn_linear_timeouts` 4); `synRetries: 7` makes it 251 s",
	"MUST-53": "not by default: like Linux (`accept_source_route`) a node drops what has a source route unless `acceptSourceRoute` is on",
	"SHLD-24": "with `acceptSourceRoute`, as MUST-53",
}
