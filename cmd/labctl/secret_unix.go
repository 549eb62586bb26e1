//go:build unix

package main

import (
	"fmt"
	"os"
)

// checkSecret refuses a file with a token that anybody but its owner can read or write.
func checkSecret(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return &usageError{fmt.Sprintf("%s has a token and can be read by others (mode %04o): chmod 600 %s", path, mode.Perm(), path)}
	}
	return nil
}
