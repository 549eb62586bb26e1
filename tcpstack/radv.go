package tcpstack

import (
	"net/netip"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// A router's side of router discovery (RFC 4861 6.2).

const (
	minRAInterval = 4 * sim.Second // 6.2.1: MaxRtrAdvInterval "MUST be no less than 4 seconds"
	// RFC 4861 10's MAX_INITIAL_RTR_ADVERT_INTERVAL, MAX_INITIAL_RTR_ADVERTISEMENTS, MIN_DELAY_BETWEEN_RAS and
	// MAX_RA_DELAY_TIME.
	initialRAInterval = 16 * sim.Second
	initialRAs        = 3
	minDelayOfRAs     = 3 * sim.Second
	maxRADelay        = 500 * sim.Millisecond
	// 6.2.1's defaults of AdvValidLifetime and AdvPreferredLifetime: 30 and 7 days.
	raValid     = 30 * 24 * time.Hour
	raPreferred = 7 * 24 * time.Hour
)

// advertiser sends a router's advertisements on a link.
type advertiser struct {
	x     *interface6
	sent  int
	last  sim.Time // when the last was sent
	timer sim.Timer
}

func newAdvertiser(x *interface6) *advertiser {
	a := &advertiser{x: x}
	a.timer.H = a
	s := x.ifc.stack
	s.loop.Arm(&a.timer, &s.id.Src, s.loop.Now()+1+s.six.delay(maxRADelay))
	return a
}

// Fire sends an advertisement to all nodes. 6.2.4: the interval until the next is "a uniformly distributed random value
// between the interface's configured MinRtrAdvInterval and MaxRtrAdvInterval", and at most 16 s for the first few.
func (a *advertiser) Fire(now sim.Time) {
	s := a.x.ifc.stack
	a.send()
	a.sent++
	a.last = now
	longest := s.cfg.RAInterval
	least := max(longest/3, minDelayOfRAs) // MinRtrAdvInterval's default: 0.33 * MaxRtrAdvInterval
	wait := least + s.six.delay(longest-least+1)
	if a.sent < initialRAs {
		wait = min(wait, initialRAInterval)
	}
	s.loop.Arm(&a.timer, &s.id.Src, now+wait)
}

func (a *advertiser) send() {
	i := a.x.ifc
	s := i.stack
	src, ok := a.x.linkLocal()
	if !ok {
		return
	}
	ra := wire.RouterAdvert{HopLimit: s.cfg.TTL, Lifetime: time.Duration(3 * s.cfg.RAInterval).Truncate(time.Second)}
	ra.Lifetime = min(ra.Lifetime, 9000*time.Second) // 6.2.1: AdvDefaultLifetime's most
	o := &ra.Options
	o.HasSource, o.SourceMAC, o.MTU = true, i.cfg.MAC, uint32(i.mtu)
	for _, own := range a.x.addrs {
		if own.addr.isLinkLocal() || o.NPrefixes == wire.MaxNDPPrefixes {
			continue
		}
		o.Prefixes[o.NPrefixes] = wire.PrefixInfo{Prefix: netip.PrefixFrom(own.addr.masked(own.bits).netip(), own.bits),
			OnLink: true, Auto: own.bits == 64, Valid: raValid, Preferred: raPreferred}
		o.NPrefixes++
	}
	s.count[cNDPRouterAdvertsSent]++
	i.sendND(src, allNodes, groupMAC(allNodes), wire.RouterAdvertLen+o.Len(), func(b []byte) { ra.Put(b) })
}

// routerSolicitation is RFC 4861 6.2.6: "Router Advertisements sent in response to a Router Solicitation MUST be
// delayed by a random time between 0 and MAX_RA_DELAY_TIME seconds." "If the router sent a multicast Router
// Advertisement ... within the last MIN_DELAY_BETWEEN_RAS seconds, schedule the advertisement to be sent at a time
// corresponding to MIN_DELAY_BETWEEN_RAS plus the random value after the previous advertisement was sent."
func (m *ndpMessage) routerSolicitation() bool {
	o, err := wire.ParseRouterSolicit(m.b)
	if err != nil || m.src.isZero() && o.HasSource {
		return false
	}
	i, s := m.ifc, m.ifc.stack
	s.count[cNDPRouterSolicitsReceived]++
	a := i.six.router
	if a == nil {
		return true
	}
	if !m.src.isZero() {
		i.heardFrom(m.src, &o)
	}
	now := s.loop.Now()
	at := now + 1 + s.six.delay(maxRADelay)
	if a.sent > 0 && now-a.last < minDelayOfRAs {
		at += a.last + minDelayOfRAs - now
	}
	if at < a.timer.At() {
		s.loop.Arm(&a.timer, &s.id.Src, at)
	}
	return true
}
