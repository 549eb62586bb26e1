package app

import (
	"errors"
	"fmt"
	"net/netip"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// transferSender is the sending end of a transfer over TCP: it opens the connection, writes the content, reads the reply
// if there is to be one, and closes as it is told.
type transferSender struct {
	env     Env
	spec    *labv1.Transfer
	what    content
	conn    *tcpstack.Conn
	writer  *writer
	reader  *reader
	reply   *checker
	hold    sim.Timer
	told    progress
	drained bool // all is written and acknowledged
	replied bool // the whole reply has been read
	eof     bool // the peer has sent its FIN
	closing bool // hold is over, or runs: how to close is decided
	finDue  bool // all was written before the connection was established
	broken  bool // a failure has been reported
	ended   bool
}

// StartTransfer opens a transfer from this node. index is the journal index of its input.
func StartTransfer(env Env, index uint32, t *labv1.Transfer) App {
	env.Report.Transfer(t.GetId(), func(s *labv1.TransferStatus) {
		s.Id, s.From, s.To, s.What = t.GetId(), t.GetFrom(), t.GetTo(), whatOf(t)
		s.StartNs, s.BytesExpected = int64(env.Loop.Now()), sizeOf(t)
		settle(s, labv1.TransferState_TRANSFER_STATE_RUNNING)
	})
	what, err := contentOf(env.Seed, t, env.Blob)
	if err != nil {
		return failedTransfer(env, t.GetId(), err)
	}
	remote, err := env.transferServer(t)
	if err != nil {
		return failedTransfer(env, t.GetId(), err)
	}
	if t.GetProtocol() == labv1.Protocol_PROTOCOL_UDP {
		return startUDPTransfer(env, index, t, what, remote)
	}
	a := &transferSender{env: env, spec: t, what: what, reply: newChecker(replyOf(env.Seed, t))}
	a.replied = t.GetReplyBytes() == 0
	a.hold.H = a
	local := netip.AddrPortFrom(netip.Addr{}, uint16(t.GetLocalPort()))
	c, now, err := a.open(local, remote, connConfig(t.GetTcp(), index))
	if err != nil {
		return failedTransfer(env, t.GetId(), err)
	}
	a.conn = c
	env.Report.Transfer(t.GetId(), func(s *labv1.TransferStatus) { s.Conn = connName(&env, c) })
	if now {
		a.write()
	}
	return a
}

// open opens the connection. Who has nothing to write has nothing for a SYN to take along.
func (a *transferSender) open(local, remote netip.AddrPort, cfg tcpstack.TCPConfig) (*tcpstack.Conn, bool, error) {
	if a.what.size == 0 {
		c, err := a.env.Stack.Dial(local, remote, cfg, a)
		return c, false, err
	}
	return a.env.open(local, remote, cfg, a)
}

func whatOf(t *labv1.Transfer) string {
	if f := t.GetFile(); f != nil {
		return "file " + f.GetPath()
	}
	return "generated"
}

func sizeOf(t *labv1.Transfer) uint64 {
	if f := t.GetFile(); f != nil {
		return f.GetSizeBytes()
	}
	return t.GetGeneratedBytes()
}

// transferServer is where a transfer goes.
func (e *Env) transferServer(t *labv1.Transfer) (netip.AddrPort, error) {
	addr, err := e.resolve(t.GetTo(), t.GetFamily())
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := uint16(TransferPort)
	if e.TransferPort != nil {
		port = e.TransferPort(t.GetTo())
	}
	return netip.AddrPortFrom(addr, portOr(t.GetPort(), port)), nil
}

// ended is an application that could not start.
type ended string

func (e ended) Name() string { return string(e) }
func (ended) Done() bool     { return true }
func (ended) Stop()          {}

func failedTransfer(env Env, id string, err error) App {
	env.Report.Transfer(id, func(s *labv1.TransferStatus) { fail(s, reason(err)) })
	return ended("transfer " + id)
}

func (a *transferSender) Name() string { return "transfer " + a.spec.GetId() }

// Done: the connection is gone, or is to be left open and nothing more will happen on it.
func (a *transferSender) Done() bool {
	return a.ended || a.spec.GetClose() == labv1.CloseMode_CLOSE_MODE_NEVER && a.drained && a.replied
}

func (a *transferSender) Stop() {
	a.ended = true
	a.writer.stop()
	a.reader.stop()
	a.env.Loop.Stop(&a.hold)
}

func (a *transferSender) Established(c *tcpstack.Conn) {
	a.conn = c
	a.reader = newReader(&a.env, c, nil, a.replyCame, a.replyEnded)
	switch {
	case a.writer == nil:
		a.write()
	case a.finDue:
		a.shutdown()
	}
}

func (a *transferSender) write() {
	a.writer = newWriter(&a.env, a.conn, a.what, a.spec.GetWriteSizeBytes(), a.spec.GetRateBps(), a.written)
	a.writer.step()
}

// written: the last byte of the content is in the send buffer. Where nothing has to be waited for, the FIN rides along.
func (a *transferSender) written() {
	atOnce := a.graceful() && a.replied && a.spec.GetHoldNs() == 0
	if a.spec.GetShutdownBeforeReply() || atOnce {
		a.shutdown()
	}
	if a.what.size == 0 {
		a.Drained(a.conn)
	}
}

func (a *transferSender) graceful() bool {
	mode := a.spec.GetClose()
	return mode == labv1.CloseMode_CLOSE_MODE_UNSPECIFIED || mode == labv1.CloseMode_CLOSE_MODE_GRACEFUL
}

func (a *transferSender) shutdown() {
	if a.conn.State() == tcpstack.StateSynSent {
		a.finDue = true // RFC 9293 3.10.4: a CLOSE in SYN-SENT would delete the connection
		return
	}
	a.env.record(KindShutdown, a.conn, a.what.size, 0, 0)
	a.conn.CloseWrite()
}

func (a *transferSender) Writable(c *tcpstack.Conn) {
	a.writer.step()
	a.reportSent(false)
}

func (a *transferSender) Drained(c *tcpstack.Conn) {
	if a.writer == nil || !a.writer.finished || a.drained {
		return
	}
	a.drained = true
	a.reportSent(true)
	a.proceed()
}

func (a *transferSender) Readable(c *tcpstack.Conn) {
	if a.reader != nil {
		a.reader.step()
	}
}

func (a *transferSender) replyCame(b []byte) {
	a.reply.write(b)
	if !a.replied && a.reply.complete() {
		a.replied = true
		if !a.reply.match(a.reply.sum()) {
			a.failed(errors.New("the reply differs from what was to be sent"))
		}
		a.proceed()
	}
}

func (a *transferSender) replyEnded() {
	a.eof = true
	if !a.replied {
		a.failed(fmt.Errorf("the peer closed after %d of %d bytes of its reply", a.reply.n, a.reply.want.size))
		a.env.closeConn(a.conn)
		return
	}
	if a.drained && a.closing && !a.hold.Armed() && a.graceful() {
		a.env.closeConn(a.conn)
	}
}

// proceed goes on to the close once all is acknowledged and the reply is here.
func (a *transferSender) proceed() {
	if !a.drained || !a.replied || a.closing {
		return
	}
	a.closing = true
	if hold := sim.Time(a.spec.GetHoldNs()); hold > 0 {
		a.env.arm(&a.hold, a.env.Loop.Now()+hold)
		return
	}
	a.close()
}

// Fire: the time between the end of the exchange and the close is over.
func (a *transferSender) Fire(sim.Time) { a.close() }

func (a *transferSender) close() {
	switch a.spec.GetClose() {
	case labv1.CloseMode_CLOSE_MODE_NEVER:
	case labv1.CloseMode_CLOSE_MODE_ABORT:
		a.env.abortConn(a.conn)
	default:
		if a.eof {
			a.env.closeConn(a.conn)
		} else {
			a.shutdownOnce()
		}
	}
}

// shutdownOnce sends the FIN unless it has been sent along with the content.
func (a *transferSender) shutdownOnce() {
	if s := a.conn.State(); s == tcpstack.StateEstablished || s == tcpstack.StateCloseWait {
		a.shutdown()
	}
}

// Closed ends the application. Its own abort is no failure.
func (a *transferSender) Closed(c *tcpstack.Conn, err error) {
	a.conn = c
	a.reportSent(true)
	aborted := errors.Is(err, tcpstack.ErrAborted) && a.closing
	switch {
	case err != nil && !aborted:
		a.failed(err)
	case err == nil && !a.drained:
		a.failed(errors.New("the connection closed before all was acknowledged"))
	case err == nil && a.spec.GetReplyBytes() == 0:
		a.unclaimed()
	case a.what.size == 0:
		a.emptied()
	}
	a.Stop()
}

// Unclaimed is the error of a transfer whose bytes were taken by what is no receiver of transfers. Where the receiver is in
// another shard of the lab than the sender, the sender's half says so of every transfer.
const Unclaimed = "no transfer server has received it"

// unclaimed ends a transfer whose other end has taken the bytes and closed without being a transfer's receiver: another
// service, or, in a simultaneous open, another sender. A receiver has reported before it closed. (Who replies as it should
// has received.)
func (a *transferSender) unclaimed() {
	a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) {
		if s.State == labv1.TransferState_TRANSFER_STATE_RUNNING {
			fail(s, Unclaimed)
		}
	})
}

// emptied ends a transfer of nothing that was aborted: the reset may have met a receiver that did not yet know of the
// connection, but all that was to arrive has.
func (a *transferSender) emptied() {
	sum := newChecker(a.what).sum()
	a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) {
		s.Sha256, s.Match = sum, true
		settle(s, labv1.TransferState_TRANSFER_STATE_DONE)
	})
}

// failed reports the first failure; what follows from it is none of its own.
func (a *transferSender) failed(err error) {
	if a.broken {
		return
	}
	a.broken = true
	a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) { fail(s, reason(err)) })
}

// reportSent tells what the connection knows, now and then while it runs.
func (a *transferSender) reportSent(last bool) {
	if a.writer == nil || !last && !a.told.due(a.env.Loop.Now(), a.writer.src.pos) {
		return
	}
	info := a.conn.Info()
	a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) { sent(s, info) })
}
