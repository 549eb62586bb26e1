package packetdrill

import (
	"net/netip"

	"labd.dev/tcpstack"
)

// datagram is what a socket of UDP has more.
type datagram struct {
	s      *socket
	udp    *tcpstack.UDPSocket
	remote netip.AddrPort // connected to; zero: not connected
	queue  []int          // lengths of the datagrams that have come
	bytes  int
}

// maxDatagramBytes bounds what waits to be received (net.core.rmem_default).
const maxDatagramBytes = 212992

// open takes the port that the socket is bound to.
func (d *datagram) open() Errno {
	u, err := d.s.m.h.stack.OpenUDP(d.s.local, d.arrived)
	if err != nil {
		return errnoOf(err)
	}
	d.udp = u
	d.s.local = netip.AddrPortFrom(d.s.local.Addr(), u.LocalAddr().Port())
	u.OnError(d.failed)
	return 0
}

// autobind takes an ephemeral port where the socket has none.
func (d *datagram) autobind() Errno {
	if d.udp != nil {
		return 0
	}
	d.s.local = netip.AddrPortFrom(netip.Addr{}, 0)
	return d.open()
}

func (d *datagram) arrived(g tcpstack.Datagram) {
	if d.remote.IsValid() && g.From != d.remote || d.bytes+len(g.Data) > maxDatagramBytes {
		return
	}
	d.queue = append(d.queue, len(g.Data))
	d.bytes += len(g.Data)
	d.s.change(readableBits)
}

// failed takes an ICMP error: a connected socket hears of hard ones (udp_err), with IP_RECVERR of all.
func (d *datagram) failed(e tcpstack.ICMPError) {
	errno, hard := icmpErrno(e)
	if d.s.opts.recverr {
		d.s.errors.push(queuedError{control: []control{d.s.icmpControl(e, errno)}})
		d.s.err = errno
	} else if d.remote.IsValid() && hard {
		d.s.err = errno
	}
	d.s.change(epollErr)
}

// connect fixes the peer; it sends nothing.
func (d *datagram) connect(to netip.AddrPort, unspec bool) Errno {
	if unspec {
		d.remote = netip.AddrPort{}
		return 0
	}
	if e := d.autobind(); e != 0 {
		return e
	}
	d.remote = to
	d.s.tell(socketConnecting, to)
	return 0
}

// send sends one datagram.
func (d *datagram) send(g *sending) (int64, Errno) {
	if e := d.s.takeError(); e != 0 {
		return -1, e
	}
	to := g.to
	if !to.IsValid() {
		to = d.remote
	}
	switch {
	case !to.IsValid():
		return -1, EDESTADDRREQ
	case d.s.shut&shutWrite != 0:
		return -1, EPIPE
	case g.want > tcpstack.MaxUDPPayload:
		return -1, EMSGSIZE
	}
	if e := d.autobind(); e != 0 {
		return -1, e
	}
	if !d.remote.IsValid() {
		d.s.tell(socketConnecting, to)
	}
	o := tcpstack.SendOptions{TTL: uint8(d.s.opts.ttl), DF: d.s.opts.pmtudisc >= pmtudiscDo}
	if err := d.udp.SendTo(zeros[:g.want], to, o); err != nil {
		return -1, errnoOf(err)
	}
	return g.want, 0
}

// receive takes one datagram; what does not fit is lost.
func (d *datagram) receive(r *receiving) (int64, Errno, bool) {
	if r.flags&msgErrqueue != 0 {
		v, e := d.s.receiveError(r)
		return v, e, true
	}
	if e := d.s.takeError(); e != 0 {
		return -1, e, true
	}
	if len(d.queue) == 0 {
		switch {
		case d.s.shut&shutRead != 0:
			return 0, 0, true
		case !d.s.waits(r.flags):
			return -1, EAGAIN, true
		}
		return 0, 0, false
	}
	n := int64(d.queue[0])
	if r.flags&msgPeek == 0 {
		d.queue, d.bytes = d.queue[1:], d.bytes-d.queue[0]
	}
	if n > r.want {
		if r.message != nil {
			r.message.flags |= msgTrunc
		}
		if r.flags&msgTrunc == 0 {
			n = r.want
		}
	}
	return n, 0, true
}

func (d *datagram) close() {
	if d.udp != nil {
		d.udp.Close()
	}
}
