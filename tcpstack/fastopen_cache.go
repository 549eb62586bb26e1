package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// maxFastOpenCache bounds the peers whose cookies a stack remembers: many more than a lab's host talks to. The oldest makes
// room.
const maxFastOpenCache = 4096

// fastOpenState is what a stack's connections share for Fast Open.
type fastOpenState struct {
	ownKey [1]fastOpenKey // where none is configured
	cache  map[fastOpenPeer]*fastOpenEntry
	order  []fastOpenPeer // of entry; [next:] then [:next] once it is full
	next   int

	// What blackHole found: when, and how often in a row.
	disabledAt sim.Time
	disabled   int
}

// fastOpenPeer names a path. RFC 7413 4.1.3: "the client should cache at most one (most recently received) cookie per
// client and server IP address pair": Linux's metrics are kept so.
type fastOpenPeer struct{ local, remote ipAddr }

// fastOpenEntry is what is known of a path. RFC 7413 4.1.3: "The client MUST cache cookies from servers for later Fast
// Open connections. ... When caching cookies, we recommend that the client also cache the Maximum Segment Size (MSS)
// advertised by the server."
type fastOpenEntry struct {
	cookie wire.FastOpen
	mss    uint16 // of the server's last SYN,ACK; 0: not known
	tryExp uint8  // 1: the option was not understood, ask by the experimental one; 2: nor was that
}

func (t *tuple) fastOpenPeer() fastOpenPeer { return fastOpenPeer{t.local, t.remote} }

// learn is the entry of a path, made where there is none.
func (f *fastOpenState) learn(p fastOpenPeer) *fastOpenEntry {
	if e := f.cache[p]; e != nil {
		return e
	}
	if f.cache == nil {
		f.cache = make(map[fastOpenPeer]*fastOpenEntry)
	}
	if len(f.order) < maxFastOpenCache {
		f.order = append(f.order, p)
	} else {
		delete(f.cache, f.order[f.next])
		f.order[f.next] = p
		f.next = (f.next + 1) % maxFastOpenCache
	}
	e := new(fastOpenEntry)
	f.cache[p] = e
	return e
}

// FlushFastOpen forgets all cookies that servers gave, and whatever else is known of the paths to them (ip tcp_metrics
// flush).
func (s *Stack) FlushFastOpen() {
	f := &s.tcp.fastOpen
	clear(f.cache)
	f.order, f.next = f.order[:0], 0
}
