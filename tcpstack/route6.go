package tcpstack

// route6 is what a route has more over IPv6.
type route6 struct {
	src, dst ipAddr // own address and the peer's
	hopLimit uint8  // what the outgoing interface's router has advertised; 0: the stack's
}

// hopLimit is the hop limit of datagrams on an IPv6 route.
func (s *Stack) hopLimit(rt *route) uint8 {
	if rt.six.hopLimit != 0 {
		return rt.six.hopLimit
	}
	return s.cfg.TTL
}
