package orchestrator

import (
	"cmp"
	"fmt"
	"slices"

	"labd.dev/node/cut"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// labMemory is what a lab takes before it has a node: its loop's wheel, its trace ring and its open files.
	labMemory = 4 << 20
	// nodeMemory and linkMemory are what a node and a link add while they idle: stack, neighbours, counters; two queues.
	nodeMemory = 32 << 10
	linkMemory = 8 << 10
	// loadStep is the difference in events a second and core below which two workers are taken to be equally busy: some
	// 1% of what a core runs. Else noise would decide, and the number of labs never.
	loadStep = 30_000
	// freshEvents is what a lab is taken to run until its worker has measured it, so that labs that are made at once
	// do not all go to the worker that was idle before.
	freshEvents = 60_000
	// leastDisk is the free space below which a worker gets no lab: run directories would not be whole.
	leastDisk = 64 << 20
)

// need is what a lab asks of workers.
type need struct {
	lab     string // its name, for messages
	memory  uint64 // bytes
	workers int    // on how many it shall be; 0: one, or as many as it takes
	parts   int    // into how many it can be cut at most
	again   bool   // it was placed before: it goes on on fewer workers than its file asks for, where no more are left
}

// needOf is what a lab asks of workers. A journal may have brought links to no delay, at which it is not cut: then it is
// on fewer workers than its file asks for, never refused.
func needOf(spec *labv1.LabSpec, journal []*labv1.JournalEntry) need {
	n := need{lab: spec.GetName(), memory: memoryOf(spec), workers: int(spec.GetPlacement().GetWorkers()), parts: cut.Most(spec, journal)}
	if len(journal) > 0 {
		n.workers = min(n.workers, n.parts)
	}
	return n
}

// memoryOf is the memory that a lab needs. A budget that its file sets is what it may take; else its size tells.
func memoryOf(spec *labv1.LabSpec) uint64 {
	if b := spec.GetBudget().GetMemoryBytes(); b > 0 {
		return b
	}
	return labMemory + nodeMemory*uint64(len(spec.GetNodes())) + linkMemory*uint64(len(spec.GetLinks()))
}

// candidate is a worker that may take labs, as it stands.
type candidate struct {
	name   string
	memory uint64  // for labs; 0: not bounded
	used   uint64  // by labs, measured or promised
	cores  uint32  // 0: 1
	events float64 // a second, measured
	fresh  int     // labs given to it since that was measured
	labs   int     // that it has
	disk   uint64  // bytes free; 0: not known
	alone  bool    // it cannot be reached by other workers, and hosts whole labs only
}

// load is how busy a worker is, in steps that make a difference.
func (c candidate) load() int {
	return int((c.events + freshEvents*float64(c.fresh)) / float64(max(c.cores, 1)) / loadStep)
}

// free is the memory that is left for labs; ok is false where it is not bounded.
func (c candidate) free() (bytes uint64, bounded bool) {
	return c.memory - min(c.memory, c.used), c.memory > 0
}

func (c candidate) holds(memory uint64) bool {
	free, bounded := c.free()
	return !bounded || memory <= free
}

// place chooses the workers that shall host a lab: the least loaded ones that have the memory. It is a pure function, so
// that every choice can be told again.
func place(n need, all []candidate) ([]string, error) {
	var cs []candidate
	for _, c := range all {
		if c.disk == 0 || c.disk >= leastDisk {
			cs = append(cs, c)
		}
	}
	if n.again {
		n.workers = min(n.workers, max(len(cs), 1))
	}
	switch {
	case len(all) == 0:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NO_WORKER, "no worker is up that takes labs; see: labctl get workers")
	case len(cs) == 0:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NO_WORKER, "no worker has the %d MiB of free disk that a lab needs at the least", leastDisk>>20)
	case n.workers > len(cs) && !(len(cs) == 1 && cs[0].alone):
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NO_WORKER,
			"lab %q asks for %d workers (placement), and %d take labs now", n.lab, n.workers, len(cs))
	}
	if len(cs) == 1 && cs[0].alone {
		n.workers = 0 // a labd by itself hosts whole labs: the split is no part of the lab
	}
	slices.SortFunc(cs, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.load(), b.load()), cmp.Compare(a.labs+a.fresh, b.labs+b.fresh), cmp.Compare(a.name, b.name))
	})
	from, to := max(n.workers, 1), max(n.workers, 1)
	if n.workers == 0 {
		to = max(1, min(n.parts, len(cs)))
	}
	for k := from; k <= to; k++ {
		share := (n.memory + uint64(k) - 1) / uint64(k)
		var names []string
		for _, c := range cs {
			if len(names) < k && c.holds(share) && !(k > 1 && c.alone) {
				names = append(names, c.name)
			}
		}
		if len(names) == k {
			return names, nil
		}
	}
	return nil, noRoom(n, cs)
}

// mebibytes writes an amount of memory, rounded up.
func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// noRoom says what a lab needs and what there is.
func noRoom(n need, cs []candidate) error {
	most := slices.MaxFunc(cs, func(a, b candidate) int { return cmp.Compare(a.memory, b.memory) })
	share := n.memory / uint64(max(n.workers, 1))
	if share > most.memory {
		return refuse(labv1.ErrorReason_ERROR_REASON_LAB_TOO_LARGE,
			"lab %q needs %s of memory, and worker %s, which has the most, has %s for labs", n.lab, mebibytes(share), most.name, mebibytes(most.memory))
	}
	freest := slices.MaxFunc(cs, func(a, b candidate) int {
		fa, _ := a.free()
		fb, _ := b.free()
		return cmp.Compare(fa, fb)
	})
	free, _ := freest.free()
	return refuse(labv1.ErrorReason_ERROR_REASON_NO_WORKER,
		"lab %q needs %s of memory, and the most that is free now is %s, at worker %s", n.lab, mebibytes(share), mebibytes(free), freest.name)
}
