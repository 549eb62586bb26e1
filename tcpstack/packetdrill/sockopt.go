package packetdrill

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// options is what setsockopt has set on a socket, beside what went straight into the connection's settings.
type options struct {
	tcp tcpstack.TCPConfig // what a connect or listen is made with

	reuseAddr, reusePort bool
	lingers              bool
	linger               int64 // s
	rcvlowat             int64
	sndbuf, rcvbuf       int64    // as getsockopt tells them; 0: not set
	rcvtimeo, sndtimeo   sim.Time // 0: a call waits without end
	oobInline            bool
	zerocopy, inq        bool
	recverr              bool
	saveSYN              int64 // TCP_SAVE_SYN
	timestamping         int64 // SOF_TIMESTAMPING_*
	ttl                  int64 // 0: the stack's
	pmtudisc             int64
	notsentLowat         int64
	userMSS              int64
	txDelay              int64 // us
	fastOpenQueue        int64 // of TCP_FASTOPEN; -1: not set
	fastOpenConnect      bool
	pingPong             bool // TCP_QUICKACK was switched off: the connection begins so
	fastOpenNoCookie     bool
	fastOpenKey          []byte
	stored               []storedOption // what is kept and has no effect
}

// storedOption is the value of an option that only getsockopt looks at.
type storedOption struct{ level, number, value int64 }

// init gives a new socket what the sysctls say.
func (o *options) init(m *machine) {
	o.pmtudisc = pmtudiscWant
	o.fastOpenQueue = -1
}

// sockopt is an option that getsockopt and setsockopt know.
type sockopt struct {
	level  int64
	symbol string
	// set takes the value; nil: the option cannot be set. get gives it; nil: it cannot be asked.
	set func(*socket, optval) Errno
	get func(*socket) optval
	// why says what an option has no mechanism for here: asking for it is a skip.
	why string
	// harmless says why an option is taken, kept and has no effect.
	harmless string
}

// optval is the value of an option: an int, or bytes.
type optval struct {
	n       int64
	b       []byte
	isBytes bool
	errno   Errno // what getsockopt returns instead
}

func intval(n int64) optval    { return optval{n: n} }
func boolval(on bool) optval   { return optval{n: b2i(on)} }
func bytesval(b []byte) optval { return optval{b: b, isBytes: true} }
func failval(e Errno) optval   { return optval{errno: e} }
func (v optval) on() bool      { return v.n != 0 }
func (v optval) ptr() *bool    { return new(v.n != 0) }

func b2i(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

// optionOf finds an option by its level and number.
func optionOf(level, number int64) *sockopt {
	for i := range socketOptions {
		if o := &socketOptions[i]; o.level == level && symbolValues[o.symbol] == number {
			return o
		}
	}
	return nil
}

// setsockoptCall is setsockopt(fd, level, option, value, length).
func (m *machine) setsockoptCall(a *arguments) operation {
	s, errno := a.socket(0)
	level, number, length := a.int(1), a.int(2), a.int(4)
	if !a.count(5, 5) {
		return operation{}
	}
	v := a.optval(3, length)
	o := optionOf(level, number)
	switch {
	case a.err != nil:
		return operation{}
	case errno != 0:
		return done(-1, errno)
	case level == solTCP && s.datagram != nil:
		return done(-1, EOPNOTSUPP)
	case o == nil && !knownLevel(level):
		return done(-1, ENOPROTOOPT)
	case o == nil:
		a.fail(skipf("option %d of level %d", number, level))
		return operation{}
	case o.why != "":
		a.fail(skipf("%s: %s", o.symbol, o.why))
		return operation{}
	case !v.isBytes && length < 4 && o.symbol != "TCP_CONGESTION":
		return done(-1, EINVAL)
	}
	if o.harmless != "" {
		return immediate(func() (int64, Errno) {
			s.opts.store(level, number, v.n)
			return 0, 0
		})
	}
	if o.set == nil {
		return done(-1, ENOPROTOOPT)
	}
	var skip error
	op := immediate(func() (int64, Errno) {
		e := o.set(s, v)
		if e == errnoSkip {
			skip, e = skipf("%s with value %d", o.symbol, v.n), 0
		}
		return status(e)
	})
	op.wrote = func() error { return skip }
	return op
}

// errnoSkip is what an option's set returns for a value that there is no mechanism for.
const errnoSkip Errno = -1

func knownLevel(level int64) bool {
	switch level {
	case solIP, solSocket, solTCP, solUDP, solIPv6:
		return true
	}
	return false
}

// optval reads the value that setsockopt is given: [n], "text", {onoff=1, linger=0}.
func (a *arguments) optval(i int, length int64) optval {
	e := a.at(i)
	switch e.Kind {
	case ExprList:
		n, _ := a.boxed(i)
		return optval{n: int64(int32(n)), b: binary.LittleEndian.AppendUint32(nil, uint32(n))}
	case ExprString:
		b := []byte(e.Text)
		if length >= 0 && length < int64(len(b)) {
			b = b[:length]
		}
		v := bytesval(b)
		if len(b) >= 4 {
			v.n = int64(int32(binary.LittleEndian.Uint32(b)))
		}
		return v
	case ExprStruct:
		if e.Field("tv_sec") != nil && e.Field("tv_usec") != nil {
			return a.timeval(e)
		}
		if key := e.Field("tcpm_key"); key != nil && key.Value.Kind == ExprString {
			return bytesval([]byte(key.Value.Text))
		}
		on, seconds := e.Field("onoff"), e.Field("linger")
		if on == nil || seconds == nil {
			a.fail(skipf("a struct of setsockopt that is no linger"))
			return optval{}
		}
		x, err := a.m.integer(on.Value)
		if err != nil {
			a.fail(err)
		}
		y, err := a.m.integer(seconds.Value)
		if err != nil {
			a.fail(err)
		}
		b := binary.LittleEndian.AppendUint32(nil, uint32(x))
		return optval{n: x, b: binary.LittleEndian.AppendUint32(b, uint32(y)), isBytes: true}
	case ExprInt, ExprWord, ExprOr:
		n := a.int(i)
		return optval{n: n, b: binary.LittleEndian.AppendUint32(nil, uint32(n))}
	}
	a.fail(skipf("a value of setsockopt that is neither [n] nor a string"))
	return optval{}
}

// timeval reads {tv_sec=1, tv_usec=500000}.
func (a *arguments) timeval(e *Expr) optval {
	v := optval{isBytes: true}
	for _, name := range []string{"tv_sec", "tv_usec"} {
		n, err := a.m.integer(e.Field(name).Value)
		if err != nil {
			a.fail(err)
		}
		v.b = binary.LittleEndian.AppendUint64(v.b, uint64(n))
	}
	return v
}

// getsockoptCall is getsockopt(fd, level, option, [value], [length]).
func (m *machine) getsockoptCall(a *arguments) operation {
	s, errno := a.socket(0)
	level, number := a.int(1), a.int(2)
	want := a.at(3)
	length, hasLength := a.boxed(4)
	if !a.count(5, 5) {
		return operation{}
	}
	o := optionOf(level, number)
	switch {
	case errno != 0:
		return done(-1, errno)
	case level == solTCP && s.datagram != nil:
		return done(-1, EOPNOTSUPP)
	case o == nil && !knownLevel(level):
		return done(-1, ENOPROTOOPT)
	case o == nil:
		a.fail(skipf("option %d of level %d", number, level))
		return operation{}
	case o.why != "":
		a.fail(skipf("%s: %s", o.symbol, o.why))
		return operation{}
	}
	var got optval
	op := immediate(func() (int64, Errno) {
		switch {
		case o.harmless != "":
			got = intval(s.opts.loaded(level, number))
		case o.get == nil:
			return -1, ENOPROTOOPT
		default:
			got = o.get(s)
		}
		return status(got.errno)
	})
	op.wrote = func() error {
		if got.errno == errnoSkip {
			return skipf("%s of this socket", o.symbol)
		}
		return m.compareOption(o, want, got, length, hasLength)
	}
	return op
}

// compareOption holds the value and length that getsockopt gave against the script's.
func (m *machine) compareOption(o *sockopt, want *Expr, got optval, length int64, hasLength bool) error {
	b := got.b
	if !got.isBytes {
		b = binary.LittleEndian.AppendUint32(nil, uint32(got.n))
	}
	if hasLength {
		if int64(len(b)) > length {
			b = b[:max(length, 0)]
		}
		if int64(len(b)) != length {
			return fmt.Errorf("the value of %s has %d bytes, expected %d", o.symbol, len(b), length)
		}
	}
	switch want.Kind {
	case ExprEllipsis:
		return nil
	case ExprString:
		if text := []byte(want.Text); !bytes.Equal(b, text) && !(want.More && bytes.HasPrefix(b, text)) {
			return fmt.Errorf("%s is %q, expected %q", o.symbol, b, text)
		}
		return nil
	case ExprList:
		if len(want.List) != 1 || len(b) < 4 {
			return fmt.Errorf("%s has a value of %d bytes, which is not [n]", o.symbol, len(b))
		}
		if want.List[0].Kind == ExprEllipsis {
			return nil
		}
		n, err := m.integer(want.List[0])
		if err != nil {
			return err
		}
		if x := int32(binary.LittleEndian.Uint32(b)); x != int32(n) {
			return fmt.Errorf("%s is %d, expected %d", o.symbol, x, n)
		}
		return nil
	}
	return skipf("a value of getsockopt that is neither [n] nor a string")
}

func (o *options) store(level, number, value int64) {
	for i := range o.stored {
		if x := &o.stored[i]; x.level == level && x.number == number {
			x.value = value
			return
		}
	}
	o.stored = append(o.stored, storedOption{level, number, value})
}

func (o *options) loaded(level, number int64) int64 {
	for _, x := range o.stored {
		if x.level == level && x.number == number {
			return x.value
		}
	}
	return 0
}

// configure gives the connection or the listener other settings, and those that are made from now on.
func (s *socket) configure(delta tcpstack.TCPConfig) Errno {
	s.opts.tcp = delta.Merge(s.opts.tcp)
	var err error
	switch {
	case s.lsn != nil:
		err = s.lsn.Reconfigure(delta)
	case s.conn != nil:
		err = s.conn.Reconfigure(delta)
	}
	if err != nil {
		return EINVAL
	}
	return 0
}
