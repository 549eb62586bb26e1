package main

import "syscall"

// ownGroup keeps the terminal's signals from a process, and ends it should this one be killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
