package main

import (
	"fmt"
	"time"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// sites is a lab of groups around a router each, pairs of hosts with 1 Gbit/s in them, and links of a delay between the
// routers. Of each group's pairs so many have their other host in the next group.
type sites struct {
	groups, pairs, across int
	rate                  uint64 // of a host's link, bits per second
	near, far             time.Duration
	udp                   bool
}

func link(a, b string, rate uint64, delay time.Duration) *labv1.LinkSpec {
	d := &labv1.DirectionSpec{RateBps: rate, DelayNs: int64(delay)}
	return &labv1.LinkSpec{A: &labv1.Endpoint{Node: a}, B: &labv1.Endpoint{Node: b}, Forward: d, Reverse: d}
}

// request is a run of the lab in which every pair sends as fast as its links allow.
func (s sites) request(id string, duration time.Duration) *workerv1.StartLabRequest {
	spec := &labv1.LabSpec{Name: "sites", Seed: 1, Clock: labv1.Clock_CLOCK_VIRTUAL, Record: labv1.Record_RECORD_NONE,
		Budget: &labv1.EventBudget{MemoryBytes: 8 << 30}}
	req := &workerv1.StartLabRequest{LabId: id, Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_RUN, EndNs: int64(duration)}
	buffers := uint64(1 << 20)
	if s.across > 0 {
		buffers = max(buffers, uint64(2*s.far.Seconds()*float64(s.rate)/8*2))
	}
	for g := range s.groups {
		router := fmt.Sprintf("r%02d", g)
		spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: router, Kind: labv1.NodeKind_NODE_KIND_ROUTER})
		if s.groups > 1 && (g > 0 || s.groups > 2) {
			spec.Links = append(spec.Links, link(router, fmt.Sprintf("r%02d", (g+1)%s.groups), 0, s.far))
		}
		for i := range s.pairs {
			for _, side := range []string{"a", "b"} {
				name := fmt.Sprintf("%s%02d-%02d", side, g, i)
				spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: name, Tcp: &labv1.TcpSettings{
					SendBufferBytes: &buffers, RecvBufferBytes: &buffers}})
				spec.Links = append(spec.Links, link(name, router, s.rate, s.near))
			}
			to := g
			if i < s.across {
				to = (g + 1) % s.groups
			}
			s.send(req, fmt.Sprintf("a%02d-%02d", g, i), fmt.Sprintf("b%02d-%02d", to, i), duration)
		}
	}
	return req
}

// send has one host send to another for the whole run.
func (s sites) send(req *workerv1.StartLabRequest, from, to string, duration time.Duration) {
	n := len(req.Journal) + 1
	bytes := uint64(duration.Seconds()*float64(s.rate)/8) + 1
	in := &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
		Id: fmt.Sprintf("t%d", n), From: from, To: to, Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: bytes}}}}
	if s.udp {
		const size = 1400
		in = &labv1.Input{Kind: &labv1.Input_Udp{Udp: &labv1.UdpBlast{
			Id: fmt.Sprintf("t%d", n), From: from, To: to, Count: bytes / size, SizeBytes: size, RateBps: s.rate * size / 1500}}}
	}
	// Not all at the same nanosecond, as nobody starts so.
	req.Journal = append(req.Journal, &labv1.JournalEntry{Index: uint64(n), TNs: int64(n) * 10_007, Input: in})
}
