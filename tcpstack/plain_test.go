package tcpstack

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// What plain packets have of their own changes nothing: over random paths the records, and so each segment, each drop and
// each variable that they tell, are the same if every packet comes with a part of its headers among the payload, which
// takes it the general way.
func TestPlainWayIsTheGeneralWay(t *testing.T) {
	plain, general := uint64(0), uint64(0)
	for seed := range uint64(150) {
		var sums [2][sha256.Size]byte
		for i, cut := range []bool{false, true} {
			h := sha256.New()
			randomPath(t, seed, func(p *tcpPair) func(*sim.Frame) {
				p.loop.Rec = sim.NewRecorder(256, func(b []sim.Record) {
					for k := range b {
						fmt.Fprintln(h, b[k])
					}
				})
				return func(f *sim.Frame) {
					if b := f.Header(); be16(b[12:]) != uint16(wire.EtherTypeIPv4) || len(b) < wire.EthernetLen+plainLen {
						return
					}
					plain++
					if !cut || f.Flips > 0 { // records of drops quote what lies in the header region
						return
					}
					general++
					if !split(p.loop, f, wire.EthernetLen+plainLen-4) {
						t.Fatal("a packet that cannot be cut")
					}
				}
			})
			h.Sum(sums[i][:0])
		}
		if sums[0] != sums[1] {
			t.Errorf("seed %d: the records differ", seed)
		}
	}
	if general < 10000 {
		t.Errorf("only %d of %d packets were plain", general, plain)
	}
}

// The checksums of plain packets are those that the general way makes and verifies, whatever the bytes are.
func TestPlainSumsAreTheGeneralSums(t *testing.T) {
	const seed = 11
	dice, draw := sim.NewStream(seed, "plain sums"), uint64(0)
	below := func(n uint64) uint64 { draw++; return dice.Below(draw, n) }
	loop := sim.NewLoop(sim.LoopConfig{})
	for range 3000 {
		f := loop.NewFrame()
		f.Verified = true
		b := f.Append(plainStampLen)
		for i := range b {
			b[i] = [3]byte{byte(below(256)), 0, 0xff}[below(3)]
		}
		n := int(below(1449))
		ch := loop.NewChunk(n)
		for i := range ch.Data {
			ch.Data[i] = byte(below(256))
		}
		f.SetPayload(ch, 0, n)
		ch.Release()
		b[0], b[wire.IPv4OffProto] = 0x45, uint8(wire.ProtoTCP)
		if !plainSums(f, b) {
			t.Fatal("not plain")
		}
		plain := *(*[plainStampLen]byte)(b)
		f.Sum, f.SumKnown = 0, false
		fillIP(f, b)
		if general := *(*[plainStampLen]byte)(b); be16(b[wire.IPv4OffFrag:])&(wire.IPv4MF|wire.IPv4OffsetMask) == 0 && plain != general {
			t.Fatalf("seed %d: %x is %x the general way", seed, plain, general)
		}
		copy(b, plain[:])
		if !plainVerified(f, b) {
			t.Fatalf("seed %d: %x does not verify", seed, b)
		}
		b[below(plainStampLen)] ^= 1 << below(8)
		if plainVerified(f, b) {
			t.Fatalf("seed %d: %x verifies", seed, b)
		}
		f.Release()
	}
}
