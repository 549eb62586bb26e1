package packetdrill

import (
	"fmt"
	"net/netip"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// host is what a script runs on: the machine under test, as the runner makes it
// for the system layer. One goroutine owns it all; whatever happens, happens
// inside the loop or between two of its runs.
type host struct {
	loop  *sim.Loop
	stack *tcpstack.Stack
	iface *tcpstack.Interface
	// config is what the stack runs with; the sysctl table changes it and calls
	// stack.Reconfigure.
	config tcpstack.Config

	family family
	// bind is where a bind() whose address the script leaves open binds, with
	// the port of --bind_port; dial is the peer that such a connect() calls,
	// with the port of --connect_port. As with the original, the addresses and
	// ports that a script writes into sockaddrs of bind and connect count where
	// it writes them.
	bind, dial netip.AddrPort

	tolerance time.Duration
	syns      savedSYNs
	md5Key    string   // of the last TCP_MD5SIG: what `md5` without digits is made with
	pause     sim.Time // how long the command that has run sleeps
	// under is called by the system layer whenever a socket is opened, begins to
	// listen, or to connect, before any packet leaves: the runner maps packets
	// to the socket that the script last did so with, as the original does.
	under func(socketEvent)
	// left is called with each frame that leaves, before the runner sees it, and arrived after each that has come.
	left    func(*livePacket)
	arrived func()
}

// family is --ip_version.
type family uint8

const (
	familyIPv4       family = iota
	familyIPv4Mapped        // AF_INET6 sockets over IPv4
	familyIPv6
)

// socketEvent tells the runner what became of a socket.
type socketEvent struct {
	kind  socketEventKind
	proto Proto
	// local and remote are live addresses as far as they are known: remote of a
	// connect (or a sendto, or sendmsg with MSG_FASTOPEN that connects), local of
	// a listen or a bound datagram socket.
	local, remote netip.AddrPort
}

type socketEventKind uint8

const (
	socketOpened     socketEventKind = iota // socket()
	socketListening                         // listen()
	socketConnecting                        // connect(), or what connects as it does
)

// system is the machine's system-call layer. newSystem(h *host) system makes it.
//
// The errors it reports: nil means that all is as the script says; a *skipError
// (skipf) that the layer lacks what the script asks for; any other is a failure,
// its text what was expected and what came. The runner adds file and line.
type system interface {
	// Call starts a system call at the loop's time. finish is called once, in
	// Call or later inside the loop, when the call has returned and its result,
	// its errno and what it wrote into its arguments were compared with c; the
	// runner checks when that was. The runner starts no call before the last one
	// has finished (one thread makes them, as with the original).
	Call(c *Call, finish func(error))
	// Command runs a shell line.
	Command(c *Command) error
	// Code gathers the tcp_info of the socket that the script uses and runs the
	// block over it.
	Code(c *Code) error
}

// skipError says what of a script this host has not.
type skipError struct {
	line   int // 0: the event's own
	reason string
}

func (e *skipError) Error() string { return e.reason }

func skipf(format string, a ...any) error {
	return &skipError{reason: fmt.Sprintf(format, a...)}
}
