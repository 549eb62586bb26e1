package randomlab

import (
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
)

// lastInput is when the last input may come; the rest of the run is for repair.
const lastInput = 6 * sec

func (g *generator) workload() {
	for i := range g.IntN(5) + 2 {
		g.at(g.between(0, lastInput), g.work(i))
	}
	if g.chance(0.25) {
		g.crossing()
	}
}

// crossing has two hosts open a connection to each other at nearly the same time, from the port that the other asks for:
// a simultaneous open where the two SYNs cross, and often a simultaneous close.
func (g *generator) crossing() {
	a, b := g.twoHosts()
	t := g.between(0, lastInput)
	bytes := uint64(g.between(1, 5000))
	for i, ends := range [][2]string{{a, b}, {b, a}} {
		g.at(t, &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
			Id: fmt.Sprintf("x%d", i), From: ends[0], To: ends[1], Port: 6000, LocalPort: 6000,
			Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: bytes},
		}}})
		t += g.between(0, 3) * ms
	}
}

func (g *generator) twoHosts() (a, b string) {
	a, b = pick(g, g.hosts...), pick(g, g.hosts...)
	for b == a {
		b = pick(g, g.hosts...)
	}
	return a, b
}

func (g *generator) work(i int) *labv1.Input {
	from, to := g.twoHosts()
	switch g.IntN(12) {
	case 0:
		return &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: fmt.Sprintf("p%d", i), From: from, To: to,
			Count: uint32(g.between(1, 5)), IntervalNs: 200 * ms, SizeBytes: uint32(pick(g, 56, 1400, 4000))}}}
	case 1:
		return &labv1.Input{Kind: &labv1.Input_Udp{Udp: &labv1.UdpBlast{Id: fmt.Sprintf("u%d", i), From: from, To: to,
			Count: uint64(g.between(10, 200)), SizeBytes: uint32(pick(g, 100, 1400, 3000)), RateBps: 2e6}}}
	}
	if g.chance(0.05) {
		return &labv1.Input{Kind: &labv1.Input_Traceroute{Traceroute: &labv1.Traceroute{Id: fmt.Sprintf("r%d", i), From: from, To: to, MaxHops: 6, Probes: 1}}}
	}
	if g.chance(0.1) {
		return &labv1.Input{Kind: &labv1.Input_HttpGet{HttpGet: &labv1.HttpGet{Id: fmt.Sprintf("w%d", i), From: from,
			Url: "http://" + to + "/" + Content().Path, Save: g.chance(0.5)}}}
	}
	t := &labv1.Transfer{Id: fmt.Sprintf("t%d", i), From: from, To: to,
		Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: uint64(pick(g, 0, 1, 1000, 20_000, 100_000, 300_000))}}
	if g.chance(0.08) {
		t.Protocol, t.WriteSizeBytes = labv1.Protocol_PROTOCOL_UDP, uint32(pick(g, 500, 1400, 4000))
		t.RateBps = 2e6
		return &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: t}}
	}
	if g.chance(0.3) {
		t.ReplyBytes = uint64(g.between(1, 50_000))
		t.ShutdownBeforeReply = g.chance(0.5)
	}
	if g.chance(0.4) {
		t.Reader = &labv1.Reader{RateBps: uint64(g.between(500, 5000)) * 1000, ReadSizeBytes: uint64(g.between(100, 8000))}
		if g.chance(0.5) {
			t.Reader.PauseAfterBytes, t.Reader.PauseNs = g.between(1, 20_000), g.between(100, 3000)*ms
		}
	}
	if g.chance(0.15) {
		t.Close = labv1.CloseMode_CLOSE_MODE_ABORT
	}
	if g.chance(0.2) {
		t.HoldNs = g.between(1, 2000) * ms
	}
	if g.chance(0.2) {
		t.RateBps = uint64(g.between(200, 5000)) * 1000
	}
	if g.chance(0.2) {
		t.WriteSizeBytes = uint32(g.between(50, 3000))
	}
	return &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: t}}
}

// faults always include one on each link, so that whatever cut a split makes, a fault meets it.
func (g *generator) faults() {
	for i, l := range g.pairs {
		name := l.A.Node + "--" + l.B.Node
		if g.chance(0.4) {
			name = l.A.Node + "->" + l.B.Node
		}
		g.fault(&labv1.Fault{Id: fmt.Sprintf("l%d", i), Link: name, DurationNs: g.between(20, 900) * ms}, l.Forward)
		if g.chance(0.3) {
			g.fault(&labv1.Fault{Id: fmt.Sprintf("m%d", i), Link: l.A.Node + "--" + l.B.Node, DurationNs: g.between(20, 2000) * ms}, l.Forward)
			g.at(g.between(50*ms, lastInput), &labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: fmt.Sprintf("m%d", i)}}})
		}
	}
	if g.chance(0.4) {
		f := &labv1.Fault{Id: "node", Node: pick(g, g.lab.Spec.Nodes...).Name}
		if g.chance(0.5) {
			f.Effect = &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}
		} else {
			f.Effect = &labv1.Fault_Crash{Crash: &labv1.Crash{}}
			f.DurationNs = g.between(100, 3000) * ms
		}
		g.at(g.between(100*ms, lastInput), &labv1.Input{Kind: &labv1.Input_Fault{Fault: f}})
	}
}

func (g *generator) fault(f *labv1.Fault, on *labv1.DirectionSpec) {
	switch g.IntN(10) {
	case 0, 1:
		f.Effect = &labv1.Fault_Down{Down: &labv1.Down{}}
	case 2:
		f.Effect = &labv1.Fault_Loss{Loss: g.loss()}
	case 3:
		f.Effect = &labv1.Fault_DelayNs{DelayNs: on.DelayNs + g.between(1, 100)*ms}
	case 4:
		f.Effect = &labv1.Fault_RateBps{RateBps: uint64(g.between(500, 50_000)) * 1000}
	case 5:
		f.Effect = &labv1.Fault_Jitter{Jitter: &labv1.Jitter{AmountNs: on.DelayNs / 5, Reorder: g.chance(0.5)}}
	case 6:
		f.Effect = &labv1.Fault_Duplicate{Duplicate: &labv1.Duplicate{Chance: g.Float64() * 0.3, DelayNs: g.between(0, 20) * ms}}
	case 7:
		f.Effect = &labv1.Fault_Corrupt{Corrupt: g.Float64() * 0.2}
	case 8:
		f.Effect = &labv1.Fault_MtuBytes{MtuBytes: uint32(g.between(300, 1500))}
	case 9:
		f.Effect = &labv1.Fault_Queue{Queue: &labv1.Queue{Kind: labv1.QueueKind_QUEUE_KIND_DROPTAIL, LimitPackets: uint32(g.between(1, 20))}}
	}
	g.at(g.between(50*ms, lastInput), &labv1.Input{Kind: &labv1.Input_Fault{Fault: f}})
}
