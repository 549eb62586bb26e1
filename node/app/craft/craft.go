// Package craft builds packets from named fields: any IPv4, IPv6, TCP, UDP or ICMP packet, honest or not. What is left
// out is filled in as an honest sender would: lengths, checksums, defaults. What is given goes on the wire as it is.
//
// A number is a sum: `1000`, `0x1f`, `seen.ack + 1`, `i*1460`. Its terms are numbers, `i` (how many of these packets went
// before, from 0), `rand` (drawn anew each time) and `seen.FIELD`, a field of the packet that was waited for.
package craft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Field is one field of a packet as a person writes it.
type Field struct{ Name, Value string }

// Error is a mistake in a field.
type Error struct {
	Field      string
	Text       string
	Suggestion string // what was probably meant; may be empty
}

func (e *Error) Error() string {
	s := e.Field + ": " + e.Text
	if e.Suggestion != "" {
		s += "; did you mean " + e.Suggestion + "?"
	}
	return s
}

// Env is where a packet is made.
type Env struct {
	// Resolve finds the address of a node, the IPv6 one if six, or of a literal address.
	Resolve func(name string, six bool) (netip.Addr, bool)
	// Source is the address that the node itself would send from to dst.
	Source func(dst netip.Addr) (netip.Addr, bool)
	Draw   func() uint64 // the dice of `rand`
	I      uint64        // the value of `i`
	Seen   *Seen         // the packet that was waited for; nil if none was
}

// Packet is a packet to be made, compiled.
type Packet struct {
	values [numKeys]value
	layer  layer
	v6     bool // says so by an ip6.* field
	v4     bool
}

// layer is what follows the IP header.
type layer uint8

const (
	layerNone layer = iota
	layerTCP
	layerUDP
	layerICMP
)

var layerNames = [...]string{layerTCP: "tcp", layerUDP: "udp", layerICMP: "icmp"}

// MaxData bounds what a packet carries: the longest IP packet.
const MaxData = 65535

// Compile reads the fields of a packet. Its errors are of type *Error.
func Compile(fields []Field) (*Packet, error) {
	p := new(Packet)
	for _, f := range fields {
		k := find(f.Name)
		if k < 0 {
			return nil, &Error{f.Name, "is no field of a packet", nearest(f.Name)}
		}
		if p.values[k].given {
			return nil, &Error{f.Name, "is given twice", ""}
		}
		v, err := keys[k].parse(f.Value)
		if err != nil {
			return nil, &Error{f.Name, err.Error(), ""}
		}
		v.given = true
		p.values[k] = v
		if err := p.placed(f.Name); err != nil {
			return nil, err
		}
	}
	if !p.values[ipDst].given {
		return nil, &Error{"ip.dst", "says where the packet goes, and is missing", ""}
	}
	if p.values[data].given && p.values[hexData].given {
		return nil, &Error{"hex", "data is given already", ""}
	}
	return p, nil
}

// placed notes which headers a field asks for.
func (p *Packet) placed(name string) error {
	where, _, _ := strings.Cut(name, ".")
	switch where {
	case "ip6":
		p.v6 = true
	case "ip":
		if name != "ip.src" && name != "ip.dst" && name != "ip.proto" && name != "ip.ttl" && name != "ip.tos" {
			p.v4 = true
		}
	case "quote":
		where = "icmp"
	}
	if l := layer(max(0, slices.Index(layerNames[:], where))); l != layerNone && where != "" {
		if p.layer != layerNone && p.layer != l {
			return &Error{name, fmt.Sprintf("the packet has %s fields already: it carries one of them", layerNames[p.layer]), ""}
		}
		p.layer = l
	}
	if p.v4 && p.v6 {
		return &Error{name, "a packet is of IPv4 or of IPv6, and has fields of both", ""}
	}
	return nil
}

// Waits reports whether the packet has fields of one that it waits for.
func (p *Packet) Waits() bool {
	for i := range p.values {
		if p.values[i].seen {
			return true
		}
	}
	return false
}

// Dst is the name or address that the packet goes to; empty if it is a field of the packet waited for.
func (p *Packet) Dst() string { return p.values[ipDst].name }

// Names lists the nodes that the packet names.
func (p *Packet) Names() []Field {
	var names []Field
	for k := range p.values {
		if v := &p.values[k]; v.name != "" {
			names = append(names, Field{keys[k].Name, v.name})
		}
	}
	return names
}
