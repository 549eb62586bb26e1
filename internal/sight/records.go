package sight

import (
	"slices"

	"labd.dev/node"
	"labd.dev/sim"
	"labd.dev/trace"
)

// Records is a stream of a lab's trace records as the person sees it: those that nodes in view have made, and those of inputs
// in view. Names of other nodes are told once such a record bears them.
type Records struct {
	place   *Place
	inputs  func(index uint64) bool // whether an input is in view
	names   trace.Names
	told    trace.Names // what the person knows of them
	keeping bool        // of the last record that was begun
}

// NewRecords begins a stream.
func (p *Place) NewRecords(inputs func(index uint64) bool) *Records {
	return &Records{place: p, inputs: inputs}
}

// Cut cuts a message of the stream: its records, and its names where there are new ones. Names that are given take the
// place of those of messages before.
func (r *Records) Cut(records []byte, nodes, directions []string) (kept []byte, newNodes, newDirections []string, err error) {
	if r.place.SeesAll() {
		return records, nodes, directions, nil
	}
	changed := nodes != nil
	if changed {
		r.rename(nodes, directions)
	}
	recs, err := trace.DecodeRecords(records)
	if err != nil {
		return nil, nil, nil, err
	}
	for i := range recs {
		rec := &recs[i]
		if rec.Kind != sim.KindMore {
			r.keeping = r.sees(rec)
		}
		if !r.keeping {
			continue
		}
		kept = trace.AppendRecord(kept, rec)
		if rec.Kind != sim.KindMore && r.learn(rec) {
			changed = true
		}
	}
	if !changed {
		return kept, nil, nil, nil
	}
	return kept, slices.Clone(r.told.Nodes), slices.Clone(r.told.Directions), nil
}

// rename takes a new table of names. What was told stays told.
func (r *Records) rename(nodes, directions []string) {
	was := r.told
	r.names = trace.Names{Nodes: nodes, Directions: directions}
	r.told = trace.Names{Nodes: make([]string, len(nodes)), Directions: make([]string, len(directions))}
	for id, name := range nodes {
		if r.place.Views(name) || at(was.Nodes, uint32(id)) != "" {
			r.told.Nodes[id] = name
		}
	}
	for id := range directions {
		if at(was.Directions, uint32(id)) != "" {
			r.told.Directions[id] = directions[id]
		}
	}
}

func (r *Records) sees(rec *sim.Record) bool {
	if rec.Node == 0 {
		return rec.Kind == node.KindInput && r.inputs(uint64(rec.W[0]))
	}
	return r.place.Views(at(r.names.Nodes, rec.Node))
}

// learn tells the names that a record bears; true: there were new ones.
func (r *Records) learn(rec *sim.Record) bool {
	fresh := tell(r.told.Nodes, r.names.Nodes, rec.Conn.Node())
	fresh = tell(r.told.Nodes, r.names.Nodes, rec.Pkt.Node()) || fresh
	switch e, ok := node.DecodeRecord(rec); {
	case ok && e.Direction != 0:
		fresh = tell(r.told.Directions, r.names.Directions, uint32(e.Direction)) || fresh
	case rec.Kind >= sim.KindLink && rec.Kind < sim.KindApp:
		fresh = tell(r.told.Directions, r.names.Directions, rec.W[0]) || fresh
	}
	return fresh
}

func tell(told, names []string, id uint32) bool {
	if at(names, id) == "" || told[id] != "" {
		return false
	}
	told[id] = names[id]
	return true
}

func at(table []string, id uint32) string {
	if uint64(id) < uint64(len(table)) {
		return table[id]
	}
	return ""
}
