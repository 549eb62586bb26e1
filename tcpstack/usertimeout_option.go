package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// The user timeout option (RFC 5482): each end tells its user timeout, and who has set none of its own takes the other's.
// Linux has none of it; the switch is userTimeoutOption.

const (
	utoMinutes = 1 << 15 // the granularity bit
	// RFC 5482 3.1, limits to what a peer may ask for. L_LIMIT is RFC 1122 4.2.3.5's least R2; with U_LIMIT an hour, memory is
	// not held for days for a peer that is gone.
	utoLeast = 100 * sim.Second
	utoMost  = 3600 * sim.Second
)

// putUserTimeout sets the option to what the settings say, if they say to tell it.
func (s *settings) putUserTimeout(opt *wire.TCPOptions) {
	if !s.userTimeoutOption || s.userTimeout == 0 || opt.Len()+4 > wire.TCPMaxOptionsLen {
		return
	}
	secs := max(s.userTimeout/sim.Second, 1)
	opt.HasUserTimeout, opt.UserTimeout = true, uint16(secs)
	if secs >= utoMinutes {
		opt.UserTimeout = utoMinutes | uint16(min(secs/60, utoMinutes-1))
	}
}

// tellUserTimeout adds the option to a segment under way that carries n bytes, if there is room.
//
// RFC 5482 3 has the option in the first packet that is no SYN as well, as SYN cookies forget what the SYN said.
func (c *Conn) tellUserTimeout(f *sim.Frame, n int, opt *wire.TCPOptions) {
	var own wire.TCPOptions
	if c.set.putUserTimeout(&own); opt.NSACK > 0 || n+own.Len() > int(c.sndMSS) {
		return
	}
	c.tellUTO = false
	if !own.HasUserTimeout {
		return
	}
	own.Put(f.Append(own.Len()))
	c.tcpHeader(f)[wire.TCPOffDataOffset] += uint8(own.Len()/4) << 4
	opt.HasUserTimeout, opt.UserTimeout = true, own.UserTimeout
}

// heardUserTimeout adopts the peer's user timeout where the application has set none.
//
// RFC 5482 3.1: "USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT))".
func (c *Conn) heardUserTimeout(v uint16) {
	if !c.set.userTimeoutOption || c.set.from.UserTimeout != nil || v&^utoMinutes == 0 {
		return // RFC 5482 3.4: a value of zero is reserved, and passed over
	}
	t := sim.Time(v&^utoMinutes) * sim.Second
	if v&utoMinutes != 0 {
		t *= 60
	}
	t = min(utoMost, max(t, utoLeast))
	if t == c.set.userTimeout {
		return
	}
	set := *c.set // the connection's own from now on
	set.userTimeout = t
	c.set = &set
}
