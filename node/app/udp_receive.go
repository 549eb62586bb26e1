package app

import (
	"encoding/binary"
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// udpReceiver counts the datagrams of blasts and checks the content of transfers over UDP. Which one a datagram belongs to
// is known from the input that it carries; datagrams of none are only let go.
type udpReceiver struct {
	env      Env
	name     string
	sock     *tcpstack.UDPSocket
	byInput  map[uint32]*udpSession
	sessions []*udpSession // in the order of their first datagrams
}

func startUDPSink(env Env, spec *labv1.UdpSinkApp) (App, error) {
	return startUDPReceiver(env, portOr(spec.GetPort(), DiscardPort))
}

func startUDPReceiver(env Env, port uint16) (*udpReceiver, error) {
	r := &udpReceiver{env: env, name: fmt.Sprintf("udp sink :%d", port), byInput: map[uint32]*udpSession{}}
	var err error
	if r.sock, err = env.Stack.OpenUDP(any4(port), r.datagram); err != nil {
		return nil, fmt.Errorf("app: %s: %w", r.name, err)
	}
	return r, nil
}

func (r *udpReceiver) Name() string { return r.name }

// Done: nothing has come for a while.
func (r *udpReceiver) Done() bool {
	for _, s := range r.sessions {
		if s.silence.Armed() {
			return false
		}
	}
	return true
}

func (r *udpReceiver) Stop() {
	r.sock.Close()
	for _, s := range r.sessions {
		r.env.Loop.Stop(&s.silence)
	}
	r.sessions = nil
}

func (r *udpReceiver) datagram(d tcpstack.Datagram) {
	if len(d.Data) < udpHeader {
		return
	}
	s := r.session(d.Tag)
	if s == nil {
		return
	}
	if seq := binary.BigEndian.Uint64(d.Data); seq < s.count && s.seq.mark(seq) {
		s.first(d.Data[udpHeader:])
	}
	r.env.arm(&s.silence, r.env.Loop.Now()+udpGrace)
}

// session is the blast or transfer of an input; nil if it is neither. There are never more than the journal has inputs.
func (r *udpReceiver) session(index uint32) *udpSession {
	if s := r.byInput[index]; s != nil {
		return s
	}
	in := r.env.input(index)
	s := &udpSession{env: &r.env}
	s.silence.H = s
	switch t, b := in.GetTransfer(), in.GetUdp(); {
	case t != nil:
		want, _ := contentOf(r.env.Seed, t, nil) // without a blob nothing can fail
		s.id, s.check = t.GetId(), newChecker(want)
		s.count = datagrams(want.size, datagramSize(t.GetWriteSizeBytes()))
		s.save = r.env.sink(t.GetId(), t.GetSave())
	case b != nil:
		s.id, s.count = b.GetId(), b.GetCount()
	default:
		return nil
	}
	r.byInput[index] = s
	r.sessions = append(r.sessions, s)
	return s
}

// udpSession is what one input's datagrams add up to. The content of a transfer is what a plain application would have: the
// datagrams' bytes in the order of their arrival. What was lost or overtaken shows in its SHA-256.
type udpSession struct {
	env     *Env
	id      string
	count   uint64 // datagrams that there can be
	seq     sequence
	bytes   uint64
	lastAt  sim.Time // of the last first copy
	check   *checker // nil: a blast
	save    func([]byte)
	told    progress
	silence sim.Timer
}

// first takes a datagram's first copy.
func (s *udpSession) first(b []byte) {
	s.bytes += uint64(len(b))
	s.lastAt = s.env.Loop.Now()
	if s.check != nil {
		s.check.write(b)
		if s.save != nil {
			s.save(b)
		}
	}
	if s.seq.received == s.count || s.told.due(s.lastAt, s.bytes) {
		s.report()
	}
}

// Fire: nothing has come for a while; what is missing is taken for lost.
func (s *udpSession) Fire(sim.Time) { s.report() }

func (s *udpSession) report() {
	q, n, at := &s.seq, s.bytes, s.lastAt
	received, reordered, duplicated := q.received, q.reordered, q.duplicated
	sum, match := "", false
	over := received == s.count || !s.silence.Armed()
	if s.check != nil && over {
		sum = s.check.sum()
		match = s.check.match(sum)
	}
	s.env.Report.Transfer(s.id, func(st *labv1.TransferStatus) {
		arrived(st, at, n)
		st.DatagramsReceived, st.DatagramsReordered, st.DatagramsDuplicated = received, reordered, duplicated
		countLost(st)
		if over {
			st.Sha256, st.Match = sum, match
			settle(st, labv1.TransferState_TRANSFER_STATE_DONE)
		}
	})
}
