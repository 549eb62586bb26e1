package craft

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"labd.dev/tcpstack/wire"
)

// value is what was given for a field, parsed.
type value struct {
	given bool
	seen  bool // it has a field of the packet waited for
	sum   []term
	bytes []byte
	opts  []option

	// An address is a name, a prefix or a field of the packet waited for.
	name   string
	prefix netip.Prefix
	from   seenField
}

// term is a part of a sum.
type term struct {
	minus bool
	kind  termKind
	n     uint64 // the number itself, or the times that a term of another kind is taken
	field seenField
}

type termKind uint8

const (
	termNumber termKind = iota
	termIndex
	termRand
	termSeen
)

// maxTerms bounds a sum; what people write has two or three.
const maxTerms = 16

// number reads a sum for a field of so many bits.
func number(bits int) func(string) (value, error) {
	return func(s string) (value, error) {
		v, err := parseSum(s)
		if err == nil && len(v.sum) == 1 && v.sum[0].kind == termNumber && v.sum[0].n>>bits != 0 {
			return v, fmt.Errorf("%s does not fit into %d bits", s, bits)
		}
		return v, err
	}
}

func parseSum(s string) (v value, err error) {
	rest := strings.TrimSpace(s)
	if rest == "" {
		return v, errors.New("a number is missing")
	}
	minus := false
	for first := true; rest != ""; first = false {
		if !first || rest[0] == '-' || rest[0] == '+' {
			switch rest[0] {
			case '+':
				minus = false
			case '-':
				minus = true
			default:
				return v, fmt.Errorf("%q: here + or - is expected", rest)
			}
			rest = strings.TrimSpace(rest[1:])
		}
		n := strings.IndexAny(rest, "+- \t")
		if n < 0 {
			n = len(rest)
		}
		t, err := parseTerm(rest[:n])
		if err != nil {
			return v, err
		}
		t.minus = minus
		if v.sum = append(v.sum, t); len(v.sum) > maxTerms {
			return v, fmt.Errorf("a sum has at most %d terms", maxTerms)
		}
		v.seen = v.seen || t.kind == termSeen
		rest = strings.TrimSpace(rest[n:])
	}
	return v, nil
}

// parseTerm reads a number, or what may stand beside one and a `*`.
func parseTerm(s string) (t term, err error) {
	what, times, product := strings.Cut(s, "*")
	t.n = 1
	if product {
		if t.n, err = strconv.ParseUint(times, 0, 64); err != nil {
			return t, fmt.Errorf("%q: after * a number is expected", s)
		}
		s = what
	}
	switch {
	case s == "":
		return t, errors.New("a number is missing")
	case s == "i":
		t.kind = termIndex
	case s == "rand":
		t.kind = termRand
	case strings.HasPrefix(s, "seen."):
		t.kind = termSeen
		f, ok := seenFieldOf(s[len("seen."):])
		if !ok || f >= seenSrc {
			return t, fmt.Errorf("%q is no number of a packet: seen. goes with %s", s, strings.Join(seenNames[:seenSrc], ", "))
		}
		t.field = f
	default:
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			return t, fmt.Errorf("%q is neither a number nor i, rand or seen.FIELD", s)
		}
		t.n *= n
	}
	return t, nil
}

func parseText(s string) (value, error) {
	if len(s) > MaxData {
		return value{}, fmt.Errorf("longer than %d bytes", MaxData)
	}
	return value{bytes: []byte(s)}, nil
}

func parseHex(s string) (value, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	switch {
	case err != nil:
		return value{}, fmt.Errorf("%q is not hex", clip(s))
	case len(b) > MaxData:
		return value{}, fmt.Errorf("longer than %d bytes", MaxData)
	}
	return value{bytes: b}, nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

func parseAddr(s string) (v value, err error) {
	switch {
	case s == "":
		return v, errors.New("an address is missing")
	case s == "seen.src" || s == "seen.dst":
		v.from, _ = seenFieldOf(s[len("seen."):])
		v.seen = true
	case strings.Contains(s, "/"):
		if v.prefix, err = netip.ParsePrefix(s); err != nil {
			return v, fmt.Errorf("%q is no prefix", clip(s))
		}
	default:
		v.name = s
	}
	return v, nil
}

// parseFlags reads letters or a number.
func parseFlags(s string) (value, error) {
	if s != "" && (s[0] >= '0' && s[0] <= '9') {
		return number(8)(s)
	}
	var f wire.TCPFlags
	for _, r := range strings.ToUpper(s) {
		switch {
		case r == '.':
			f |= wire.FlagACK
		case strings.ContainsRune("CEUAPRSF", r):
			f |= 0x80 >> strings.IndexRune("CEUAPRSF", r)
		default:
			return value{}, fmt.Errorf("%q: flags are letters of C E U A P R S F", s)
		}
	}
	return value{sum: []term{{n: uint64(f)}}}, nil
}

// option is a TCP option to be made.
type option struct {
	kind  uint8
	bare  bool // NOP or EOL: no length
	widen int  // bytes of each number: 1, 2 or 4
	nums  [][]term
	bytes []byte
}

// maxTCPOptions is how many options fit a header: 40 one-byte ones.
const maxTCPOptions = wire.TCPMaxOptionsLen

func parseOptions(s string) (v value, err error) {
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' }) {
		o, err := parseOption(strings.TrimSpace(w))
		if err != nil {
			return v, err
		}
		for _, n := range o.nums {
			for _, t := range n {
				v.seen = v.seen || t.kind == termSeen
			}
		}
		if v.opts = append(v.opts, o); len(v.opts) > maxTCPOptions {
			return v, fmt.Errorf("more than %d options", maxTCPOptions)
		}
	}
	if n := optionsLen(v.opts); n > wire.TCPMaxOptionsLen {
		return v, fmt.Errorf("the options take %d bytes; a header has room for %d", n, wire.TCPMaxOptionsLen)
	}
	return v, nil
}

func parseOption(w string) (o option, err error) {
	name, arg, _ := strings.Cut(w, "=")
	nums := func(kind uint8, widen int) (option, error) {
		o := option{kind: kind, widen: widen}
		for _, s := range strings.Split(arg, ":") {
			v, err := parseSum(s)
			if err != nil {
				return o, fmt.Errorf("%s: %w", w, err)
			}
			o.nums = append(o.nums, v.sum)
		}
		return o, nil
	}
	switch strings.ToLower(name) {
	case "nop":
		return option{kind: wire.TCPOptNOP, bare: true}, nil
	case "eol":
		return option{kind: wire.TCPOptEOL, bare: true}, nil
	case "sackok":
		return option{kind: wire.TCPOptSACKPermitted}, nil
	case "mss":
		return nums(wire.TCPOptMSS, 2)
	case "wscale":
		return nums(wire.TCPOptWindowScale, 1)
	case "ts":
		return nums(wire.TCPOptTimestamps, 4)
	case "sack":
		return nums(wire.TCPOptSACK, 4)
	case "fo":
		o.kind = fastOpenKind
	default:
		kind, err := strconv.ParseUint(name, 0, 8)
		if err != nil {
			return o, fmt.Errorf("%q is no option", w)
		}
		o.kind = uint8(kind)
	}
	if o.bytes, err = hex.DecodeString(arg); err != nil {
		return o, fmt.Errorf("%s: %q is not hex", name, clip(arg))
	}
	return o, nil
}

// fastOpenKind: RFC 7413 4.1.1: "Kind 1 byte: value = 34".
const fastOpenKind = 34

// optionsLen is the length of the options with their padding.
func optionsLen(opts []option) int {
	n := 0
	for _, o := range opts {
		if o.bare {
			n++
		} else {
			n += 2 + len(o.bytes) + o.widen*len(o.nums)
		}
	}
	return (n + 3) &^ 3
}
