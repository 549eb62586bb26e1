package packetdrill

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"labd.dev/sim"
)

// notation is a packet as a script writes it, without its time. like is what it
// is to be compared with: marks that the other does not have are left out.
func (p *Packet) notation(like *Packet) string {
	var b strings.Builder
	if p.Outbound {
		b.WriteByte('>')
	} else {
		b.WriteByte('<')
	}
	if m := p.IP.marks(like.IP); m != "" {
		fmt.Fprintf(&b, " [%s]", m)
	}
	switch p.Proto {
	case ProtoUDP:
		fmt.Fprintf(&b, " udp (%d)", p.Length)
	case ProtoICMP:
		b.WriteString(p.ICMP.notation())
	default:
		b.WriteByte(' ')
		b.WriteString(p.TCP.notation(p.Length, &like.TCP))
	}
	return b.String()
}

// marks are what stands in brackets: as much of it as like compares.
func (ip IPInfo) marks(like IPInfo) string {
	var m []string
	switch like.Check {
	case TOSECN:
		m = append(m, [...]string{"noecn", "ect1", "ect0", "ce"}[ip.TOS&3])
	case TOSECT01:
		if ip.Check == TOSECT01 {
			m = append(m, "ect01")
		} else {
			m = append(m, [...]string{"noecn", "ect1", "ect0", "ce"}[ip.TOS&3])
		}
	case TOSByte:
		m = append(m, fmt.Sprintf("tos %#02x", ip.TOS))
	}
	if like.FlowLabel != 0 {
		m = append(m, fmt.Sprintf("flowlabel %#x", ip.FlowLabel))
	}
	if like.TTL != 0 {
		m = append(m, fmt.Sprintf("ttl %d", ip.TTL))
	}
	return strings.Join(m, ", ")
}

func (c *ICMP) notation() string {
	s := " icmp " + c.Type
	if c.Code != "" {
		s += " " + c.Code
	}
	if c.MTU >= 0 {
		s += fmt.Sprintf(" mtu %d", c.MTU)
	}
	return s
}

// notation is the header as tcpdump and scripts write it.
func (t *TCP) notation(length int, like *TCP) string {
	var b strings.Builder
	flags := t.letters(like.HasACE)
	fmt.Fprintf(&b, "%s %d:%d(%d)", flags, t.Seq, t.Seq+uint32(length), length)
	if t.HasAck || t.Flags&ACK != 0 {
		fmt.Fprintf(&b, " ack %d", t.Ack)
	}
	if t.HasWin {
		fmt.Fprintf(&b, " win %d", t.Window)
	}
	if t.Urgent != 0 {
		fmt.Fprintf(&b, " urg %d", t.Urgent)
	}
	if t.AnyOptions {
		b.WriteString(" <...>")
	} else if len(t.Options) > 0 {
		var o []string
		for _, opt := range t.Options {
			o = append(o, opt.notation())
		}
		fmt.Fprintf(&b, " <%s>", strings.Join(o, ","))
	}
	return b.String()
}

// letters are the flags as a script can have them: letters, the dot, AccECN's
// counter.
func (t *TCP) letters(ace bool) string {
	var b strings.Builder
	for i, c := range flagLetters {
		f := TCPFlags(1) << i
		if t.Flags&f != 0 && c != '.' && !(ace && f&(ECE|CWR|AE) != 0) {
			b.WriteRune(c)
		}
	}
	if t.Flags&ACK != 0 {
		b.WriteByte('.')
	}
	if ace {
		b.WriteByte('0' + t.Flags.ACE())
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}

func (o TCPOption) notation() string {
	n := func(at int) uint32 { return binary.BigEndian.Uint32(o.Data[at:]) }
	switch {
	case o.Kind == OptEOL:
		return "eol"
	case o.Kind == OptNOP:
		return "nop"
	case o.Kind == OptMSS && len(o.Data) == 2:
		return fmt.Sprintf("mss %d", binary.BigEndian.Uint16(o.Data))
	case o.Kind == OptWScale && len(o.Data) == 1:
		return fmt.Sprintf("wscale %d", o.Data[0])
	case o.Kind == OptSACKOK && len(o.Data) == 0:
		return "sackOK"
	case o.Kind == OptSACK && len(o.Data)%8 == 0:
		s := "sack"
		for i := 0; i < len(o.Data); i += 8 {
			s += fmt.Sprintf(" %d:%d", n(i), n(i+4))
		}
		return s
	case o.Kind == OptTimestamp && len(o.Data) == 8:
		return fmt.Sprintf("TS val %d ecr %d", n(0), n(4))
	case o.Kind == OptMD5:
		return strings.TrimSpace("md5 " + hex.EncodeToString(o.Data))
	case o.Kind == OptFastOpen:
		return strings.TrimSpace("FO " + hex.EncodeToString(o.Data))
	case o.Kind == OptExp && len(o.Data) >= 2 && o.Data[0] == 0xf9 && o.Data[1] == 0x89:
		return strings.TrimSpace("FOEXP " + hex.EncodeToString(o.Data[2:]))
	case (o.Kind == OptAccECN0 || o.Kind == OptAccECN1) && len(o.Data)%3 == 0 && len(o.Data) <= 9:
		return o.accECN()
	}
	return strings.TrimSpace(fmt.Sprintf("kind %d %x", o.Kind, o.Data))
}

func (o TCPOption) accECN() string {
	names := [...]string{"e0b", "ceb", "e1b"}
	s := "ECN"
	for i := 0; i < len(o.Data); i += 3 {
		name := names[i/3]
		if o.Kind == OptAccECN1 {
			name = names[2-i/3]
		}
		s += fmt.Sprintf(" %s %d", name, uint32(o.Data[i])<<16|uint32(o.Data[i+1])<<8|uint32(o.Data[i+2]))
	}
	return s
}

// secs is a time of the script in seconds, to the microsecond.
func secs(t sim.Time) string { return fmt.Sprintf("%.6f", float64(t)/float64(sim.Second)) }
