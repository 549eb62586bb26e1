//go:build linux || darwin

package worker

import "syscall"

// diskFree is the free space where a directory lies; 0: not known.
func diskFree(dir string) uint64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0
	}
	return fs.Bavail * uint64(fs.Bsize)
}
