package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// residentBytes is a process's VmRSS.
func residentBytes(pid int) (uint64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	if err != nil {
		return 0, err
	}
	var kib uint64
	for line := range strings.Lines(string(b)) {
		if rest, is := strings.CutPrefix(line, "VmRSS:"); is {
			_, err = fmt.Sscan(rest, &kib)
		}
	}
	return kib << 10, err
}

// tick is the unit of times in /proc: USER_HZ, 100 on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is what a process has had of the cores: utime and stime of proc_pid_stat(5).
func cpuTime(pid int) time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return 0 // it has ended
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0
	}
	return time.Duration(user+system) * tick
}

// spent is what each process has had of the cores, by its name; the clients, which are this process, by "".
func (d *daemons) spent() map[string]time.Duration {
	all := map[string]time.Duration{}
	for name, cmd := range d.running {
		all[name] = cpuTime(cmd.Process.Pid)
	}
	var self syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) == nil {
		all[""] = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	}
	return all
}

// tellSpent prints what a write has cost the cores since then, which says more than its rate where others use them as well.
func (d *daemons) tellSpent(since map[string]time.Duration, writes int) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	leader, err := d.leader(ctx)
	if err != nil {
		return err
	}
	by := map[string]time.Duration{}
	var sum time.Duration
	for name, now := range d.spent() {
		role := "followers"
		switch {
		case name == "":
			role = "clients"
		case name == leader:
			role = "leader"
		case strings.HasPrefix(name, "w"):
			role = "workers"
		}
		by[role] += now - since[name]
		sum += now - since[name]
	}
	each := func(t time.Duration) time.Duration { return (t / time.Duration(writes)).Round(time.Microsecond) }
	fmt.Printf("  a write took %v of the cores: leader %v, followers %v, workers %v, clients %v\n", each(sum),
		each(by["leader"]), each(by["followers"]), each(by["workers"]), each(by["clients"]))
	return nil
}
