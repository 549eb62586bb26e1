package app

import (
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// tcpServer accepts connections on a port and reads them: the transfer server, which also replies, and the sink, which
// only takes. Which transfer a connection belongs to is known from the input that opened it; a connection that belongs to
// none is read to its end.
type tcpServer struct {
	env      Env
	name     string
	reader   *labv1.Reader // of connections whose transfer names no reader
	replies  bool
	listener *tcpstack.Listener
	udp      *udpReceiver // of the transfer server
	conns    roster[*transferReceiver]
}

func startTransferServer(env Env, spec *labv1.TransferServerApp) (App, error) {
	port := portOr(spec.GetPort(), TransferPort)
	s := &tcpServer{env: env, name: fmt.Sprintf("transfer :%d", port), reader: spec.GetReader(), replies: true}
	if err := s.listen(port); err != nil {
		return nil, err
	}
	u, err := startUDPReceiver(env, port)
	if err != nil {
		s.Stop()
		return nil, err
	}
	s.udp = u
	return s, nil
}

func startSink(env Env, spec *labv1.SinkApp) (App, error) {
	port := portOr(spec.GetPort(), DiscardPort)
	s := &tcpServer{env: env, name: fmt.Sprintf("sink :%d", port), reader: spec.GetReader()}
	if err := s.listen(port); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *tcpServer) listen(port uint16) (err error) {
	s.listener, err = s.env.Stack.Listen(any4(port), tcpstack.TCPConfig{}, s.accept)
	if err != nil {
		return fmt.Errorf("app: %s: %w", s.name, err)
	}
	return nil
}

func (s *tcpServer) Name() string { return s.name }

// Done: no connection is being read and no datagram transfer is under way.
func (s *tcpServer) Done() bool { return len(s.conns.all) == 0 && (s.udp == nil || s.udp.Done()) }

func (s *tcpServer) Stop() {
	s.listener.Close()
	for _, r := range s.conns.all {
		r.stop()
	}
	s.conns.all = nil
	if s.udp != nil {
		s.udp.Stop()
	}
}

// Crashed reports what was being received: its sender, all of whose bytes may have been acknowledged, may never find out.
func (s *tcpServer) Crashed(node string) {
	for _, r := range s.conns.all {
		if r.spec != nil && !r.complete {
			r.failed(fmt.Sprintf("%s crashed after %d of %d bytes", node, r.check.n, r.check.want.size))
		}
	}
}

func (s *tcpServer) accept(c *tcpstack.Conn) tcpstack.ConnHandler {
	r := &transferReceiver{env: &s.env, server: s}
	r.replyTimer.H = r
	if t := s.env.input(c.Tag()).GetTransfer(); t != nil {
		want, _ := contentOf(s.env.Seed, t, nil) // without a blob nothing can fail
		r.spec, r.check = t, newChecker(want)
		r.save = s.env.sink(t.GetId(), t.GetSave())
	}
	s.conns.add(r)
	return r
}

// transferReceiver is the receiving end of one connection: it reads and checks the content, replies if the transfer asks
// for it, and closes once its peer has.
type transferReceiver struct {
	env    *Env
	server *tcpServer
	place  int // in server.conns

	spec  *labv1.Transfer // nil: a connection of no transfer, read to its end
	check *checker
	save  func([]byte)
	told  progress

	conn       *tcpstack.Conn
	reader     *reader
	writer     *writer // of the reply
	replyTimer sim.Timer
	complete   bool // all of the content has come
	replying   bool // the reply is under way, or waits for its time
	eof        bool
}

func (r *transferReceiver) seat() *int { return &r.place }

func (r *transferReceiver) Established(c *tcpstack.Conn) {
	r.conn = c
	settings := r.server.reader
	if own := r.spec.GetReader(); own != nil {
		settings = own
	}
	r.reader = newReader(r.env, c, settings, r.came, r.peerClosed)
	if r.spec != nil && r.check.complete() {
		r.completed()
	}
}

func (r *transferReceiver) Readable(c *tcpstack.Conn) { r.reader.step() }

func (r *transferReceiver) came(b []byte) {
	if r.spec == nil {
		return
	}
	r.check.write(b)
	if r.save != nil {
		r.save(b)
	}
	now, n := r.env.Loop.Now(), r.check.n
	switch {
	case n > r.check.want.size:
		r.complete = true
		r.failed(fmt.Sprintf("%d bytes came, %d were announced", n, r.check.want.size))
	case r.check.complete():
		r.completed()
	case r.told.due(now, n):
		r.env.Report.Transfer(r.spec.GetId(), func(s *labv1.TransferStatus) { arrived(s, now, n) })
	}
}

// completed: the last byte has been read.
func (r *transferReceiver) completed() {
	r.complete = true
	now, n, sum := r.env.Loop.Now(), r.check.n, r.check.sum()
	match := r.check.match(sum)
	r.env.Report.Transfer(r.spec.GetId(), func(s *labv1.TransferStatus) {
		arrived(s, now, n)
		s.Sha256, s.Match = sum, match
		settle(s, labv1.TransferState_TRANSFER_STATE_DONE)
	})
	if !r.spec.GetShutdownBeforeReply() {
		r.startReply()
	}
}

// peerClosed: the sender's FIN has been read.
func (r *transferReceiver) peerClosed() {
	r.eof = true
	if r.spec != nil && !r.complete {
		r.failed(fmt.Sprintf("the sender closed after %d of %d bytes", r.check.n, r.check.want.size))
	}
	if r.complete && r.spec.GetShutdownBeforeReply() {
		r.startReply()
	}
	if !r.replying {
		r.env.closeConn(r.conn)
	}
}

func (r *transferReceiver) startReply() {
	if !r.server.replies || r.spec.GetReplyBytes() == 0 {
		return
	}
	r.replying = true
	if delay := sim.Time(r.spec.GetReplyDelayNs()); delay > 0 {
		r.env.arm(&r.replyTimer, r.env.Loop.Now()+delay)
		return
	}
	r.Fire(r.env.Loop.Now())
}

// Fire: the time for the reply has come.
func (r *transferReceiver) Fire(sim.Time) {
	r.writer = newWriter(r.env, r.conn, replyOf(r.env.Seed, r.spec), 0, 0, r.replyWritten)
	r.writer.step()
}

func (r *transferReceiver) replyWritten() {
	r.replying = false
	if r.eof {
		r.env.closeConn(r.conn)
	}
}

func (r *transferReceiver) Writable(c *tcpstack.Conn) {
	if r.writer != nil {
		r.writer.step()
	}
}

func (r *transferReceiver) Drained(c *tcpstack.Conn) {}

func (r *transferReceiver) Closed(c *tcpstack.Conn, err error) {
	if r.spec != nil && !r.complete && !r.eof {
		why := "the connection closed"
		if err != nil {
			why = reason(err)
		}
		now, n := r.env.Loop.Now(), r.check.n
		r.env.Report.Transfer(r.spec.GetId(), func(s *labv1.TransferStatus) { arrived(s, now, n) })
		r.failed(fmt.Sprintf("%s after %d of %d bytes", why, n, r.check.want.size))
	}
	r.stop()
	r.server.conns.forget(r)
}

func (r *transferReceiver) failed(why string) {
	r.env.Report.Transfer(r.spec.GetId(), func(s *labv1.TransferStatus) { failResponder(s, why) })
}

func (r *transferReceiver) stop() {
	r.reader.stop()
	r.writer.stop()
	r.env.Loop.Stop(&r.replyTimer)
}
