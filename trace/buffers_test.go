package trace

import "testing"

// A byte's way through the buffers of both ends.
func TestBuffers(t *testing.T) {
	at := func(ns int64, node, side, name string, data ...Field) Event {
		return Event{TNs: ns, Node: node, Side: side, Name: name, Data: data}
	}
	events := []Event{
		at(0, "a", "initiator", "tcp:segment_sent", Field{"off", int64(0)}, Field{"len", uint64(0)}, Field{"win_scaled", uint64(1000)}),
		at(1, "b", "responder", "tcp:segment_sent", Field{"off", int64(0)}, Field{"len", uint64(0)}, Field{"win_scaled", uint64(500)}),
		at(2, "a", "", "app:file_read", Field{"bytes", uint64(400)}),
		at(2, "a", "", "app:write", Field{"bytes", uint64(300)}, Field{"buffered", uint64(100)}),
		at(2, "a", "initiator", "tcp:segment_sent", Field{"off", int64(0)}, Field{"len", uint64(100)}, Field{"win_scaled", uint64(1000)}),
		at(2, "a", "initiator", "tcp:segment_sent", Field{"off", int64(100)}, Field{"len", uint64(100)}, Field{"win_scaled", uint64(1000)}),
		at(3, "b", "responder", "tcp:segment_received", Field{"off", int64(100)}, Field{"len", uint64(100)}, Field{"verdict", "ooo"}),
		at(3, "b", "responder", "tcp:reassembly_updated", Field{"rcv_nxt_off", uint64(0)}, Field{"ooo", uint64(100)}, Field{"buffered", uint64(0)}),
		at(4, "b", "responder", "tcp:segment_received", Field{"off", int64(0)}, Field{"len", uint64(100)}, Field{"verdict", "in_order"}),
		at(4, "b", "responder", "tcp:reassembly_updated", Field{"rcv_nxt_off", uint64(200)}, Field{"ooo", uint64(0)}, Field{"buffered", uint64(200)}),
		at(5, "b", "", "app:read", Field{"bytes", uint64(150)}),
		at(6, "a", "initiator", "tcp:ack_processed", Field{"una", uint64(200)}),
		at(7, "a", "", "app:write", Field{"bytes", uint64(100)}, Field{"buffered", uint64(0)}),
		at(8, "a", "", "app:file_read", Field{"bytes", uint64(400)}),
	}
	want := []BufferSample{
		{TNs: 0, Node: "a", Side: "initiator", Window: 1000},
		{TNs: 1, Node: "b", Side: "responder", Window: 500},
		{TNs: 2, Node: "a", Side: "initiator", Window: 1000, AppBuffer: 100, Written: 300, SendBuffer: 300, InFlight: 200},
		{TNs: 3, Node: "b", Side: "responder", Window: 500, Reassembly: 100},
		{TNs: 4, Node: "b", Side: "responder", Window: 500, RecvBuffer: 200},
		{TNs: 5, Node: "b", Side: "responder", Window: 500, RecvBuffer: 50, Read: 150},
		{TNs: 6, Node: "a", Side: "initiator", Window: 1000, AppBuffer: 100, Written: 300, SendBuffer: 100},
		{TNs: 7, Node: "a", Side: "initiator", Window: 1000, Written: 400, SendBuffer: 200},
		{TNs: 8, Node: "a", Side: "initiator", Window: 1000, AppBuffer: 400, Written: 400, SendBuffer: 200},
	}
	got := Buffers(events)
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("sample %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d samples, want %d", len(got), len(want))
	}
}
