// Package measure holds what both sides of the comparison share: the conditions, the workloads' shape and the numbers.
package measure

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// The conditions, the same for every side.
const (
	MTU      = 1500                  // bytes of an IP packet; no segmentation or receive offload joins packets
	Buffer   = 4 << 20               // bytes of each send and each receive buffer
	Block    = 64 << 10              // bytes that the applications write and read at a time
	Pairs    = 10000                 // idle connections whose memory is measured, unless others are asked for
	PerPort  = 10000                 // of these, so many go to each port of the server: a client has only 28,000 ports
	TimeWait = 10 * time.Millisecond // short, or the client would run out of ports
)

// Side is one stack under measurement.
type Side interface {
	Name() string
	// Goodput sends over conns connections for dur and tells what arrived.
	Goodput(conns int, dur time.Duration) (Flow, error)
	// Connections opens, uses and closes connections for dur, parallel at a time.
	Connections(parallel int, dur time.Duration) (Flow, error)
	// IdlePairs tells the bytes of heap that an idle established connection takes, both ends together.
	IdlePairs(n int) (float64, error)
}

// Flow is what one measurement counted.
type Flow struct {
	Bytes   uint64        // payload that the receiving applications read
	Packets uint64        // IP packets handed over, both ways
	Conns   uint64        // connections opened, used and closed
	Elapsed time.Duration // processor time, see Stopwatch
}

// GoodputBps is payload bits a second.
func (f Flow) GoodputBps() float64 { return 8 * float64(f.Bytes) / f.Elapsed.Seconds() }

// PacketsPerSecond counts both directions.
func (f Flow) PacketsPerSecond() float64 { return float64(f.Packets) / f.Elapsed.Seconds() }

// ConnsPerSecond counts connections.
func (f Flow) ConnsPerSecond() float64 { return float64(f.Conns) / f.Elapsed.Seconds() }

// WarmUp is how long a workload runs before its measurement of dur begins. Goodput also waits until WarmBytes of each
// connection have arrived: a thousand senders first fill their buffers.
func WarmUp(dur time.Duration) time.Duration { return dur / 4 }

// WarmBytes have been read of each connection, on average, before goodput is measured.
const WarmBytes = Block

// Count is a counter that many goroutines may add to.
type Count struct{ n atomic.Uint64 }

// Add adds n.
func (c *Count) Add(n int) { c.n.Add(uint64(n)) }

// Load reads the counter.
func (c *Count) Load() uint64 { return c.n.Load() }

// Heap is the bytes of live heap objects, after two collections: the first one moves what pools hold to their victim
// caches, the second frees it.
func Heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Median is the middle value; values is sorted.
func Median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
