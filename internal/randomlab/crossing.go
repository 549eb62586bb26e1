package randomlab

import (
	"slices"

	"labd.dev/node"
)

// Crossing tells how many of the delivered frames, by direction, crossed from one loop to the other where the lab runs on two,
// and whether a fault met a link between them.
func (l *Lab) Crossing(frames map[string]uint64) (crossed uint64, faulted bool) {
	plan, err := node.Assign(l.Spec, nil)
	if err != nil {
		return 0, false
	}
	loops := node.Partition(plan, 2, nil)
	for i := range plan.Directions {
		d := &plan.Directions[i]
		if loops[d.From] == loops[d.To] {
			continue
		}
		crossed += frames[d.Name]
		for _, e := range l.Journal {
			if f := e.Input.GetFault(); f.GetLink() != "" {
				dirs, _ := plan.Link(f.Link)
				faulted = faulted || slices.Contains(dirs, i)
			}
		}
	}
	return crossed, faulted
}
