package packetdrill

import (
	"net/netip"

	"labd.dev/sim"
)

// Script is a parsed script.
type Script struct {
	Name    string   // its file name, as given to Parse
	Options []Option // --name=value lines, in order
	Init    *Command // the shell line before the first event, nil if none
	Events  []*Event
	Cleanup *Command // the shell line after the last event, nil if none
}

// Option is one --name=value line.
type Option struct {
	Line     int
	Name     string // without the dashes
	Value    string // quotes taken off
	HasValue bool   // --name= or --name=value, rather than --name
}

// Event is one thing of a script that has a time. Exactly one of Packet, Call,
// Command and Code is set.
type Event struct {
	Line int // the line of its time, from 1
	Time Time

	Packet  *Packet
	Call    *Call
	Command *Command
	Code    *Code
}

// TimeKind says how an event's time is written.
type TimeKind uint8

// Kinds of times.
const (
	TimeAbsolute      TimeKind = iota // 1.5: since the script's start
	TimeRelative                      // +1.5: after the event before
	TimeAny                           // *: whenever it comes; outbound packets only
	TimeAbsoluteRange                 // 1.5~1.7; outbound packets only
	TimeRelativeRange                 // +1.5~+1.7; outbound packets only
)

// Time is when an event is to happen. At and Until are offsets from the event
// before where the kind is relative. Until is meant for ranges only.
type Time struct {
	Kind      TimeKind
	At, Until sim.Time
}

// Relative says whether the time counts from the event before.
func (t Time) Relative() bool { return t.Kind == TimeRelative || t.Kind == TimeRelativeRange }

// Command is a back-ticked shell line, or several.
type Command struct {
	Line int
	Text string // between the backticks, as it stands
}

// Code is a %{ ... }% block over tcp_info.
type Code struct {
	Line int    // the line on which Text begins
	Text string // between the braces; blanks at its very ends taken off
}

// Call is a system call and what the script expects of it.
type Call struct {
	Line   int
	Name   string
	Args   []*Expr
	Result *Expr
	Errno  string // EAGAIN of "-1 EAGAIN (Resource temporarily unavailable)", else empty
	Note   string // the text in parentheses

	// Blocking is set by "0.1...0.2 read(...)": the call may block, and must
	// return at End, which is relative where the event's time is. A call
	// without it holds up the script until it returns.
	Blocking bool
	End      sim.Time
}

// Proto is what a packet carries.
type Proto uint8

// What a packet may carry.
const (
	ProtoTCP Proto = iota
	ProtoUDP
	ProtoICMP
)

// Packet is a packet of the script: inbound ones are made from it, outbound ones
// compared with it.
type Packet struct {
	Line     int
	Outbound bool // ">", sent by the stack under test
	Proto    Proto
	IP       IPInfo

	// SrcPort and DstPort are set by "8080 > 1234" before the flags; 0 where
	// the script leaves them to the connection.
	SrcPort, DstPort uint16

	TCP    TCP
	Length int // payload bytes of TCP and UDP
	ICMP   ICMP
}

// TOSCheck says how much of an outbound packet's TOS byte is compared.
type TOSCheck uint8

// What of the TOS byte is compared.
const (
	TOSNone  TOSCheck = iota // nothing; inbound packets carry 0
	TOSECN                   // the two ECN bits
	TOSECT01                 // the ECN bits say ECT(0) or ECT(1)
	TOSByte                  // the whole byte
)

// IPInfo is what stands in brackets behind the direction.
type IPInfo struct {
	Check     TOSCheck
	TOS       uint8
	FlowLabel uint32 // 0: not compared
	TTL       uint8  // 0: not compared; inbound packets carry 255
}

// TCPFlags are the flags of the TCP header as it has them, AE included.
type TCPFlags uint16

// The flags, in the header's order from its lowest bit.
const (
	FIN TCPFlags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE
)

// ACE is the counter of AccECN's packets, which AE, CWR and ECE hold together.
func (f TCPFlags) ACE() uint8 { return uint8(f >> 6 & 7) }

// TCP is the header of a TCP packet, in the script's numbers.
type TCP struct {
	Flags  TCPFlags
	HasACE bool   // the flags end in a digit: ACE is compared as one number
	Seq    uint32 // relative, as the script has it
	Ack    uint32
	HasAck bool // "ack n" was written
	Window uint16
	HasWin bool // "win n" was written
	Urgent uint16

	AnyOptions bool // <...>: outbound only, options are not compared
	Options    []TCPOption
}

// OptionKind is the kind byte of a TCP option.
type OptionKind uint8

// Kinds that the language has words for.
const (
	OptEOL       OptionKind = 0
	OptNOP       OptionKind = 1
	OptMSS       OptionKind = 2
	OptWScale    OptionKind = 3
	OptSACKOK    OptionKind = 4
	OptSACK      OptionKind = 5
	OptTimestamp OptionKind = 8
	OptMD5       OptionKind = 19
	OptFastOpen  OptionKind = 34
	OptAccECN0   OptionKind = 172
	OptAccECN1   OptionKind = 174
	OptExp       OptionKind = 254
)

// TCPOption is one option. Data is the option's body, without kind and length,
// in network order and the script's numbers; the runner maps the sequence
// numbers of SACK and the values of timestamps when it uses the packet.
type TCPOption struct {
	Kind OptionKind
	Data []byte
}

// ICMP is an ICMP packet: an error that quotes a packet of the connection, or an
// echo.
type ICMP struct {
	Type, Code string // the script's words: "unreachable", "frag_needed"
	MTU        int    // -1 where none is written
	EchoID     uint16

	HasQuote    bool
	QuoteProto  Proto
	QuoteSeq    uint32 // relative sequence number of the TCP segment quoted
	QuoteLength int    // its payload
}

// ExprKind is a kind of expression.
type ExprKind uint8

// Kinds of expressions.
const (
	ExprEllipsis ExprKind = iota // ...: anything, or "whatever the runner chooses"
	ExprInt                      // 4, -1, 0x10
	ExprWord                     // AF_INET, an errno, a symbol the system layer resolves
	ExprString                   // "reno"
	ExprOr                       // List joined by |
	ExprAssign                   // Word = List[0]
	ExprList                     // [a, b]
	ExprStruct                   // {a = 1, b = 2} or {..., 1000} in Fields
	ExprFunc                     // htons(8080), inet_addr("192.0.2.1"): Word(List...)
)

// Expr is an expression among a call's arguments, or its result.
type Expr struct {
	Line int
	Kind ExprKind
	Int  int64
	// Text is a word's name, a string's bytes (escapes resolved), a function's
	// or an assigned symbol's name.
	Text string
	// Hex says that an integer was written in hexadecimal; More that a string
	// was written "abc"..., so that only its beginning counts.
	Hex, More bool
	List      []*Expr
	Fields    []Field
	Addr      netip.Addr // of inet_addr and inet6_addr
}

// Field is one member of a struct. "msg_iov(2) = [...]" has Arg 2; the members
// of "{..., 1000}" have no Name.
type Field struct {
	Name  string
	Arg   *Expr // nil if none
	Value *Expr
}

// Field returns a struct's member, nil where it is absent.
func (e *Expr) Field(name string) *Field {
	for i := range e.Fields {
		if e.Fields[i].Name == name {
			return &e.Fields[i]
		}
	}
	return nil
}
