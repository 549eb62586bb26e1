package trace

// Conn is what a trace tells of a connection.
type Conn struct {
	Conn      string // "client/3"
	Initiator string // node
	Responder string // node; empty if it never answered
	Local     string // initiator's address:port
	Remote    string // responder's address:port
	StartNs   int64
	EndNs     int64  // of its last event
	State     string // of the initiator, at the end of the trace
	EndReason string // the initiator's: closed | reset | timeout | refused | unreachable | aborted; empty: not ended

	BytesSent     uint64 // payload that the initiator's peer got, once each
	BytesReceived uint64 // payload that the initiator got
	Segments      uint64 // sent by both
	Retransmits   uint64 // of both
	Lost          uint64 // segments that links dropped
}

// Conns lists the connections that the events tell of, in the order of their first event.
func Conns(events []Event) []Conn {
	at := map[string]int{}
	var conns []Conn
	for i := range events {
		e := &events[i]
		if e.Conn == "" {
			continue
		}
		j, ok := at[e.Conn]
		if !ok {
			if e.Side == "" { // a frame of a connection whose ends were recorded by nobody, or not yet
				continue
			}
			j = len(conns)
			at[e.Conn] = j
			conns = append(conns, Conn{Conn: e.Conn, StartNs: e.TNs})
		}
		conns[j].add(e)
	}
	return conns
}

func (c *Conn) add(e *Event) {
	c.EndNs = max(c.EndNs, e.TNs)
	initiator := e.Side == "initiator"
	switch {
	case initiator && c.Initiator == "":
		c.Initiator = e.Node
	case e.Side == "responder" && c.Responder == "":
		c.Responder = e.Node
	}
	switch e.Name {
	case "tcp:connection_started":
		if initiator || c.Local == "" {
			c.Local, c.Remote = e.text("local"), e.text("remote")
			if !initiator {
				c.Local, c.Remote = c.Remote, c.Local
			}
		}
	case "tcp:state_updated":
		if initiator {
			c.State = e.text("new")
		}
	case "tcp:segment_sent":
		c.Segments++
		switch e.text("reason") {
		case "fast_rtx", "rto_rtx":
			c.Retransmits++
		}
	case "tcp:segment_received":
		// What came once is counted by its place in the stream: retransmitted bytes count once.
		if off, ok := e.Get("off"); ok && e.number("len") > 0 {
			start, _ := off.(int64)
			to := &c.BytesReceived
			if !initiator {
				to = &c.BytesSent
			}
			*to = max(*to, uint64(max(start+int64(e.number("len")), 0)))
		}
	case "tcp:connection_closed":
		if initiator {
			c.EndReason = e.text("reason")
		}
	case "link:dropped":
		c.Lost++
	}
}
