package packetdrill

import (
	"fmt"
	"net/netip"
	"strings"

	"labd.dev/sim"
)

// arguments reads the arguments of a call. The first thing that is wrong is kept in err; what is read after that is of no
// account.
type arguments struct {
	m    *machine
	list []*Expr
	err  error
}

func (a *arguments) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// count checks how many arguments there are.
func (a *arguments) count(least, most int) bool {
	if n := len(a.list); n < least || n > most {
		a.fail(fmt.Errorf("%d arguments, expected %d", n, least))
	}
	return a.err == nil
}

var absent = &Expr{Kind: ExprEllipsis}

func (a *arguments) at(i int) *Expr {
	if i >= len(a.list) {
		return absent
	}
	return a.list[i]
}

// int reads an integer.
func (a *arguments) int(i int) int64 {
	n, err := a.m.integer(a.at(i))
	if err != nil {
		a.fail(err)
	}
	return n
}

// boxed reads "[n]"; "..." leaves it open.
func (a *arguments) boxed(i int) (n int64, given bool) {
	e := a.at(i)
	if e.Kind == ExprEllipsis {
		return 0, false
	}
	if e.Kind != ExprList || len(e.List) != 1 {
		a.fail(fmt.Errorf("argument %d is not [n]", i+1))
		return 0, false
	}
	if e.List[0].Kind == ExprEllipsis {
		return 0, false
	}
	n, err := a.m.integer(e.List[0])
	if err != nil {
		a.fail(err)
	}
	return n, true
}

// open checks for "...", the argument that the runner chooses. A null pointer is written 0 or NULL.
func (a *arguments) buffer(i int) (null bool) {
	e := a.at(i)
	switch e.Kind {
	case ExprEllipsis, ExprString:
		return false
	case ExprInt, ExprWord:
		if n := a.int(i); n == 0 {
			return true
		}
	}
	a.fail(fmt.Errorf("argument %d is neither ... nor NULL", i+1))
	return false
}

// file reads a descriptor; nil where no file has it.
func (a *arguments) file(i int) file { return a.m.descriptor(int(a.int(i))) }

// socket reads the descriptor of a socket; the errno says what is wrong with one that is none.
func (a *arguments) socket(i int) (*socket, Errno) {
	switch f := a.file(i).(type) {
	case *socket:
		return f, 0
	case nil:
		return nil, EBADF
	}
	return nil, ENOTSOCK
}

// sockaddr reads an address: "..." is otherwise; a bare AF_UNSPEC dissolves an association.
func (a *arguments) sockaddr(i int, otherwise netip.AddrPort) (addr netip.AddrPort, unspec bool) {
	e := a.at(i)
	switch e.Kind {
	case ExprEllipsis:
		return otherwise, false
	case ExprStruct:
		return a.m.sockaddr(e, otherwise, a)
	}
	n := a.int(i)
	switch n {
	case afUnspec:
		return netip.AddrPort{}, true
	case afInet, afInet6:
		return otherwise, false
	}
	a.fail(skipf("addresses of family %d", n))
	return otherwise, false
}

// shortAddress says whether the length that is given with an address is less than one has: of IPv4 16 bytes, of IPv6 24
// (SIN6_LEN_RFC2133).
func (a *arguments) shortAddress(i int) bool {
	if a.at(i).Kind == ExprEllipsis {
		return false
	}
	return a.int(i) < 16
}

// sockaddr reads {sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("192.0.2.1")}.
func (m *machine) sockaddr(e *Expr, otherwise netip.AddrPort, a *arguments) (addr netip.AddrPort, unspec bool) {
	ip, port := otherwise.Addr(), otherwise.Port()
	for _, f := range e.Fields {
		switch f.Name {
		case "sa_family", "sin_family", "sin6_family":
			n, err := m.integer(f.Value)
			if err != nil {
				a.fail(err)
			}
			unspec = n == afUnspec
		case "sin_port", "sin6_port":
			if f.Value.Kind == ExprEllipsis {
				continue
			}
			n, err := m.integer(f.Value)
			if err != nil {
				a.fail(err)
			}
			port = uint16(n)
		case "sin_addr", "sin6_addr":
			switch {
			case f.Value.Addr.IsValid():
				ip = f.Value.Addr
			case f.Value.Kind != ExprEllipsis:
				n, err := m.integer(f.Value)
				if err != nil {
					a.fail(err)
				}
				ip = netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
			}
		case "sin6_flowinfo", "sin6_scope_id":
		default:
			a.fail(skipf("member %s of an address", f.Name))
		}
	}
	return netip.AddrPortFrom(ip, port), unspec
}

// buffers reads an array of iovecs: [{..., 1000}, {..., 500}].
func (a *arguments) buffers(i int) []int64 {
	lengths, err := a.m.iovecs(a.at(i))
	if err != nil {
		a.fail(err)
	}
	return lengths
}

func (m *machine) iovecs(e *Expr) ([]int64, error) {
	if e.Kind != ExprList {
		return nil, fmt.Errorf("an array of iovecs is not [{..., n}, ...]")
	}
	var lengths []int64
	for _, v := range e.List {
		if v.Kind != ExprStruct || len(v.Fields) != 2 {
			return nil, fmt.Errorf("an iovec is not {..., n}")
		}
		n, err := m.integer(v.Fields[1].Value)
		if err != nil {
			return nil, err
		}
		if n < 0 {
			return nil, fmt.Errorf("an iovec of %d bytes", n)
		}
		lengths = append(lengths, n)
	}
	return lengths, nil
}

func sum(lengths []int64) (n int64) {
	for _, l := range lengths {
		n += l
	}
	return n
}

// integer evaluates an expression that is a number.
func (m *machine) integer(e *Expr) (int64, error) {
	switch e.Kind {
	case ExprInt:
		return e.Int, nil
	case ExprWord:
		return m.symbol(e.Text)
	case ExprOr:
		var all int64
		for _, p := range e.List {
			n, err := m.integer(p)
			if err != nil {
				return 0, err
			}
			all |= n
		}
		return all, nil
	case ExprFunc:
		return m.function(e)
	}
	return 0, fmt.Errorf("an argument is not a number")
}

// function evaluates htons and its like. Ports and addresses are kept in the host's order.
func (m *machine) function(e *Expr) (int64, error) {
	switch e.Text {
	case "htons", "htonl", "ntohs", "ntohl":
		if len(e.List) == 1 {
			return m.integer(e.List[0])
		}
	}
	return 0, skipf("function %s", e.Text)
}

// symbol is the value of a name.
func (m *machine) symbol(name string) (int64, error) {
	if v, ok := symbolValues[name]; ok {
		return v, nil
	}
	return 0, skipf("symbol %s", name)
}

// names writes a set of flags in symbols of one prefix, for messages: "POLLIN|POLLHUP".
func names(prefix string, bits uint32) string {
	var words []string
	for _, s := range symbols {
		if v := uint32(s.value); strings.HasPrefix(s.name, prefix) && v != 0 && v&(v-1) == 0 && bits&v != 0 {
			words = append(words, s.name)
			bits &^= v
		}
	}
	if bits != 0 || len(words) == 0 {
		words = append(words, fmt.Sprintf("%#x", bits))
	}
	return strings.Join(words, "|")
}

// milliseconds is a timeout as poll has it: negative waits without end, 0 not at all.
func (m *machine) timeout(ms int64) (until sim.Time, waits bool) {
	switch {
	case ms < 0:
		return 0, true
	case ms == 0:
		return 0, false
	}
	return m.after(sim.Time(ms) * sim.Millisecond), true
}
