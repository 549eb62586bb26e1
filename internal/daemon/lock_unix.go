//go:build unix

package daemon

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes an open file for this process alone, without waiting; held says that another process has it. The lock
// ends with the process, however it ends.
func lockFile(f *os.File) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return errors.Is(err, syscall.EWOULDBLOCK), err
}
