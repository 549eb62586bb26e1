package worker

import (
	"sort"

	"labd.dev/sim"
	"labd.dev/trace"
)

// defaultRetention is how many records a standing lab keeps if its file does not say: 64 MB.
const defaultRetention = 1_000_000

// retention keeps a standing lab's newest records, whole connections as far as the bound allows. What it keeps depends on
// the records alone, not on when it is looked at: it is thinned out whenever it is an eighth above its limit.
type retention struct {
	limit int
	recs  []sim.Record
	lost  sim.Record // the last, in their order, of those that were dropped; its kind is none while none was
}

func newRetention(limit uint64) *retention {
	if limit == 0 {
		limit = defaultRetention
	}
	return &retention{limit: int(min(limit, 1<<30))}
}

// write takes records in their order.
func (r *retention) write(recs []sim.Record) error {
	for i := range recs {
		if full := r.limit + r.limit/8 + 1; len(r.recs) >= full && recs[i].Kind != sim.KindMore {
			r.thin()
		}
		r.recs = append(r.recs, recs[i])
	}
	return nil
}

// thin drops the connections that have been quiet for longest, and what belongs to no connection and is older than what
// is kept, until the limit holds.
func (r *retention) thin() {
	last := map[sim.ConnID]int{} // where a connection's newest record is
	for i := range r.recs {
		if rec := &r.recs[i]; rec.Kind != sim.KindMore && rec.Conn != 0 {
			last[rec.Conn] = i
		}
	}
	age := make([]int, len(r.recs)) // by record: when it, or its connection, was last of interest
	weight := make([]int, len(r.recs))
	for i := range r.recs {
		switch rec := &r.recs[i]; {
		case rec.Kind == sim.KindMore && i > 0:
			age[i] = age[i-1]
		case rec.Conn != 0:
			age[i] = last[rec.Conn]
		default:
			age[i] = i
		}
		weight[age[i]]++
	}
	excess := len(r.recs) - r.limit
	oldest := 0 // the first age that is kept at least in part
	for excess >= weight[oldest] {
		excess -= weight[oldest]
		oldest++
	}
	// The connection at the border goes whole, unless it is what most of the records are of.
	if excess > 0 && weight[oldest] <= r.limit/2 {
		excess = weight[oldest]
	}
	keep := r.recs[:0]
	dropping := false
	for i, rec := range r.recs {
		if rec.Kind != sim.KindMore || i == 0 {
			dropping = age[i] < oldest || age[i] == oldest && excess > 0
		}
		if dropping {
			if age[i] == oldest {
				excess--
			}
			if r.lost.Kind == sim.KindNone || trace.Before(&r.lost, &rec) {
				r.lost = rec
			}
			continue
		}
		keep = append(keep, rec)
	}
	r.recs = keep
}

// lostBehind reports whether a record behind a position has been dropped.
func (r *retention) lostBehind(after *sim.Record) bool {
	return r.lost.Kind != sim.KindNone && trace.Before(after, &r.lost)
}

// behind is the index of the first record behind a position.
func (r *retention) behind(after *sim.Record) int {
	return sort.Search(len(r.recs), func(i int) bool { return trace.Before(after, &r.recs[i]) })
}
