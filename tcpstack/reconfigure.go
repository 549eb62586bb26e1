package tcpstack

import (
	"slices"

	"labd.dev/tcpstack/wire"
)

// Reconfigure changes the settings of a running stack: what it sends from now on has the new TTL, neighbours and
// fragments that come have the new timeouts, new connections the new TCP settings, those to listeners that are open
// included; IPv6 begins anew where its switches change. Name, seed, forwarding and the way of checksums stay as they are.
func (s *Stack) Reconfigure(cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	set, err := cfg.TCP.resolve()
	if err != nil {
		return err
	}
	c := &s.cfg
	was := *c
	c.DisableIPv6, c.SLAAC, c.RouterAdvertisements = cfg.DisableIPv6, cfg.SLAAC, cfg.RouterAdvertisements
	c.RAInterval, c.DADTransmits, c.MLD = cfg.RAInterval, cfg.DADTransmits, cfg.MLD
	c.TTL, c.ARPTimeout, c.ARPRetry, c.ReassemblyTimeout, c.TCP = cfg.TTL, cfg.ARPTimeout, cfg.ARPRetry, cfg.ReassemblyTimeout, cfg.TCP
	c.AcceptSourceRoute, c.IgnoreRedirects, c.NoRedirects = cfg.AcceptSourceRoute, cfg.IgnoreRedirects, cfg.NoRedirects
	if c.IgnoreRedirects {
		s.redirects.forgetAll()
	}
	s.tcp.defaults = set
	s.tcp.mem.limit = uint64(set.memoryLimit)
	s.tcp.changes++
	s.gen++
	if c.DisableIPv6 != was.DisableIPv6 || c.SLAAC != was.SLAAC || c.RouterAdvertisements != was.RouterAdvertisements || c.MLD != was.MLD {
		s.restartIPv6()
	}
	return nil
}

// restartIPv6 begins IPv6 anew on all interfaces, or ends it: addresses and neighbours are as after a boot.
func (s *Stack) restartIPv6() {
	for _, i := range s.ifcs {
		i.stopIPv6()
		if !s.cfg.DisableIPv6 {
			i.startIPv6()
		}
	}
	s.listAddrs()
}

// RemoveInterface takes an interface and its address away. Datagrams that wait for a neighbour on it are lost, and
// connections from its address find no way out any more.
func (s *Stack) RemoveInterface(i *Interface) {
	i.forget()
	i.stopIPv6()
	s.redirects.forgetAll()
	s.ifcs = slices.DeleteFunc(s.ifcs, func(o *Interface) bool { return o == i })
	s.listAddrs()
}

// Readdress gives an interface another hardware address, address and MTU; what it knew of its neighbours is forgotten
// with its own address.
func (i *Interface) Readdress(ic InterfaceConfig) {
	if ic.MTU == 0 {
		ic.MTU = DefaultMTU
	}
	if ic.MAC != i.cfg.MAC || ic.Prefix != i.cfg.Prefix {
		i.forget()
	}
	same := ic.MAC == i.cfg.MAC && slices.Equal(ic.Prefixes6, i.cfg.Prefixes6) && (i.six != nil) == (ic.MTU >= wire.IPv6MinMTU)
	i.configure(ic)
	switch {
	case i.stack.cfg.DisableIPv6:
	case !same:
		i.stopIPv6()
		i.startIPv6()
	case i.six != nil:
		i.six.mtu = i.mtu
	}
	i.stack.listAddrs()
}

func (s *Stack) listAddrs() {
	s.addrs = s.addrs[:0]
	for _, i := range s.ifcs {
		if i.addr != 0 {
			s.addrs = append(s.addrs, i.addr)
		}
	}
	s.listAddrs6()
	s.gen++
}

// forget drops all neighbours of the interface.
func (i *Interface) forget() { i.forgetThose(func(*neighbour) bool { return true }) }

// forgetThose drops those neighbours of the interface that which says.
func (i *Interface) forgetThose(which func(*neighbour) bool) {
	s := i.stack
	s.neighbours = slices.DeleteFunc(s.neighbours, func(n *neighbour) bool {
		if n.ifc != i || !which(n) {
			return false
		}
		n.release()
		delete(i.neighbours, n.addr)
		return true
	})
}

// Reconfigure changes the settings of a connection that is open, as setsockopt does: what cfg leaves out stays as it is.
// What the handshake has settled (options, window scales, the initial window) is not undone.
func (c *Conn) Reconfigure(cfg TCPConfig) error {
	set, err := cfg.Merge(c.set.from).resolve()
	if err != nil {
		return err
	}
	was := c.set
	c.set = set
	c.uncork(was)
	if set.md5Key != was.md5Key {
		c.stack.tcp.signs = true
		c.syncMSS()
	}
	if c.state != StateClosed {
		c.putTemplate() // the type of service may have changed
	}
	if err := c.rerouteAsked(was); err != nil {
		return err
	}
	c.tellUTO = c.tellUTO || set.userTimeoutOption && was.userTimeout != set.userTimeout
	if was.cc != set.cc {
		c.changeAlgorithm()
	}
	c.repace()
	if set.recvLowat != was.recvLowat {
		c.growForLowat()
	}
	if was.keepAlive != set.keepAlive || was.keepAliveTime != set.keepAliveTime && set.keepAlive {
		c.watchPeer()
	}
	if set.sndBuf != 0 {
		c.sndBuf = set.sndBuf
	}
	if c.state.transmits() {
		c.transmit()
	}
	return nil
}

// Reconfigure changes what a listener's connections will have, as setsockopt on a listening socket does.
func (l *Listener) Reconfigure(cfg TCPConfig) error {
	merged := cfg.Merge(l.cfg)
	set, err := merged.Merge(l.stack.cfg.TCP).resolve()
	if err != nil {
		return err
	}
	l.cfg, l.set, l.of = merged, set, l.stack.tcp.changes
	l.stack.tcp.signs = l.stack.tcp.signs || set.md5Key != ""
	return nil
}
