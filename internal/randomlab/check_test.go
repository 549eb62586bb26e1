package randomlab

import (
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// script makes events of h1's end of the connection h1/1 out of lines: a time in ms, a name, fields.
func script(lines []string) (events []*trace.Event) {
	for i, l := range lines {
		f := strings.Fields(l)
		e := &trace.Event{Node: "h1", Conn: "h1/1", TNs: number(f[0]) * ms, ESeq: uint64(i + 1), Name: f[1]}
		for _, kv := range f[2:] {
			k, v, _ := strings.Cut(kv, "=")
			if n := number(v); n >= 0 {
				e.Data = append(e.Data, trace.Field{Name: k, Value: uint64(n)})
			} else {
				e.Data = append(e.Data, trace.Field{Name: k, Value: v})
			}
		}
		events = append(events, e)
	}
	return events
}

// number reads digits; -1: something else.
func number(s string) (n int64) {
	for _, r := range s {
		if r < '0' || r > '9' {
			return -1
		}
		n = 10*n + int64(r-'0')
	}
	return n
}

// A rule that never complains proves nothing: each of these breaks one.
func TestRulesComplain(t *testing.T) {
	open := []string{
		"0 tcp:segment_sent seq=100 ack=0 len=0 flags=S win=1000 win_scaled=1000 reason=syn pkt=h1:1",
		"1 tcp:segment_received seq=500 ack=101 len=0 flags=SA win=1000 win_scaled=1000 verdict=in_order pkt=h2:1",
		"1 app:write bytes=5000",
	}
	data := "2 tcp:segment_sent seq=101 ack=501 len=100 flags=A win=1000 win_scaled=1000 reason=data tx_count=1 pkt=h1:2"
	for _, c := range []struct {
		want  string
		lines []string
	}{
		{"", []string{data}},
		{"comes after an event", []string{data, "1 tcp:ack_processed acked=0"}},
		{"no way from ESTABLISHED to LAST_ACK", []string{"2 tcp:state_updated old=ESTABLISHED new=LAST_ACK"}},
		{"but was in SYN_SENT", []string{"2 tcp:state_updated old=CLOSED new=SYN_SENT", "3 tcp:state_updated old=ESTABLISHED new=CLOSE_WAIT"}},
		{"the window ends at 1001", []string{data, "3 tcp:segment_sent seq=201 ack=501 len=1000 flags=A win=1000 win_scaled=1000 reason=data tx_count=1"}},
		{"takes its window back", []string{data, "3 tcp:segment_sent seq=201 ack=501 len=0 flags=A win=900 win_scaled=900 reason=ack"}},
		{"acknowledges offset 2, has all only up to 1", []string{"3 tcp:segment_sent seq=101 ack=502 len=0 flags=A win=1000 win_scaled=1000 reason=ack"}},
		{"is sent again for the reason", []string{data, data}},
		{"which has not been sent", []string{strings.Replace(data, "reason=data", "reason=rto_rtx", 1)}},
		{"skips from offset", []string{strings.Replace(data, "seq=101", "seq=151", 1)}},
		{"which had waited", []string{data, "200 tcp:timer_fired timer=rto", "600 tcp:timer_fired timer=rto", "1000 tcp:timer_fired timer=rto"}},
		{"set at", []string{data, "2 tcp:timer_set timer=rto in_us=200000", "100 tcp:timer_fired timer=rto"}},
		{"segments after a timeout", []string{data, "200 tcp:recovery_entered kind=rto cwnd_before=10 cwnd_after=0 ssthresh=5"}},
		{"ssthresh 1", []string{data, "200 tcp:recovery_entered kind=fast cwnd_before=10 cwnd_after=2 ssthresh=1"}},
		{"is not acknowledged yet", []string{"3 tcp:segment_received seq=501 ack=101 len=10 flags=A win=1000 win_scaled=1000 verdict=in_order pkt=h2:2",
			"3 tcp:timer_set timer=delack in_us=600000", "600 tcp:timer_fired timer=delack"}},
		{"of TIME-WAIT instead of", []string{"2 tcp:state_updated old=FIN_WAIT_2 new=TIME_WAIT", "2 tcp:timer_set timer=time_wait in_us=1",
			"900 tcp:state_updated old=TIME_WAIT new=CLOSED trigger=timer"}},
		{"on a connection that is closed", []string{"2 tcp:state_updated old=ESTABLISHED new=CLOSED", "3 tcp:timer_fired timer=rto"}},
		{"only 0 have come in order", []string{"3 app:read bytes=1"}},
		{"nothing asks", []string{"2 tcp:segment_sent seq=101 ack=501 len=1000 flags=A win=1000 win_scaled=1000 reason=data tx_count=1",
			"3 tcp:segment_received seq=501 ack=1101 len=0 flags=A win=0 win_scaled=0 verdict=in_order pkt=h2:2", "4 tcp:ack_processed acked=1000",
			"9000 tcp:ack_processed acked=0"}},
		{"still said to be closed", []string{"3 tcp:segment_received seq=501 ack=101 len=1000 flags=A win=1000 win_scaled=1000 verdict=in_order pkt=h2:2",
			"3 tcp:segment_sent seq=101 ack=1501 len=0 flags=A win=0 win_scaled=0 reason=ack", "4 app:read bytes=1000", "5 tcp:ack_processed acked=0"}},
		{"goes on after the reset", []string{"2 tcp:state_updated old=SYN_SENT new=ESTABLISHED",
			"3 tcp:segment_received seq=501 ack=101 len=0 flags=RA win=0 win_scaled=0 verdict=in_order pkt=h2:2", "4 tcp:timer_fired timer=rto", "5 app:write bytes=1"}},
		{"h1:2 was sent at 2000000 ns and never left", []string{data}},
		{"no bit of h2:2 was flipped", []string{"3 tcp:segment_dropped reason=checksum pkt=h2:2"}},
		{"nobody has sent the packet h2:7", []string{"3 tcp:segment_received seq=501 ack=101 len=0 flags=A win=1 win_scaled=1 verdict=in_order pkt=h2:7"}},
		{"there is no direction", []string{"3 link:enqueued dir=h1->h9 pkt=h1:2 bytes=100"}},
		{"the MTU is 1500", []string{"3 link:enqueued dir=h1->h2 pkt=h1:2 bytes=1515"}},
		{"not on the wire", []string{"3 link:delivered dir=h1->h2 pkt=h1:2 bytes=100"}},
		{"it is to lose nothing", []string{"3 link:dropped dir=h1->h2 pkt=h1:2 bytes=100 cause=loss_model"}},
		{"the queue is not full", []string{"3 link:dropped dir=h1->h2 pkt=h1:2 bytes=100 cause=queue_full qpkts=2"}},
		{"not the first", []string{"3 link:dequeued dir=h1->h2 pkt=h1:2 bytes=100"}},
		{"no segment that was sent once is 7000 us old", []string{data, "3 tcp:ack_processed acked=100 una=100 rtt_us=7000"}},
		{"after 0 duplicate ACKs", []string{data, "3 tcp:connection_started mss=100", "4 tcp:recovery_entered kind=fast cwnd_before=10 cwnd_after=5 ssthresh=5"}},
		{"a window of 10 segments becomes 11", []string{data, "4 tcp:recovery_entered kind=fast cwnd_before=10 cwnd_after=11 ssthresh=5"}},
		{"from FIN_WAIT_2 without TIME-WAIT", []string{"2 tcp:state_updated old=FIN_WAIT_2 new=CLOSED trigger=rx_fin"}},
		{"by a reset at offset 51, the next is 1", []string{"2 tcp:segment_received seq=551 ack=101 len=0 flags=RA win=0 win_scaled=0 verdict=in_order pkt=h2:2",
			"2 tcp:state_updated old=ESTABLISHED new=CLOSED trigger=rx_rst"}},
		{"takes 500 bytes for acknowledged", []string{data, "3 tcp:ack_processed acked=500 una=500"}},
		{"h1 is down", []string{"2 lab:node_crashed", "3 tcp:timer_fired timer=rto"}},
		{"has crashed since", []string{"2 lab:node_crashed", "2 lab:node_booted", "3 tcp:timer_fired timer=rto"}},
		{"is not to corrupt", []string{"3 link:corrupted dir=h1->h2 pkt=h1:2 bytes=100"}},
	} {
		check := NewChecker(&Lab{EndNs: duration, Spec: pair()})
		for _, e := range script(append(append([]string{}, open...), c.lines...)) {
			check.event(e)
		}
		for _, r := range check.rules {
			r.finish(check)
		}
		// The script delivers nothing: that packets come out of nowhere is not what it is about.
		found, others := false, 0
		for _, p := range check.Problems {
			switch {
			case c.want != "" && strings.Contains(p, c.want):
				found = true
			case !strings.Contains(p, "than links have delivered") && !strings.Contains(p, "never left its node") && !strings.Contains(p, "nobody has sent"):
				others++
			}
		}
		if found != (c.want != "") || c.want == "" && others > 0 {
			t.Errorf("%q: %q", c.want, check.Problems)
		}
	}
}

func pair() *labv1.LabSpec {
	d := &labv1.DirectionSpec{DelayNs: ms, MtuBytes: 1500}
	wait := 500 * ms
	node := func(name string) *labv1.NodeSpec {
		return &labv1.NodeSpec{Name: name, Tcp: &labv1.TcpSettings{TimeWaitNs: &wait}}
	}
	return &labv1.LabSpec{Nodes: []*labv1.NodeSpec{node("h1"), node("h2")},
		Links: []*labv1.LinkSpec{{A: &labv1.Endpoint{Node: "h1"}, B: &labv1.Endpoint{Node: "h2"}, Forward: d, Reverse: d}}}
}

// A block of a SACK option has to lie in what has come.
func TestSACKRuleComplains(t *testing.T) {
	check := NewChecker(&Lab{EndNs: duration, Spec: pair()})
	events := script([]string{
		"1 tcp:segment_received seq=500 ack=101 len=0 flags=SA win=1000 win_scaled=1000 verdict=in_order pkt=h2:1",
		"2 tcp:segment_received seq=601 ack=101 len=100 flags=A win=1000 win_scaled=1000 verdict=ooo pkt=h2:2",
		"2 tcp:segment_sent seq=101 ack=501 len=0 flags=A win=1000 win_scaled=1000 reason=dupack tx_count=1 pkt=h1:2",
	})
	last := events[len(events)-1]
	last.Data = append(last.Data, trace.Field{Name: "opts", Value: []trace.Field{{Name: "sack", Value: []string{"601-701", "601-801"}}}})
	for _, e := range events {
		check.event(e)
	}
	found := 0
	for _, p := range check.Problems {
		if strings.HasPrefix(p, "sacks: ") {
			found++
		}
	}
	if found != 1 {
		t.Errorf("want one complaint of the rule: %q", check.Problems)
	}
}

// What comes back to a ping tells how many routers it has passed.
func TestHopsAreCounted(t *testing.T) {
	for ttl, want := range map[string]int{"64": 0, "63": 1} {
		lab := &Lab{EndNs: duration, Spec: pair(), Journal: []*labv1.JournalEntry{{Input: &labv1.Input{Kind: &labv1.Input_Ping{
			Ping: &labv1.Ping{Id: "p", From: "h1", To: "h2"}}}}}}
		check := NewChecker(lab)
		check.hops(&labv1.ExecStatus{Id: "p", Lines: []string{"56 bytes from 10.0.0.2: icmp_seq=1 ttl=" + ttl + " time=2.000 ms"}})
		if len(check.Problems) != want {
			t.Errorf("ttl %s: %q", ttl, check.Problems)
		}
	}
}

// An input takes effect at the time that the journal gives it.
func TestEffectsRuleComplains(t *testing.T) {
	ping := &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: "p", From: "h1", To: "h2"}}}
	for line, want := range map[string]int{"5 lab:input index=1": 0, "2 lab:input index=1": 1} {
		check := NewChecker(&Lab{EndNs: duration, Spec: pair(), Journal: []*labv1.JournalEntry{{Index: 1, TNs: 5 * ms, Input: ping}}})
		for _, e := range script([]string{line}) {
			check.event(e)
		}
		if len(check.Problems) != want {
			t.Errorf("%s: %q", line, check.Problems)
		}
	}
}

// A link that an apply takes out drops what is on its way at that instant; nothing comes from it any more.
func TestRuleOfRemovedLinksComplains(t *testing.T) {
	bare := &labv1.LabSpec{Nodes: pair().Nodes}
	check := NewChecker(&Lab{EndNs: duration, Spec: pair(), Journal: []*labv1.JournalEntry{
		{Index: 1, TNs: 4 * ms, Input: &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: bare}}}}}})
	events := script([]string{
		"3 link:enqueued dir=h1->h2 pkt=h1:1 bytes=100 qpkts=0",
		"3 link:enqueued dir=h1->h2 pkt=h1:2 bytes=100 qpkts=1",
		"3 link:enqueued dir=h1->h2 pkt=h1:3 bytes=100 qpkts=2",
		"4 lab:input index=1",
		"4 link:dropped dir=h1->h2 pkt=h1:1 bytes=100 cause=removed",
		"5 link:delivered dir=h1->h2 pkt=h1:2 bytes=100",
		"6 link:dropped dir=h1->h2 pkt=h1:2 bytes=100 cause=removed",
		"6 link:enqueued dir=h1->h2 pkt=h1:4 bytes=100 qpkts=0",
	})
	events[4].ESeq, events[5].ESeq, events[6].ESeq = events[0].ESeq, events[1].ESeq, events[1].ESeq
	for _, e := range events {
		check.event(e)
	}
	check.links.finish(check)
	for i, want := range []string{
		"5000000 ns, h1 event 2, link:delivered h1/1: h1->h2 has been taken out",
		"6000000 ns, h1 event 2, link:dropped h1/1: h1->h2 is not taken out now",
		"6000000 ns, h1 event 8, link:enqueued h1/1: h1->h2 has been taken out",
		"h1->h2 was taken out at 4000000 ns, and nothing tells what became of 2 frames on it",
	} {
		if i >= len(check.Problems) || !strings.HasSuffix(check.Problems[i], want) {
			t.Errorf("problem %d of %q: want %s", i, check.Problems, want)
		}
	}
}

// Settings for a while lie over those for good, faults over both; another specification replaces what was for good.
func TestLayersOfSettings(t *testing.T) {
	earlier, delay, later := 5*ms, 7*ms, 9*ms
	d := &direction{base: &labv1.DirectionSpec{DelayNs: ms}}
	d.sets = []layer{{set: &labv1.LinkSet{Patch: &labv1.DirectionPatch{DelayNs: &earlier}}}, {set: &labv1.LinkSet{Patch: &labv1.DirectionPatch{DelayNs: &delay}, DurationNs: 1}}}
	d.turn(0)
	if d.spec.DelayNs != delay {
		t.Errorf("%d ns", d.spec.DelayNs)
	}
	d.faults = []layer{{fault: &labv1.Fault{Effect: &labv1.Fault_DelayNs{DelayNs: later}}}}
	d.turn(1)
	if d.spec.DelayNs != later {
		t.Errorf("%d ns under a fault", d.spec.DelayNs)
	}
}
