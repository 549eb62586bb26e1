//go:build !linux

package main

import "syscall"

// ownGroup asks for nothing: groups and signals differ from system to system.
func ownGroup() *syscall.SysProcAttr { return nil }
