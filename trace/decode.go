package trace

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	labv1 "labd.dev/proto/lab/v1"
)

// DecodeOptions say how a packet is drawn.
type DecodeOptions struct {
	ASCII bool // no box-drawing characters
}

// Decode draws a packet's headers field by field as its first sighting shows them, then tells what changed from one
// sighting to the next. Hops are in the order of its way (SortHops).
func Decode(packet string, hops []*labv1.PacketHop, opts DecodeOptions) string {
	if len(hops) == 0 {
		return ""
	}
	d := &drawing{opts: opts}
	h := hops[0]
	d.printf("packet %s: %d bytes, seen %s, first at %s s %s\n", packet, h.Length, times(len(hops)), labSeconds(h.TNs), place(h))
	if h.State != "" {
		d.printf("sender: %s\n", h.State)
	}
	headers, payload, remark := parseHeaders(h.Data)
	for i := range headers {
		d.header(&headers[i])
	}
	if remark != "" {
		d.printf("\n%s\n", remark)
	}
	if payload.size > 0 || int(h.Length) > len(h.Data) {
		d.payload(h, payload)
	}
	d.way(hops)
	return d.out.String()
}

// drawing collects the lines of a decoded packet.
type drawing struct {
	opts DecodeOptions
	out  strings.Builder
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.out, format, args...) }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// labSeconds prints a lab time with all its digits.
func labSeconds(ns int64) string { return fmt.Sprintf("%d.%09d", ns/1e9, ns%1e9) }

func place(h *labv1.PacketHop) string {
	if h.Out {
		return "out of " + h.Node + " " + h.Interface
	}
	return "into " + h.Node + " " + h.Interface
}

// rowBits is the width of a drawn header, as in the RFCs: 32 bits a row, 2 columns a bit.
const rowBits = 32

const bitRuler = "  0                   1                   2                   3\n" +
	"  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1\n"

// header draws a header as the RFCs do, each box with its field's name and value, then lists the fields.
func (d *drawing) header(h *header) {
	d.printf("\n%s: bytes %d to %d\n\n", h.name, h.offset, h.offset+h.size-1)
	d.printf("%s", bitRuler)
	rows := h.rows()
	var above []box
	for _, row := range rows {
		d.border(above, row)
		d.boxes(row)
		above = row
	}
	d.border(above, nil)
	d.printf("\n  %4s %4s  %-23s %s\n", "byte", "bits", "field", "value")
	for _, f := range h.fields {
		if f.name == "Options" && f.value == fmt.Sprintf("%d bytes", f.bits/8) {
			continue // a line each follows
		}
		d.printf("%s\n", strings.TrimRight(fmt.Sprintf("  %4d %4d  %-23s %s", h.offset+f.bit/8, f.bits, f.name, noted(f)), " "))
	}
}

func noted(f headerField) string {
	if f.note == "" {
		return f.value
	}
	return f.value + " (" + f.note + ")"
}

// box is the part of a field that lies in one row.
type box struct {
	field *headerField
	bits  int
	first bool // of the field's boxes
}

// rows cuts a header's fields into rows of 32 bits.
func (h *header) rows() [][]box {
	var rows [][]box
	bit := 0
	for i := range h.fields {
		f := &h.fields[i]
		if f.alone {
			continue
		}
		bits := f.bits
		if bits > 2*rowBits { // options: one row stands for all, as in the RFCs
			bits = rowBits
		}
		for left := bits; left > 0; {
			if bit%rowBits == 0 {
				rows = append(rows, nil)
			}
			n := min(left, rowBits-bit%rowBits)
			last := &rows[len(rows)-1]
			*last = append(*last, box{field: f, bits: n, first: left == bits})
			bit += n
			left -= n
		}
	}
	return rows
}

// border draws the line between two rows, its crossings where the boxes above and below it begin and end.
func (d *drawing) border(above, below []box) {
	const columns = 2*rowBits + 1
	var up, down [columns]bool
	ends := func(row []box, at *[columns]bool) (last int) {
		for _, b := range row {
			at[last] = true
			last += 2 * b.bits
		}
		at[last] = len(row) > 0
		return last
	}
	last := max(ends(above, &up), ends(below, &down))
	d.printf(" ")
	for i := range last + 1 {
		d.printf("%s", d.crossing(up[i], down[i], i > 0, i < last))
	}
	d.printf("\n")
}

// crossing is the character that joins lines in the directions given.
func (d *drawing) crossing(up, down, left, right bool) string {
	if d.opts.ASCII {
		if up || down {
			return "+"
		}
		return "-"
	}
	i := 0
	for bit, on := range []bool{up, down, left, right} {
		if on {
			i |= 1 << bit
		}
	}
	return [...]string{" ", "│", "│", "│", "─", "┘", "┐", "┤", "─", "└", "┌", "├", "─", "┴", "┬", "┼"}[i]
}

// boxes draws a row in two lines: names above values.
func (d *drawing) boxes(row []box) {
	bar := "│"
	if d.opts.ASCII {
		bar = "|"
	}
	for line := range 2 {
		d.printf(" ")
		for _, b := range row {
			text := "..."
			if b.first && line == 0 {
				text = b.field.name
				if utf8.RuneCountInString(text) > 2*b.bits-1 || b.bits == 1 {
					text = b.field.short
				}
			} else if b.first {
				text = b.field.value
			} else if line == 1 {
				text = ""
			}
			d.printf("%s%s", bar, centre(text, 2*b.bits-1))
		}
		d.printf("%s\n", bar)
	}
}

func centre(s string, n int) string {
	r := []rune(s)
	if len(r) > n {
		r = r[:n]
	}
	before := (n - len(r)) / 2
	return strings.Repeat(" ", before) + string(r) + strings.Repeat(" ", n-len(r)-before)
}

// maxPayloadLines bounds how much of a payload is shown, 16 bytes a line.
const maxPayloadLines = 4

func (d *drawing) payload(h *labv1.PacketHop, p payloadPart) {
	size := p.size + max(0, int(h.Length)-len(h.Data))
	d.printf("\nPayload: %d bytes from byte %d on\n", size, p.offset)
	b := h.Data[p.offset : p.offset+p.size]
	for i := 0; i < len(b) && i < 16*maxPayloadLines; i += 16 {
		part := b[i:min(i+16, len(b))]
		text := bytes.Map(func(r rune) rune {
			if r < 0x20 || r > 0x7e {
				return '.'
			}
			return r
		}, latin(part))
		d.printf("  %4d  %-47s  %s\n", p.offset+i, fmt.Sprintf("% x", part), text)
	}
	if size > 16*maxPayloadLines {
		d.printf("  ... %d bytes more\n", size-16*maxPayloadLines)
	}
}

// latin makes a rune of each byte.
func latin(b []byte) []byte {
	var out []rune
	for _, c := range b {
		out = append(out, rune(c))
	}
	return []byte(string(out))
}

// way tells where the packet was seen and what changed on the way.
func (d *drawing) way(hops []*labv1.PacketHop) {
	d.printf("\nThe way of the packet\n")
	for i, h := range hops {
		d.printf("\n  %s s  %s\n", labSeconds(h.TNs), place(h))
		if i == 0 {
			continue
		}
		before := reference(hops, i)
		if before == nil {
			continue
		}
		changes := changesBetween(before.Data, h.Data)
		if len(changes) == 0 {
			d.printf("      unchanged\n")
		}
		for _, c := range changes {
			d.printf("      %s\n", c)
		}
	}
}

// reference is the sighting that sighting i is compared with: the one before it, but what came into a node once more is
// compared with what left for it.
func reference(hops []*labv1.PacketHop, i int) *labv1.PacketHop {
	for j := i - 1; j >= 0; j-- {
		if hops[j].Node != hops[i].Node || hops[j].Out != hops[i].Out {
			return hops[j]
		}
	}
	return hops[i-1]
}

// maxChanges bounds how many changed payload bytes are listed; a link flips few bits.
const maxChanges = 8

// changesBetween lists the fields and payload bytes that differ between two sightings of a packet.
func changesBetween(a, b []byte) []string {
	ha, pa, _ := parseHeaders(a)
	hb, pb, _ := parseHeaders(b)
	var changes []string
	if len(a) != len(b) {
		changes = append(changes, fmt.Sprintf("length: %d -> %d bytes", len(a), len(b)))
	}
	for i := range min(len(ha), len(hb)) {
		if ha[i].name != hb[i].name {
			return append(changes, fmt.Sprintf("%s -> %s", ha[i].name, hb[i].name))
		}
		changes = append(changes, fieldChanges(&ha[i], &hb[i])...)
	}
	if len(ha) != len(hb) {
		return append(changes, fmt.Sprintf("headers: %d -> %d", len(ha), len(hb)))
	}
	x, y := a[pa.offset:pa.offset+pa.size], b[pb.offset:pb.offset+pb.size]
	n := 0
	for i := range min(len(x), len(y)) {
		if x[i] == y[i] {
			continue
		}
		if n++; n <= maxChanges {
			changes = append(changes, fmt.Sprintf("payload byte %d: 0x%02x -> 0x%02x (corrupted)", i, x[i], y[i]))
		}
	}
	if n > maxChanges {
		changes = append(changes, fmt.Sprintf("%d payload bytes more", n-maxChanges))
	}
	return changes
}

func fieldChanges(a, b *header) []string {
	var changes []string
	layer, _, _ := strings.Cut(a.name, " ")
	for i := range min(len(a.fields), len(b.fields)) {
		x, y := a.fields[i], b.fields[i]
		switch {
		case x.name != y.name:
			return append(changes, fmt.Sprintf("%s %s -> %s", layer, x.name, y.name))
		case x.value != y.value:
			changes = append(changes, fmt.Sprintf("%s %s: %s -> %s", layer, lowerFirst(x.name), x.value, y.value))
		case x.note != y.note && strings.Contains(strings.ToLower(x.name), "checksum"):
			changes = append(changes, fmt.Sprintf("%s %s: %s -> %s", layer, lowerFirst(x.name), x.note, y.note))
		}
	}
	return changes
}

// lowerFirst writes a field's name inside a sentence; abbreviations stay.
func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
