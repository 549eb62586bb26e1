package randomlab

import (
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// Meets lists what the labs are to meet between them.
var Meets = []string{"RTO", "fast retransmit", "zero window", "RST", "reboot", "IP fragments", "simultaneous open",
	"simultaneous close", "reordering", "duplicates", "corruption dropped by a checksum",
	"switch", "live change", "HTTP download", "ECN window reduction", "keep-alive", "SYN cookie",
	"data with a SYN", "data with a SYN not taken"}

// Seen counts what happened in a run, so that a test can ask whether the labs meet what they are meant to.
type Seen struct {
	Frames map[string]uint64 // delivered, by direction

	met      map[string]uint64
	switches map[string]bool
}

func newSeen(lab *Lab) Seen {
	s := Seen{Frames: map[string]uint64{}, met: map[string]uint64{}, switches: map[string]bool{}}
	for _, n := range lab.Spec.Nodes {
		s.switches[n.Name] = n.Kind == labv1.NodeKind_NODE_KIND_SWITCH
	}
	return s
}

// Met counts how often each of Meets happened.
func (s *Seen) Met() map[string]uint64 { return s.met }

func (s *Seen) event(e *trace.Event) {
	switch e.Name {
	case "tcp:timer_fired":
		s.count("RTO", text(e, "timer") == "rto")
	case "tcp:recovery_entered":
		s.count("fast retransmit", text(e, "kind") == "fast")
		s.count("ECN window reduction", text(e, "kind") == "ecn")
	case "tcp:segment_sent":
		s.count("zero window", num(e, "win") == 0 && !hasFlag(e, "R"))
		s.count("keep-alive", text(e, "reason") == "keepalive")
	case "tcp:segment_received":
		s.count("RST", hasFlag(e, "R"))
		s.count("data with a SYN", hasFlag(e, "S") && num(e, "len") > 0)
	case "tcp:segment_lost":
		s.count("data with a SYN not taken", text(e, "trigger") == "syn_data")
	case "tcp:state_updated":
		s.count("simultaneous close", text(e, "new") == "CLOSING")
		s.count("simultaneous open", text(e, "old") == "SYN_SENT" && text(e, "new") == "SYN_RCVD")
	case "lab:node_booted":
		s.count("reboot", num(e, "boots") > 1)
	case "link:delivered":
		s.Frames[text(e, "dir")]++
		s.count("switch", s.switches[farEnd(text(e, "dir"))])
	case "lab:input":
		s.count("live change", text(e, "kind") == "apply")
	case "lab:link_set":
		s.count("live change", true)
	case "link:reordered":
		s.count("reordering", true)
	case "link:duplicated":
		s.count("duplicates", true)
	case "tcp:segment_dropped", "ip:dropped":
		why := text(e, "reason")
		s.count("corruption dropped by a checksum", why == "checksum" || why == "transport_checksum")
	}
}

func (s *Seen) count(what string, happened bool) {
	if happened {
		s.met[what]++
	}
}

// counter adds what a node counted: fragments leave no record of their own.
func (s *Seen) counter(name string, n uint64) {
	s.count("IP fragments", name == "ip.fragments_received" && n > 0)
	s.count("SYN cookie", name == "tcp.syn_cookies_recv" && n > 0)
}
