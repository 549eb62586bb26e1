package journal

import (
	"errors"
	"os"
	"syscall"
)

// keepSize is fallocate(2)'s FALLOC_FL_KEEP_SIZE: blocks are allocated beyond the file's end, and its size stays.
const keepSize = 1

// allocate sees to it that n bytes can be written at an offset. File systems that cannot say are taken to have room.
func allocate(f *os.File, off, n int64) error {
	err := syscall.Fallocate(int(f.Fd()), keepSize, off, n)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("fallocate", err)
}
