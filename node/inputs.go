package node

import (
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Apply lets an input take effect now. All loops are at rest at the entry's time; entries come in the order of time,
// then index.
func (w *Network) Apply(e *labv1.JournalEntry) {
	index := uint32(e.GetIndex())
	for uint64(len(w.inputs)) <= e.GetIndex() {
		w.inputs = append(w.inputs, nil)
	}
	w.inputs[index] = e.GetInput()
	first := w.cfg.Loops[0]
	if w.head() {
		if r := w.lab.Record(first.Rec, first.Now(), KindInput); r != nil {
			r.W[0] = index
		}
	}
	switch k := e.GetInput().GetKind().(type) {
	case *labv1.Input_Fault:
		w.startFault(index, k.Fault, sim.Time(e.GetTNs()))
	case *labv1.Input_ClearFault:
		w.clearFault(k.ClearFault.GetId(), sim.Time(e.GetTNs()))
	case *labv1.Input_Apply:
		w.change(k.Apply.GetSpec())
	case *labv1.Input_LinkSet:
		w.setLink(index, k.LinkSet, sim.Time(e.GetTNs()))
	case *labv1.Input_Interrupt:
	default:
		name := StartsAt(e.GetInput())
		if i, ok := w.cfg.Plan.Node(name); ok {
			if w.nodes[i] != nil {
				w.nodes[i].start(index, e.GetInput())
			}
		} else if w.head() {
			w.failTask(e.GetInput(), name+" is not in the lab any more")
		}
	}
}

// StartsAt is the node that an input starts an application on; empty for other inputs.
func StartsAt(in *labv1.Input) string {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		return k.Transfer.GetFrom()
	case *labv1.Input_HttpGet:
		return k.HttpGet.GetFrom()
	case *labv1.Input_Udp:
		return k.Udp.GetFrom()
	case *labv1.Input_Ping:
		return k.Ping.GetFrom()
	case *labv1.Input_Traceroute:
		return k.Traceroute.GetFrom()
	case *labv1.Input_Send:
		return k.Send.GetFrom()
	}
	return ""
}

// failTask reports that what an input asked for cannot be done, or cannot go on.
func (w *Network) failTask(in *labv1.Input, why string) {
	failed := func(s *labv1.TransferStatus) {
		s.State, s.Error = labv1.TransferState_TRANSFER_STATE_FAILED, why
	}
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		w.cfg.Report.Transfer(k.Transfer.GetId(), failed)
	case *labv1.Input_HttpGet:
		w.cfg.Report.Transfer(k.HttpGet.GetId(), failed)
	case *labv1.Input_Udp:
		w.cfg.Report.Transfer(k.Udp.GetId(), failed)
	case *labv1.Input_Ping:
		w.cfg.Report.ExecLine(k.Ping.GetId(), why)
		w.cfg.Report.ExecDone(k.Ping.GetId(), 1)
	case *labv1.Input_Traceroute:
		w.cfg.Report.ExecLine(k.Traceroute.GetId(), why)
		w.cfg.Report.ExecDone(k.Traceroute.GetId(), 1)
	case *labv1.Input_Send:
		w.cfg.Report.ExecLine(k.Send.GetId(), why)
		w.cfg.Report.ExecDone(k.Send.GetId(), 1)
	}
}

// Busy reports whether anything that an input started still runs.
func (w *Network) Busy() bool {
	for _, n := range w.nodes {
		if n != nil && n.busy() {
			return true
		}
	}
	return false
}

// Running reports whether anything of an input still goes on: its application, or an end of its connection. A connection
// that the application leaves open on purpose is not waited for.
func (w *Network) Running(index uint32) bool {
	in := w.input(index)
	for _, n := range w.Nodes() {
		for _, t := range n.work {
			if t.in == in && !t.app.Done() {
				return true
			}
		}
	}
	if in.GetTransfer().GetClose() == labv1.CloseMode_CLOSE_MODE_NEVER {
		return false
	}
	for _, n := range w.Nodes() {
		if n.connection(func(c *tcpstack.Conn) bool { return c.Tag() == index }) {
			return true
		}
	}
	return false
}

// Connected reports whether a connection is neither closed nor in TIME-WAIT.
func (w *Network) Connected() bool {
	for _, n := range w.nodes {
		if n != nil && n.connected() {
			return true
		}
	}
	return false
}
