package measure

import (
	"time"

	"golang.org/x/sys/unix"
)

// Stopwatch measures the processor time that this process has used: with one thread that is always busy, as here, it is
// wall time on a quiet machine, and other programs on a busy one do not distort it. A side that waits is not charged for
// waiting.
type Stopwatch struct{ start time.Duration }

// Start starts a stopwatch.
func Start() Stopwatch { return Stopwatch{cpu()} }

// Elapsed is the processor time used since the start.
func (s Stopwatch) Elapsed() time.Duration { return cpu() - s.start }

func cpu() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		panic(err) // the arguments are right: it cannot fail
	}
	return time.Duration(unix.TimevalToNsec(r.Utime) + unix.TimevalToNsec(r.Stime))
}
