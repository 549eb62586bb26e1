package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ResidentBytes is a process's VmRSS.
func ResidentBytes(pid int) (uint64, error) {
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

// CPUTime is what a process has had of the cores: utime and stime of proc_pid_stat(5).
func CPUTime(pid int) time.Duration {
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

// Spent is what each process has had of the cores, by its name; the clients, which are this process, by "".
func (d *Daemons) Spent() map[string]time.Duration {
	all := map[string]time.Duration{}
	for name, cmd := range d.running {
		all[name] = CPUTime(cmd.Process.Pid)
	}
	var self syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) == nil {
		all[""] = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	}
	return all
}
