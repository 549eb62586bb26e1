package app

import (
	"net/netip"

	"labd.dev/tcpstack"
)

// open opens a connection that begins by writing, fast where the lab file names Fast Open for its client side
// (RFC 7413, TCP_FASTOPEN_CONNECT): then, with a cookie of the server at hand, the SYN waits for the first write, which
// the application is to make at once, before the connection is established. Without one the SYN asks for it.
func (e *Env) open(local, remote netip.AddrPort, cfg tcpstack.TCPConfig, h tcpstack.ConnHandler) (c *tcpstack.Conn, now bool, err error) {
	if !e.Stack.FastOpenNamed(cfg) {
		c, err = e.Stack.Dial(local, remote, cfg, h)
		return c, false, err
	}
	if c, err = e.Stack.DialDeferred(local, remote, cfg, h); err != nil {
		return nil, false, err
	}
	return c, c.Deferred(), nil
}
