//go:build !linux

package worker

// preferThread and yieldThread do nothing: there is no portable word for a thread's priority.
func preferThread() {}
func yieldThread()  {}
