package worker

import "golang.org/x/sys/unix"

const (
	// driverSlice is the time, in ns, that the kernel is asked to give a driver's thread at a time: one that asks for less than
	// others is let run as soon as it wakes (sched_setattr(2), sched_runtime of a normal thread; EEVDF since Linux 6.12). That
	// takes no privilege. It is the least there is.
	driverSlice = 100_000
	// backgroundNice is the nice value of the background's threads: beside a driver, some tenth of its weight. More would starve
	// them where other processes fill the cores, with what they hold of the Go runtime.
	backgroundNice = 10
)

// preferThread has the kernel let the calling thread run as soon as it wakes. Where it refuses, only that is lost.
func preferThread() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = driverSlice
	_ = unix.SchedSetAttr(0, attr, 0)
}

// yieldThread has the kernel let the calling thread run after others; for good, as going back would take a privilege.
func yieldThread() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return
	}
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: max(attr.Nice, backgroundNice)}, 0)
}
