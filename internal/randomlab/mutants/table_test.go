package mutants

// mutant is a deliberate fault: in one file one snippet, which must be there exactly once, is another.
type mutant struct {
	name   string // a test's name
	breaks string // the rule of TCP, of links or of the loop that it breaks
	file   string // from the repository's root
	old    string
	fault  string // in place of old
	rule   string // what catches it
	seed   uint64 // a lab in which it does
}

// table holds the mutants of TCP, then of IP, of nodes, of links, and of the loop and its windows.
var table = []mutant{
	{
		name: "rto-not-doubled", breaks: "RFC 6298 5.5: each timeout doubles the next",
		file: "tcpstack/rto.go",
		old:  "return min(c.rto<<min(c.backoff, maxBackoff), c.set.maxRTO)", fault: "return min(c.rto, c.set.maxRTO)",
		rule: "backoff", seed: 5,
	},
	{
		name: "karn", breaks: "RFC 6298 3: no sample of a segment that was sent twice, unless by timestamps",
		file: "tcpstack/ack.go",
		old:  "	if x.flags&txRexmit != 0 {\n", fault: "	if x.flags&txRexmit != 0 && c.tsOK {\n",
		rule: "samples", seed: 11,
	},
	{
		name: "window-overrun", breaks: "RFC 9293 3.8.6: no data beyond the peer's window",
		file: "tcpstack/tcp_output.go",
		old:  "if whole > int(int32(c.sndUna+seqNum(c.sndWnd)-c.sndNxt)) {", fault: "if whole > int(int32(c.sndUna+seqNum(c.sndWnd)-c.sndNxt))+int(c.sndMSS) {",
		rule: "windows", seed: 9,
	},
	{
		name: "window-shrunk", breaks: "RFC 9293 3.8.6: what was offered is not taken back",
		file: "tcpstack/rcvwindow.go",
		old:  "	wnd = min(wnd, 0xffff<<shift)\n", fault: "	if c.rcv != nil {\n\t\twnd -= min(wnd, uint32(c.rcv.oooLen))\n\t}\n\twnd = min(wnd, 0xffff<<shift)\n",
		rule: "windows", seed: 1,
	},
	{
		name: "fin-counted-twice", breaks: "RFC 9293 3.10.7.4: RCV.NXT advances over the FIN, by one",
		file: "tcpstack/segment_arrives.go",
		old:  "	c.rcvFIN = true\n\tc.rcvNxt++\n", fault: "	c.rcvFIN = true\n\tc.rcvNxt += 2\n",
		rule: "acks", seed: 1,
	},
	{
		name: "fin-not-acknowledged", breaks: "RFC 9293 3.10.7.4: a FIN is acknowledged",
		file: "tcpstack/segment_arrives.go",
		old:  "	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt)\n\tc.ackPending = true\n", fault: "	c.rcvAdv = maxSeq(c.rcvAdv, c.rcvNxt)\n\tc.ackPending = false\n",
		rule: "delayedAcks", seed: 24,
	},
	{
		name: "no-window-probe", breaks: "RFC 9293 3.8.6.1: a closed window is probed",
		file: "tcpstack/persist.go",
		old:  "if c.timerAt == sim.Never && c.sndNxt == c.sndUna && c.waiting() {", fault: "if c.timerAt == sim.Never && c.sndNxt == c.sndUna && c.waiting() && c.sndWnd > 0 {",
		rule: "probes", seed: 194,
	},
	{
		name: "fast-retransmit-after-one", breaks: "RFC 5681 3.2: three duplicate ACKs",
		file: "tcpstack/newreno.go",
		old:  "uint32(c.rtx.sackedOut) >= c.rec.reordering ||", fault: "c.rtx.sackedOut >= 1 ||",
		rule: "retreats", seed: 2,
	},
	{
		name: "no-retreat", breaks: "RFC 5681 3.2: a loss lowers the threshold",
		file: "tcpstack/prr.go",
		old:  "	c.win.SSThresh = c.caSsthresh(ecn)\n", fault: "	c.win.SSThresh = c.win.Cwnd\n",
		rule: "retreats", seed: 1,
	},
	{
		name: "no-loss-window", breaks: "RFC 5681 3.1: after a timeout one segment goes, beside what is still in flight",
		file: "tcpstack/loss.go",
		old:  "c.win.Cwnd, c.win.Count = uint32(q.inFlight()+1), 0", fault: "c.win.Cwnd, c.win.Count = uint32(q.inFlight()), 0",
		rule: "congestion", seed: 5,
	},
	{
		name: "sack-of-a-gap", breaks: "RFC 2018 4: blocks are of data that has come",
		file: "tcpstack/sack.go",
		old:  "for hi+1 < len(b.ooo) && b.ooo[hi].end() == b.ooo[hi+1].seq {", fault: "for hi+1 < len(b.ooo) {",
		rule: "sacks", seed: 4,
	},
	{
		name: "gap-jumped", breaks: "RFC 9293 3.10.7.4: text is delivered in order, without a gap",
		file: "tcpstack/recvbuf.go",
		old:  "	for k < len(b.ooo) && b.ooo[k].seq.lessEq(nxt) {\n", fault: "	for k < len(b.ooo) {\n\t\tnxt = maxSeq(nxt, b.ooo[k].seq)\n",
		rule: "acks", seed: 4,
	},
	{
		name: "wrong-piece", breaks: "RFC 9293 3.10.7.4: bytes go to the application as they were sent",
		file: "tcpstack/recvbuf.go",
		old:  "b.push(l, o.chunk, o.b[skip:])", fault: "b.push(l, o.chunk, b.ooo[len(b.ooo)-1].b[:min(len(o.b), len(b.ooo[len(b.ooo)-1].b))])",
		rule: "books", seed: 1,
	},
	{
		name: "checksum-ignored", breaks: "RFC 9293 3.1: a segment whose checksum is wrong is dropped",
		file: "tcpstack/checksum.go",
		old:  "	if s.trusted(f) {\n\t\treturn true\n\t}\n\th := f.Header()\n\tp, t", fault: "	if !s.trusted(f) {\n\t\treturn true\n\t}\n\th := f.Header()\n\tp, t",
		rule: "packets", seed: 1,
	},
	{
		name: "delayed-ack-forgotten", breaks: "RFC 9293 3.8.6.3: an ACK is not held back for half a second",
		file: "tcpstack/delack.go",
		old:  "	c.setDelackTimer(ato)\n", fault: "	c.ackPending = false\n",
		rule: "delayedAcks", seed: 5,
	},
	{
		name: "time-wait-skipped", breaks: "RFC 9293 3.6: who closes first waits",
		file: "tcpstack/timewait.go",
		old:  "if c.set.timeWait == 0 || s.tcp.timeWaits.n >= maxTimeWaits {", fault: "if c.set.timeWait >= 0 || s.tcp.timeWaits.n >= maxTimeWaits {",
		rule: "endings", seed: 1,
	},
	{
		name: "reset-anywhere", breaks: "RFC 9293 3.10.7.4, RFC 5961 3.2: a reset counts at RCV.NXT only",
		file: "tcpstack/segment_arrives.go",
		old:  "	if !c.checkSequence(g) {\n", fault: "	if g.has(wire.FlagRST) {\n\t\tc.terminate(ErrReset, ClosedReset, RxRST)\n\t\treturn\n\t}\n\tif !c.checkSequence(g) {\n",
		rule: "endings", seed: 347,
	},
	{
		name: "stale-timer", breaks: "RFC 9293 3.10.7.4: CLOSED means that nothing is left, no timer either",
		file: "tcpstack/timewait.go",
		old:  "	s.loop.Stop(&w.timer)\n\ts.tcp.timeWaits.remove", fault: "	s.tcp.timeWaits.remove",
		rule: "afterClose", seed: 10,
	},
	{
		name: "fragment-misplaced", breaks: "RFC 791 3.2: fragments are joined by their offsets",
		file: "tcpstack/reassembly.go",
		old:  "if d.have != d.length {", fault: "if d.length < 0 {",
		rule: "packets", seed: 25,
	},
	{
		name: "ttl-kept", breaks: "RFC 1812 5.3.1: a router takes one off the TTL",
		file: "tcpstack/forward.go",
		old:  "	h[wire.IPv4OffTTL]--\n\tif s.trusted(f) {\n", fault: "	if s.trusted(f) {\n",
		rule: "books", seed: 9,
	},
	{
		name: "crash-keeps-state", breaks: "a crash loses all that the node knew",
		file: "node/node.go",
		old:  "	n.stack.Shutdown() // before", fault: "	// before",
		rule: "crashes", seed: 2,
	},
	{
		name: "fault-not-reverted", breaks: "a fault ends, and the link is what it was",
		file: "node/faults.go",
		old:  "	lf.record(d.loop, d.from.id, KindFaultEnded, d.plan.ID, cleared)\n\td.update()\n", fault: "	lf.record(d.loop, d.from.id, KindFaultEnded, d.plan.ID, cleared)\n",
		rule: "links", seed: 2,
	},
	{
		name: "input-late", breaks: "an input takes effect at its time",
		file: "node/worker/executor.go",
		old:  "x.windows.Open(x.net.Next(), ahead, limit)", fault: "x.windows.Open(x.net.Next(), ahead, limit+sim.Microsecond)",
		rule: "effects", seed: 1,
	},
	{
		name: "frame-twice", breaks: "a link delivers a frame once",
		file: "link/flight.go",
		old:  "		fl.to.Receive(f)\n", fault: "		if fl.frames%32 == 0 {\n\t\t\tfl.to.Receive(f.Clone())\n\t\t}\n\t\tfl.to.Receive(f)\n",
		rule: "packets", seed: 1,
	},
	{
		name: "frame-lost-silently", breaks: "a link loses nothing without a record",
		file: "link/flight.go",
		old:  "		fl.to.Receive(f)\n", fault: "		if fl.frames%32 == 0 {\n\t\t\tf.Release()\n\t\t} else {\n\t\t\tfl.to.Receive(f)\n\t\t}\n",
		rule: "arrivals", seed: 1,
	},
	{
		name: "removal-untold", breaks: "what is under way on a link that is taken out is told to be dropped",
		file: "node/change.go",
		old:  "d.link.Remove()", fault: "d.link.Close()",
		rule: "links", seed: 39,
	},
	{
		name: "queue-without-limit", breaks: "a queue takes no more than its limit",
		file: "link/direction.go",
		old:  "packets >= d.cfg.Queue.LimitPackets ||", fault: "packets >= 2*d.cfg.Queue.LimitPackets ||",
		rule: "links", seed: 19,
	},
	{
		name: "ring-without-limit", breaks: "a device's ring takes no more than its frames",
		file: "link/device.go",
		old:  "s.next-s.done < v.ring &&", fault: "s.next-s.done < 2*v.ring &&",
		rule: "links", seed: 23,
	},
	{
		name: "rate-doubled", breaks: "a frame takes its length over the rate",
		file: "link/direction.go",
		old:  "		d.free += sim.Time(ps / 1000)\n", fault: "		d.free += sim.Time(ps / 2000)\n",
		rule: "links", seed: 1,
	},
	{
		name: "overtaking", breaks: "frames keep their order where jitter may not change it",
		file: "link/direction.go",
		old:  "	} else {\n\t\ta.at = d.lastArrival\n\t}\n", fault: "	}\n",
		rule: "links", seed: 1,
	},
	{
		name: "loss-without-model", breaks: "a link without a loss model loses nothing on the wire",
		file: "link/impair.go",
		old:  "	return false\n}\n\n// hit decides", fault: "	return i%64 == 63\n}\n\n// hit decides",
		rule: "links", seed: 2,
	},
	{
		name: "origin-ignored", breaks: "events of one time run in the order of their origins",
		file: "sim/loop.go",
		old:  "	if t.origin != o.origin {\n\t\treturn t.origin < o.origin\n\t}\n", fault: "",
		rule: "split", seed: 8,
	},
	{
		name: "draw-by-loop", breaks: "a draw is a function of seed, name and frame, not of the split",
		file: "link/direction.go",
		old:  "	i := w.draw()\n", fault: "	i := w.draw() + d.loop.Events()\n",
		rule: "split", seed: 1,
	},
	{
		name: "window-too-long", breaks: "no loop runs past what may still come from another",
		file: "sim/window.go",
		old:  "end = m + max(lookahead, 1)", fault: "end = m + 4*max(lookahead, 1)",
		rule: "split", seed: 16,
	},
	{
		name: "lookahead-without-jitter", breaks: "the lookahead is the least delay: jitter may make a frame early",
		file: "link/config.go",
		old:  "return max(c.Delay-c.JitterEarly(), 1)", fault: "return max(c.Delay, 1)",
		rule: "split", seed: 196,
	},
	{
		name: "shipped-late", breaks: "what an input makes cross is handed over before the next window",
		file: "node/worker/run.go",
		old:  "	return l.x.ship() // what leaves for other shards goes with the next message\n", fault: "	return nil\n",
		rule: "split", seed: 4,
	},
}
