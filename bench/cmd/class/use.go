package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"labd.dev/bench/cluster"
)

// use is what a cluster takes of its machine.
type use struct {
	cpu              time.Duration // of all servers and workers that live
	servers, workers uint64        // resident bytes of all of them
	disk             uint64        // bytes of the workers' files; servers allocate their log ahead, which says nothing
}

func measureUse(d *cluster.Daemons) (u use, err error) {
	for name, spent := range d.Spent() {
		if name == "" {
			continue // the students
		}
		u.cpu += spent
		resident, err := cluster.ResidentBytes(d.Pid(name))
		if err != nil {
			return u, err
		}
		if strings.HasPrefix(name, "w") {
			u.workers += resident
			u.disk += bytesUnder(filepath.Join(d.Dir, name))
		} else {
			u.servers += resident
		}
	}
	return u, nil
}

// bytesUnder is how much files have; what goes away meanwhile has nothing.
func bytesUnder(dir string) (sum uint64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sum += uint64(info.Size())
		}
		return nil
	})
	return sum
}

// tell prints what a student's lab has taken since.
func (u use) tell(since use, labs int) {
	each := func(now, before uint64) uint64 { return (max(now, before) - before) / uint64(labs) >> 10 }
	fmt.Printf("  a lab: %v of the cores, all told; memory: %d KiB of workers, %d KiB of the three servers; disk: %d KiB of workers\n",
		((u.cpu - since.cpu) / time.Duration(labs)).Round(time.Millisecond), each(u.workers, since.workers), each(u.servers, since.servers),
		each(u.disk, since.disk))
}
