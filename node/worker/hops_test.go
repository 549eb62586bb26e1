package worker

import (
	"testing"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// Headers that are remembered have true checksums, although the stacks leave those of the frames themselves open: they
// are the same bytes that a capture of the same lab has. A run whose frames nobody captures remembers none.
func TestRememberedHeadersHaveTrueChecksums(t *testing.T) {
	b := newBench(t)
	const end = 3000 * ms
	remembered := func(id string, mode workerv1.Mode, capture bool) *workerv1.ReadPacketResponse {
		l := b.start(&workerv1.StartLabRequest{
			LabId: id, Spec: path(), Mode: mode, Journal: journalOf(timed{0, transfer("t", 20_000)}), EndNs: end, ReplayToNs: end, Capture: capture,
		})
		b.until(id, "the transfer's end", func(r *workerv1.GetLabResponse) bool { return len(r.Transfers) == 1 && settled(r) })
		if mode == workerv1.Mode_MODE_RUN {
			b.wait(l)
		}
		r, err := b.ReadPacket(t.Context(), &workerv1.ReadPacketRequest{LabId: id, Packet: "client:4"})
		if err != nil {
			return nil
		}
		return r
	}
	captured := remembered("captured", workerv1.Mode_MODE_RUN, true)
	standing := remembered("standing", workerv1.Mode_MODE_STANDING, false)
	if len(captured.GetHops()) != 6 || !proto.Equal(captured, standing) {
		t.Errorf("captured: %v, not captured: %v", captured, standing)
	}
	for _, h := range standing.GetHops() {
		if !ipSumHolds(h) {
			t.Errorf("%s %s: the IP header's checksum is false: %x", h.Node, h.Interface, h.Data)
		}
	}
	if r := remembered("run", workerv1.Mode_MODE_RUN, false); r != nil {
		t.Errorf("a run without captures remembers %v", r)
	}
}

// ipSumHolds reports whether the checksum of the IP header, which follows the Ethernet header, holds.
func ipSumHolds(h *labv1.PacketHop) bool {
	sum := uint32(0)
	for i := 14; i < 34; i += 2 {
		sum += uint32(h.Data[i])<<8 | uint32(h.Data[i+1])
	}
	return sum>>16+sum&0xffff == 0xffff
}
