package daemon

import (
	"container/list"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"labd.dev/internal/auth"
	"labd.dev/orchestrator"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// callsPerSecond is how many calls one person may go on making: twenty terminals that ask five times a second each. A
	// call takes some 100 us of a core, one that changes something a millisecond: nobody takes more than a tenth of a core.
	callsPerSecond = 100
	// callsAtOnce is how many may come in one go: an instructor's loop over a course of 500.
	callsAtOnce = 500
	// maxRated bounds the people, and the addresses, whose calls are counted, some 200 bytes each. Who has called longest ago
	// is forgotten and may call as if anew, which takes as many others as this to bring about.
	maxRated = 20_000
)

// rates bounds how often one person calls, and one address where a call asks nobody who they are. Each server counts what it
// answers itself. Daemons are not bounded, nor is whoever is on the machine of a labd that asks nobody.
type rates struct {
	now       func() time.Time
	people    buckets[string]
	addresses buckets[netip.Prefix]
}

func newRates(now func() time.Time) *rates { return &rates{now: now} }

// take counts a call of whoever calls, or refuses it.
func (r *rates) take(caller auth.Caller) error {
	if !caller.Identified() {
		return nil
	}
	return tooMany(r.people.take(caller.Person, r.now()), caller.Person)
}

// takeAnyone counts a call from an address that is asked for nothing.
func (r *rates) takeAnyone(from string) error {
	if ip, err := netip.ParseAddr(from); err != nil || ip.Unmap().IsLoopback() {
		return nil // this process, or this machine
	}
	return tooMany(r.addresses.take(sourceOf(from), r.now()), from)
}

func tooMany(wait time.Duration, who string) error {
	if wait == 0 {
		return nil
	}
	return &orchestrator.Refusal{Reason: labv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS, RetryAfter: wait,
		Message: fmt.Sprintf("%s makes more than %d calls a second: wait %v", who, callsPerSecond, wait.Round(time.Millisecond))}
}

// buckets are token buckets of those who called last. The zero value is ready.
type buckets[K comparable] struct {
	mu    sync.Mutex // guards what is below
	of    map[K]*list.Element
	order list.List // of *bucket[K], who called longest ago first
}

type bucket[K comparable] struct {
	key     K
	limiter *rate.Limiter
}

// take takes a token, or tells for how long there will be none.
func (b *buckets[K]) take(key K, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = make(map[K]*list.Element)
	}
	e := b.of[key]
	if e == nil {
		if len(b.of) >= maxRated {
			oldest := b.order.Remove(b.order.Front()).(*bucket[K])
			delete(b.of, oldest.key)
		}
		e = b.order.PushBack(&bucket[K]{key: key, limiter: rate.NewLimiter(callsPerSecond, callsAtOnce)})
		b.of[key] = e
	}
	b.order.MoveToBack(e)
	l := e.Value.(*bucket[K]).limiter
	if l.AllowN(now, 1) {
		return 0
	}
	return max(time.Duration((1-l.TokensAt(now))/callsPerSecond*float64(time.Second)), time.Millisecond)
}
