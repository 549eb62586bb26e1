package worker

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// maxExecLines bounds what a ping or traceroute is kept of: a million-packet ping keeps its last lines.
const maxExecLines = 10_000

// report collects how a lab's transfers and commands go. The lab's loops write it, whoever asks reads it.
type report struct {
	mu        sync.Mutex // guards all below: the two ends of a transfer may be in different loops
	transfers map[string]*labv1.TransferStatus
	execs     map[string]*labv1.ExecStatus
	order     []string               // of transfers and execs, by their inputs
	inputs    map[string]uint32      // the journal index of each transfer
	tells     func(node string) bool // a shard: what starts at a node is told of here; nil: all is
	version   uint64                 // counts changes
}

func newReport() *report {
	return &report{transfers: map[string]*labv1.TransferStatus{}, execs: map[string]*labv1.ExecStatus{}, inputs: map[string]uint32{}}
}

// expect notes an input before its time has come.
func (r *report) expect(e *labv1.JournalEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, at := e.GetInput(), e.GetTNs()
	id := inputID(in)
	pending := func(from, to, what string) {
		if r.tells != nil && !r.tells(from) {
			from = "" // the half that tells where it starts is that of its initiator
		}
		r.transfers[id] = &labv1.TransferStatus{
			Id: id, From: from, To: to, What: what, State: labv1.TransferState_TRANSFER_STATE_PENDING, StartNs: at,
		}
		r.order = append(r.order, id)
		r.inputs[id] = uint32(e.GetIndex())
	}
	command := func(node, cmd string) {
		r.execs[id] = &labv1.ExecStatus{Id: id, Node: node, Command: cmd, Stamp: &labv1.Stamp{Index: e.GetIndex(), TNs: at}}
		r.order = append(r.order, id)
	}
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		what := "generated"
		if f := k.Transfer.GetFile(); f != nil {
			what = "file " + f.GetPath()
		}
		pending(k.Transfer.GetFrom(), k.Transfer.GetTo(), what)
	case *labv1.Input_HttpGet:
		pending(k.HttpGet.GetFrom(), "", k.HttpGet.GetUrl())
	case *labv1.Input_Udp:
		pending(k.Udp.GetFrom(), k.Udp.GetTo(), "udp")
	case *labv1.Input_Ping:
		command(k.Ping.GetFrom(), pingCommand(k.Ping))
	case *labv1.Input_Traceroute:
		command(k.Traceroute.GetFrom(), "traceroute "+k.Traceroute.GetTo())
	case *labv1.Input_Send:
		command(k.Send.GetFrom(), sendCommand(k.Send))
	}
	r.version++
}

// sendCommand tells of the first packet only: the others may be many.
func sendCommand(s *labv1.RawSend) string {
	text := "send"
	for i, p := range s.GetPackets() {
		if i > 0 {
			return text + " ..."
		}
		for _, f := range p.GetFields() {
			text += " " + f.GetName() + "=" + f.GetValue()
		}
	}
	return text
}

func pingCommand(p *labv1.Ping) string {
	if p.GetCount() == 0 {
		return "ping " + p.GetTo()
	}
	return fmt.Sprintf("ping -c %d %s", p.GetCount(), p.GetTo())
}

// Transfer implements app.Reporter.
func (r *report) Transfer(id string, update func(*labv1.TransferStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.transfers[id]; t != nil {
		update(t)
		r.version++
	}
}

// ExecLine implements app.Reporter.
func (r *report) ExecLine(id, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.execs[id]
	if e == nil {
		return
	}
	if len(e.Lines) == maxExecLines {
		copy(e.Lines, e.Lines[1:])
		e.Lines = e.Lines[:maxExecLines-1]
	}
	e.Lines = append(e.Lines, line)
	r.version++
}

// ExecDone implements app.Reporter.
func (r *report) ExecDone(id string, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.execs[id]; e != nil {
		e.Done, e.ExitCode = true, int32(code)
		r.version++
	}
}

// end marks the transfers that have come to their result and of which nothing runs any more. In a shard, half: it tells only
// whether anything of them runs here now, for the result may be another shard's.
func (r *report) end(running func(index uint32) bool, half bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range r.transfers {
		if half {
			t.Ended = !running(r.inputs[id])
			continue
		}
		if !t.Ended && t.State >= labv1.TransferState_TRANSFER_STATE_DONE && !running(r.inputs[id]) {
			t.Ended = true
			r.version++
		}
	}
}

// snapshot copies everything, in the order of the inputs.
func (r *report) snapshot() (transfers []*labv1.TransferStatus, execs []*labv1.ExecStatus, version uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.order {
		if t := r.transfers[id]; t != nil {
			transfers = append(transfers, proto.Clone(t).(*labv1.TransferStatus))
		} else {
			execs = append(execs, proto.Clone(r.execs[id]).(*labv1.ExecStatus))
		}
	}
	return transfers, execs, r.version
}
