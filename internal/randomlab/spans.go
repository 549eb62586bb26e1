package randomlab

import (
	"fmt"
	"slices"

	"labd.dev/trace"
)

// spans is a set of sequence offsets: sorted ranges that do not touch.
type spans []span

func (l *spans) add(s span) {
	kept := (*l)[:0:0]
	for _, o := range *l {
		if o.to < s.from || o.from > s.to {
			kept = append(kept, o)
			continue
		}
		s.from, s.to = min(s.from, o.from), max(s.to, o.to)
	}
	at, _ := slices.BinarySearchFunc(kept, s, func(a, b span) int { return int(a.from - b.from) })
	*l = slices.Insert(kept, at, s)
}

// cut forgets what lies below an offset.
func (l *spans) cut(below int64) {
	kept := (*l)[:0]
	for _, o := range *l {
		if o.from = max(o.from, below); o.from < o.to {
			kept = append(kept, o)
		}
	}
	*l = kept
}

func (l spans) total() (n int64) {
	for _, o := range l {
		n += o.to - o.from
	}
	return n
}

func (l spans) hold(s span) bool {
	return slices.ContainsFunc(l, func(o span) bool { return o.from <= s.from && s.to <= o.to })
}

// sackBlocks is what a segment's SACK option says, as offsets from an initial sequence number.
func sackBlocks(e *trace.Event, isn uint32) (list []span) {
	v, _ := e.Get("opts.sack")
	blocks, _ := v.([]string)
	for _, b := range blocks {
		var left, right uint32
		if _, err := fmt.Sscanf(b, "%d-%d", &left, &right); err == nil {
			list = append(list, span{int64(int32(left - isn)), int64(int32(right - isn))})
		}
	}
	return list
}
