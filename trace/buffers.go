package trace

import "slices"

// BufferSample is where the bytes of a connection lie at one end, at the instant that any of it has changed. A byte's way
// is: read from a file into the application's buffer, written, in the send buffer and from there in flight until it is acknowledged; at the other end in the reassembly
// queue while a gap precedes it, in the receive buffer until the application reads it.
type BufferSample struct {
	TNs        int64  `json:"t_ns"`
	Node       string `json:"node"`
	Side       string `json:"side"`        // initiator | responder
	AppBuffer  int64  `json:"app_buffer"`  // held by the application, which could not write it yet
	Written    int64  `json:"written"`     // by the application, in all
	SendBuffer int64  `json:"send_buffer"` // written and not yet acknowledged
	InFlight   int64  `json:"in_flight"`   // of these, sent
	Reassembly int64  `json:"reassembly"`  // received behind a gap
	RecvBuffer int64  `json:"recv_buffer"` // received in order and not yet read
	Read       int64  `json:"read"`        // by the application, in all
	Window     int64  `json:"window"`      // last announced to the other end
}

// bufferEnd is what is known of one end.
type bufferEnd struct {
	sample BufferSample
	una    int64 // acknowledged by the other end
	sent   int64 // behind the last byte that was ever sent
	next   int64 // behind the last byte received in order
	last   int64 // behind the last byte received at all
}

// Buffers tells, from the events of one connection, how its buffers filled and emptied, both ends by time.
func Buffers(events []Event) []BufferSample {
	ends := map[string]*bufferEnd{} // by side
	nodes := map[string]*bufferEnd{}
	var out []BufferSample
	for i := range events {
		e := &events[i]
		end := nodes[e.Node]
		if e.Side != "" {
			if ends[e.Side] == nil {
				ends[e.Side] = &bufferEnd{sample: BufferSample{Node: e.Node, Side: e.Side}}
				nodes[e.Node] = ends[e.Side]
			}
			end = ends[e.Side]
		}
		if end == nil || !end.apply(e) {
			continue
		}
		s := end.now(e.TNs)
		// One sample an instant and end: what it came to.
		same := slices.IndexFunc(out[max(0, len(out)-2):], func(o BufferSample) bool { return o.TNs == s.TNs && o.Side == s.Side })
		if same >= 0 {
			out[max(0, len(out)-2)+same] = s
			continue
		}
		out = append(out, s)
	}
	return out
}

// apply takes an event in and reports whether it tells of the buffers.
func (b *bufferEnd) apply(e *Event) bool {
	field := func(name string) int64 {
		v, _ := e.Get(name)
		switch v := v.(type) {
		case int64:
			return v
		case uint64:
			return int64(v)
		}
		return 0
	}
	switch e.Name {
	case "app:file_read":
		b.sample.AppBuffer += field("bytes")
	case "app:write":
		b.sample.Written += field("bytes")
		b.sample.AppBuffer = field("buffered")
	case "app:read":
		b.sample.Read += field("bytes")
	case "tcp:segment_sent":
		if n := field("len"); n > 0 {
			b.sent = max(b.sent, field("off")+n)
		}
		b.sample.Window = field("win_scaled")
	case "tcp:segment_received":
		verdict, _ := e.Get("verdict")
		if field("len") == 0 {
			return false // the ACK of a FIN lies behind it
		}
		b.last = max(b.last, field("off")+field("len"))
		if verdict != "in_order" {
			return false
		}
		b.next = max(b.next, field("off")+field("len"))
	case "tcp:ack_processed":
		b.una = max(b.una, field("una"))
	case "tcp:reassembly_updated":
		b.sample.Reassembly = field("ooo")
		// rcv_nxt counts a FIN as well, which is no byte.
		b.next = max(b.next, min(field("rcv_nxt_off"), b.last))
	default:
		return false
	}
	return true
}

func (b *bufferEnd) now(t int64) BufferSample {
	s := b.sample
	s.TNs = t
	// Where the trace does not hold the application's writes, what was sent was written.
	s.Written = max(s.Written, b.sent)
	s.SendBuffer = max(s.Written-b.una, 0)
	s.InFlight = max(b.sent-b.una, 0)
	s.RecvBuffer = max(b.next-s.Read, 0)
	return s
}
