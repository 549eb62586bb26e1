package experiment

import (
	"strings"

	"labd.dev/labfile/schema"
	"labd.dev/node/app/craft"
	labv1 "labd.dev/proto/lab/v1"
)

var send = &schema.Object[labv1.RawSend]{
	Name: "send",
	Doc:  "Makes a node send packets of any kind, whatever their source says. [send.md](send.md) tells how to write them.",
	Keys: []schema.Key[labv1.RawSend]{
		schema.Text("id", "id", "Its name in the results.", func(s *labv1.RawSend, v string) { s.Id = v }),
		schema.Text("from", "from", "The node that sends.", func(s *labv1.RawSend, v string) { s.From = v }).Must(),
		schema.Text("on", "on", "A capture filter: waits for a packet that it picks to arrive at the node, whomever that is for; absent: sends at once.", func(s *labv1.RawSend, v string) { s.On = v }),
		schema.Whole("skip", "skip", "Lets so many that it picks pass first.", 32, func(s *labv1.RawSend, n uint64) { s.Skip = uint32(n) }),
		schema.Whole("times", "times", "Answers to so many; absent: 1.", 32, func(s *labv1.RawSend, n uint64) { s.Times = uint32(n) }),
		schema.Duration("wait", "wait_ns", "Listens for so long; absent: `10s`.", func(s *labv1.RawSend, ns int64) { s.WaitNs = ns }),
		schema.List("packets", "packets", "Sent one after another.", rawPacket, func(s *labv1.RawSend) *labv1.RawPacket {
			p := &labv1.RawPacket{}
			s.Packets = append(s.Packets, p)
			return p
		}).Must(),
	},
}

var rawPacket = &schema.Object[labv1.RawPacket]{
	Name: "packet",
	Keys: append([]schema.Key[labv1.RawPacket]{
		schema.Duration("after", "after_ns", "Since the packet before it, or what was waited for.", func(p *labv1.RawPacket, ns int64) { p.AfterNs = ns }),
		schema.Whole("count", "count", "So many of them; absent: 1.", 32, func(p *labv1.RawPacket, n uint64) { p.Count = uint32(n) }),
		schema.Duration("interval", "interval_ns", "Between them; absent: none.", func(p *labv1.RawPacket, ns int64) { p.IntervalNs = ns }),
	}, rawFields()...),
}

// rawFields are the keys of a packet's fields: those of a header lie in a map named after it.
func rawFields() []schema.Key[labv1.RawPacket] {
	var keys []schema.Key[labv1.RawPacket]
	var header *schema.Object[labv1.RawPacket]
	for _, k := range craft.Keys() {
		where, name, nested := strings.Cut(k.Name, ".")
		if !nested {
			keys = append(keys, rawField(k.Name, k))
			continue
		}
		if header == nil || header.Name != where+" header" {
			header = &schema.Object[labv1.RawPacket]{Name: where + " header"}
			keys = append(keys, schema.Nested(where, where, "Fields of the "+where+" header.", header, func(p *labv1.RawPacket) *labv1.RawPacket { return p }))
		}
		header.Keys = append(header.Keys, rawField(name, k))
	}
	return keys
}

func rawField(name string, k craft.Key) schema.Key[labv1.RawPacket] {
	return schema.Value(name, name, k.Doc, func(p *labv1.RawPacket, v string) {
		p.Fields = append(p.Fields, &labv1.RawField{Name: k.Name, Value: v})
	})
}
