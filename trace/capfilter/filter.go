// Package capfilter is labd's capture filter: a small part of the language that tcpdump's users know (pcap-filter), in
// which nodes have names.
//
//	expression = primary { ( "and" | "&&" | "or" | "||" ) primary }      left to right, both bind alike, as in pcap-filter
//	primary    = ( "not" | "!" ) primary | "(" expression ")" | test
//	test       = [ protocol ] [ direction ] kind value | [ direction ] node-or-address | protocol
//	protocol   = "ip" | "arp" | "icmp" | "tcp" | "udp"
//	direction  = "src" | "dst"
//	kind       = "host" node-or-address | "net" CIDR | "port" N | "portrange" N "-" N
package capfilter

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxLength bounds a filter; what people write has a line.
	maxLength = 4096
	// maxDepth bounds parentheses and nots in one another.
	maxDepth = 64
)

// Filter picks frames. The zero value picks all.
type Filter struct{ test test }

// test is a condition, compiled.
type test func(*packet) bool

// Match reports whether a frame, of which all headers are there from Ethernet's on, is picked.
func (f *Filter) Match(frame []byte) bool {
	if f.test == nil {
		return true
	}
	p := parse(frame)
	return f.test(&p)
}

// Error is a mistake in a filter.
type Error struct {
	Column int // from 1
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("filter, column %d: %s", e.Column, e.Text) }

// Compile reads a filter; an empty one picks all. resolve gives the addresses of a node; nil where names are not known
// yet, so that only the form is checked.
func Compile(text string, resolve func(name string) ([]netip.Addr, bool)) (*Filter, error) {
	if len(text) > maxLength {
		return nil, &Error{maxLength + 1, fmt.Sprintf("a filter has at most %d characters", maxLength)}
	}
	p := &parser{resolve: resolve, words: split(text), end: len(text) + 1}
	if len(p.words) == 0 {
		return &Filter{}, nil
	}
	t, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if w, ok := p.peek(); ok {
		return nil, &Error{w.column, fmt.Sprintf("%q: here `and`, `or` or the end is expected", w.text)}
	}
	return &Filter{test: t}, nil
}

// word is a word of a filter and where it begins.
type word struct {
	text   string
	column int
}

// split cuts a filter into words; parentheses, !, && and || are words also without space around them.
func split(text string) (words []word) {
	for i := 0; i < len(text); {
		rest := text[i:]
		n := 1
		switch {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n' || rest[0] == '\r':
			i++
			continue
		case strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "||"):
			n = 2
		case !strings.ContainsRune("()!&|", rune(rest[0])):
			if n = strings.IndexAny(rest, " \t\r\n()!&|"); n < 0 {
				n = len(rest)
			}
		}
		words = append(words, word{rest[:n], i + 1})
		i += n
	}
	return words
}

type parser struct {
	resolve func(string) ([]netip.Addr, bool)
	words   []word
	at      int
	end     int // column behind the last character
}

func (p *parser) peek() (word, bool) {
	if p.at == len(p.words) {
		return word{column: p.end}, false
	}
	return p.words[p.at], true
}

// accept takes the next word if it is one of these.
func (p *parser) accept(texts ...string) bool {
	w, ok := p.peek()
	if ok && slices.Contains(texts, w.text) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expression(depth int) (test, error) {
	left, err := p.primary(depth)
	for err == nil {
		// "[`and` and `or`] have equal precedence and associate left to right" (pcap-filter).
		switch {
		case p.accept("and", "&&"):
			var right test
			a := left
			right, err = p.primary(depth)
			left = func(k *packet) bool { return a(k) && right(k) }
		case p.accept("or", "||"):
			var right test
			a := left
			right, err = p.primary(depth)
			left = func(k *packet) bool { return a(k) || right(k) }
		default:
			return left, nil
		}
	}
	return nil, err
}

func (p *parser) primary(depth int) (test, error) {
	w, ok := p.peek()
	switch {
	case !ok:
		return nil, &Error{w.column, "the filter ends where a test is expected: host, net, port, tcp, udp, icmp, arp"}
	case depth > maxDepth:
		return nil, &Error{w.column, fmt.Sprintf("more than %d parentheses or nots in one another", maxDepth)}
	case p.accept("not", "!"):
		t, err := p.primary(depth + 1)
		return func(k *packet) bool { return !t(k) }, err
	case p.accept("("):
		t, err := p.expression(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.accept(")") {
			end, _ := p.peek()
			return nil, &Error{end.column, fmt.Sprintf("the parenthesis of column %d is not closed here", w.column)}
		}
		return t, nil
	}
	return p.test()
}

// protocols are the tests that need no value.
var protocols = map[string]test{
	"ip":    func(k *packet) bool { return k.etherType == etherTypeIPv4 },
	"arp":   func(k *packet) bool { return k.etherType == etherTypeARP },
	"icmp":  func(k *packet) bool { return k.etherType == etherTypeIPv4 && k.proto == protoICMP },
	"ip6":   func(k *packet) bool { return k.etherType == etherTypeIPv6 },
	"icmp6": func(k *packet) bool { return k.etherType == etherTypeIPv6 && k.proto == protoICMPv6 },
	"tcp":   func(k *packet) bool { return k.ip() && k.proto == protoTCP },
	"udp":   func(k *packet) bool { return k.ip() && k.proto == protoUDP },
}

// known are the words that are no names.
var known = []string{"and", "or", "not", "&&", "||", "!", "(", ")", "ip", "ip6", "arp", "icmp", "icmp6", "tcp", "udp", "src", "dst", "host", "net", "port", "portrange", "&", "|"}

func (p *parser) test() (test, error) {
	w, _ := p.peek()
	proto, hasProto := protocols[w.text]
	if hasProto {
		p.at++
	}
	d := p.direction()
	next, more := p.peek()
	var t test
	var err error
	switch {
	case more && slices.Contains([]string{"host", "net", "port", "portrange"}, next.text):
		if (next.text == "port" || next.text == "portrange") && (w.text == "arp" || w.text == "icmp" || w.text == "icmp6") {
			return nil, &Error{next.column, w.text + " has no ports"}
		}
		p.at++
		t, err = p.value(next.text, d)
	case d != 0, !hasProto:
		if !more || slices.Contains(known, next.text) {
			return nil, p.unexpected(next, more)
		}
		if _, e := strconv.ParseUint(next.text, 10, 16); e == nil {
			return nil, &Error{next.column, fmt.Sprintf("%q alone is nothing; a port is written: port %s", next.text, next.text)}
		}
		t, err = p.value("host", d)
	default:
		return proto, nil
	}
	if err != nil || !hasProto {
		return t, err
	}
	return func(k *packet) bool { return proto(k) && t(k) }, nil
}

func (p *parser) unexpected(w word, more bool) error {
	if !more {
		return &Error{w.column, "the filter ends where host, net, port or a node is expected"}
	}
	return &Error{w.column, fmt.Sprintf("%q: here host, net, port, tcp, udp, icmp, arp or a node is expected", w.text)}
}

// direction is which end of a packet is meant.
type direction uint8

const (
	source      direction = 1
	destination direction = 2
)

func (p *parser) direction() direction {
	switch {
	case p.accept("src"):
		return source
	case p.accept("dst"):
		return destination
	}
	return 0
}

// ends makes a test of one end into one of the end that is meant, or of either.
func ends[T any](d direction, src, dst func(*packet) T, is func(T) bool) test {
	switch d {
	case source:
		return func(k *packet) bool { return is(src(k)) }
	case destination:
		return func(k *packet) bool { return is(dst(k)) }
	}
	return func(k *packet) bool { return is(src(k)) || is(dst(k)) }
}

func addresses(d direction, is func(netip.Addr) bool) test {
	return ends(d, func(k *packet) netip.Addr { return k.src }, func(k *packet) netip.Addr { return k.dst },
		func(a netip.Addr) bool { return a.IsValid() && is(a) })
}

func ports(d direction, low, high uint16) test {
	t := ends(d, func(k *packet) uint16 { return k.srcPort }, func(k *packet) uint16 { return k.dstPort },
		func(port uint16) bool { return port >= low && port <= high })
	return func(k *packet) bool { return k.ports && t(k) }
}

// value reads what follows a kind.
func (p *parser) value(kind string, d direction) (test, error) {
	w, ok := p.peek()
	if !ok || slices.Contains(known, w.text) {
		return nil, &Error{w.column, map[string]string{
			"host": "which host? A node or an address", "net": "which net? Like 10.0.1.0/24", "port": "which port? A number from 0 to 65535",
			"portrange": "which ports? Like 8000-8080",
		}[kind]}
	}
	p.at++
	switch kind {
	case "net":
		prefix, err := netip.ParsePrefix(w.text)
		if err != nil {
			return nil, &Error{w.column, fmt.Sprintf("%q is no net: it is written like 10.0.1.0/24", w.text)}
		}
		return addresses(d, prefix.Masked().Contains), nil
	case "port":
		n, err := p.port(w, w.text)
		return ports(d, n, n), err
	case "portrange":
		a, b, found := strings.Cut(w.text, "-")
		if !found {
			return nil, &Error{w.column, fmt.Sprintf("%q is no range of ports: it is written like 8000-8080", w.text)}
		}
		low, err := p.port(w, a)
		if err != nil {
			return nil, err
		}
		high, err := p.port(w, b)
		return ports(d, min(low, high), max(low, high)), err
	}
	return p.host(w, d)
}

func (p *parser) port(w word, text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, &Error{w.column, fmt.Sprintf("%q is no port: a number from 0 to 65535", text)}
	}
	return uint16(n), nil
}

func (p *parser) host(w word, d direction) (test, error) {
	if a, err := netip.ParseAddr(w.text); err == nil {
		return addresses(d, func(b netip.Addr) bool { return a == b }), nil
	}
	if p.resolve == nil {
		return func(*packet) bool { return false }, nil
	}
	list, ok := p.resolve(w.text)
	if !ok {
		return nil, &Error{w.column, fmt.Sprintf("%q is no node of the lab and no address", w.text)}
	}
	return addresses(d, func(a netip.Addr) bool { return slices.Contains(list, a) }), nil
}
