package auth

import (
	"net/netip"
	"sync"
	"time"
)

// Failures are bounded by where they come from, not by whose token is tried alone: who knows the public id of another's token
// could else lock that person out from anywhere. From one address so many wrong tokens are answered as wrong; then all of them
// are answered as locked out, for a minute at first and longer each time. A token that was right from an address before goes
// on working there meanwhile, because behind one address there may be a whole class, and one of it at fault: the others'
// secrets are 160 random bits, which nobody finds by trying. From elsewhere everything works.
const (
	// freeFailures of one token, and freeFromAddress of any, from one address within failureSpan lock nobody out: more than a
	// person mistypes, and than a class behind one address does.
	freeFailures    = 10
	freeFromAddress = 100
	failureSpan     = 10 * time.Minute
	// A lockout lasts firstLockout, then twice as long each time, up to longestLockout.
	firstLockout   = time.Minute
	longestLockout = 16 * time.Minute
	// goodFor is how long a token that was right from an address counts as known there: a day between two lessons, and a
	// weekend.
	goodFor = 72 * time.Hour
	// maxSources bounds what is remembered, of addresses and of tokens at addresses, each: some 100 bytes each. What was
	// heard of last is kept.
	maxSources = 20_000
)

// Lockout counts failures, in memory: a server that has just begun to lead knows of none. Its methods may be called from any
// goroutine.
type Lockout struct {
	mu      sync.Mutex // guards what is below
	sources bounded[netip.Prefix]
	pairs   bounded[pair]
}

// pair is a token as it is shown from an address.
type pair struct {
	from netip.Prefix
	id   string
}

// tries is what is remembered of an address, or of a token from there.
type tries struct {
	failures int
	since    time.Time // of the first of them
	locked   time.Time // until when
	strikes  int       // lockouts in a row
	good     time.Time // when a right one came last
}

// Locked tells for how long wrong tokens from an address are not answered as such; 0: they are. A token that is known there is
// to be looked at all the same.
func (l *Lockout) Locked(from, id string, now time.Time) (wait time.Duration, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	source := sourceOf(from)
	if p := l.pairs.get(pair{source, id}); p != nil {
		wait, known = p.locked.Sub(now), !p.good.IsZero() && now.Sub(p.good) < goodFor
	}
	if s := l.sources.get(source); s != nil {
		wait = max(wait, s.locked.Sub(now))
	}
	return max(wait, 0), known
}

// Failed counts a wrong token from an address; empty: what was shown is no token.
func (l *Lockout) Failed(from, id string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	source := sourceOf(from)
	l.sources.touch(source).fail(freeFromAddress, now)
	if id != "" {
		l.pairs.touch(pair{source, id}).fail(freeFailures, now)
	}
}

// Right notes that a token was right from an address.
func (l *Lockout) Right(from, id string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := pair{sourceOf(from), id}
	if p := l.pairs.get(at); p == nil || now.Sub(p.good) > time.Minute { // at nearly every call it is known already
		l.pairs.touch(at).good = now
	}
}

func (t *tries) fail(free int, now time.Time) {
	if now.Sub(t.since) > failureSpan {
		t.failures, t.since = 0, now
		if now.Sub(t.locked) > failureSpan {
			t.strikes = 0
		}
	}
	if t.failures++; t.failures <= free {
		return
	}
	t.locked = now.Add(min(firstLockout<<min(t.strikes, 8), longestLockout))
	t.failures = 0
	t.strikes++
}

// sourceOf is what an address counts as: of IPv6 the /64, in which one machine may take what address it likes.
func sourceOf(from string) netip.Prefix {
	addr, err := netip.ParseAddr(from)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// bounded remembers maxSources at the least and twice as many at the most: when a generation is full, the one before it is
// forgotten but for what was heard of since.
type bounded[K comparable] struct{ young, old map[K]*tries }

func (b *bounded[K]) get(k K) *tries {
	if t := b.young[k]; t != nil {
		return t
	}
	return b.old[k]
}

func (b *bounded[K]) touch(k K) *tries {
	if t := b.young[k]; t != nil {
		return t
	}
	if b.young == nil || len(b.young) >= maxSources {
		b.young, b.old = make(map[K]*tries), b.young
	}
	t := b.old[k]
	if t == nil {
		t = &tries{}
	}
	b.young[k] = t
	return t
}
