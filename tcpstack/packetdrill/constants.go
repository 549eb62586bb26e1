package packetdrill

// Numbers of Linux's headers that the socket layer itself decides by; symbols has them under their own names.
const (
	afUnspec = 0
	afInet   = 2
	afInet6  = 10

	sockStream   = 1
	sockDgram    = 2
	sockTypeMask = 0xf
	sockNonblock = 0x800
	sockCloexec  = 0x80000

	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17

	solIP     = 0
	solSocket = 1
	solTCP    = 6
	solUDP    = 17
	solIPv6   = 41
)

// Flags of send and recv.
const (
	msgOOB       = 0x1
	msgPeek      = 0x2
	msgTrunc     = 0x20
	msgDontwait  = 0x40
	msgEOR       = 0x80
	msgWaitall   = 0x100
	msgErrqueue  = 0x2000
	msgNosignal  = 0x4000
	msgMore      = 0x8000
	msgZerocopy  = 0x4000000
	msgFastopen  = 0x20000000
	msgCmsgClose = 0x40000000
)

// What poll and epoll report, in epoll's numbers; poll's are the same.
const (
	epollIn     = 0x1
	epollPri    = 0x2
	epollOut    = 0x4
	epollErr    = 0x8
	epollHup    = 0x10
	epollNval   = 0x20 // poll's alone
	epollRdnorm = 0x40
	epollRdband = 0x80
	epollWrnorm = 0x100
	epollWrband = 0x200
	epollRdhup  = 0x2000

	epollExclusive = 1 << 28
	epollOneshot   = 1 << 30
	epollEdge      = 1 << 31

	readableBits = epollIn | epollRdnorm
	writableBits = epollOut | epollWrnorm
)

// Halves of a connection, as sk_shutdown has them; shutdown's argument is one less.
const (
	shutRead  = 1
	shutWrite = 2
)

// Control messages.
const (
	tcpInq           = 36
	ipRecverr        = 11
	ipv6Recverr      = 25
	scmTimestamping  = 37
	scmOptStats      = 54
	nlaBusy          = 1
	nlaSndbufLimited = 3
)

// Origins and codes of struct sock_extended_err.
const (
	originICMP         = 2
	originICMP6        = 3
	originTimestamping = 4
	originZerocopy     = 5
	codeZerocopyCopied = 1
)
