package worker

import (
	"testing"

	"labd.dev/sim"
)

// "a standing lab keeps its newest N (..., whole connections)", and what it keeps depends on the records alone.
func TestRetentionKeepsWholeConnections(t *testing.T) {
	const limit = 1000
	var all []sim.Record
	for conn := range 200 {
		for i := range 20 {
			all = append(all, sim.Record{T: sim.Time(len(all)), Conn: sim.MakeConnID(1, uint64(conn)+1), Kind: sim.KindTCP, ESeq: uint32(i)},
				sim.Record{T: sim.Time(len(all)), Conn: 77, Kind: sim.KindMore})
		}
		all = append(all, sim.Record{T: sim.Time(len(all)), Kind: sim.KindLab})
	}
	whole, pieces := newRetention(limit), newRetention(limit)
	write(t, whole, all)
	for i := 0; i < len(all); i += 7 {
		write(t, pieces, all[i:min(i+7, len(all))])
	}
	if len(whole.recs) != len(pieces.recs) || whole.recs[0] != pieces.recs[0] {
		t.Fatalf("%d records at once, %d in pieces", len(whole.recs), len(pieces.recs))
	}
	if n := len(whole.recs); n > limit+limit/8+42 || n < limit/2 {
		t.Errorf("%d records kept of a limit of %d", n, limit)
	}
	if whole.recs[len(whole.recs)-1] != all[len(all)-1] {
		t.Error("the newest record is gone")
	}
	count := map[sim.ConnID]int{}
	for i, r := range whole.recs {
		if r.Kind == sim.KindMore {
			if i == 0 || whole.recs[i-1].Kind == sim.KindMore {
				t.Fatalf("record %d continues nothing", i)
			}
			continue
		}
		count[r.Conn]++
	}
	for c, n := range count {
		if c != 0 && n != 20 {
			t.Errorf("connection %v has %d records of 20", c, n)
		}
	}
}

// One connection that makes more records than are kept loses its oldest; the bound holds.
func TestRetentionBoundsOneConnection(t *testing.T) {
	r := newRetention(100)
	for i := range 5000 {
		write(t, r, []sim.Record{{T: sim.Time(i), Conn: sim.MakeConnID(1, 1), Kind: sim.KindTCP}})
		if len(r.recs) > 114 {
			t.Fatalf("%d records", len(r.recs))
		}
	}
	if len(r.recs) < 100 || r.recs[len(r.recs)-1].T != 4999 {
		t.Errorf("%d records, the last of %v", len(r.recs), r.recs[len(r.recs)-1].T)
	}
}

func write(t *testing.T, r *retention, recs []sim.Record) {
	t.Helper()
	if err := r.write(recs); err != nil {
		t.Fatal(err)
	}
}
