package cluster

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
)

// Whatever is measured is over when it is interrupted: no process and no file of it stays behind.

// started are the processes that this one has started.
var started struct {
	mu  sync.Mutex // guards all below
	all []*exec.Cmd
}

// StartProcess starts a process that ends with this one.
func StartProcess(cmd *exec.Cmd) error {
	started.mu.Lock()
	defer started.mu.Unlock()
	err := cmd.Start()
	if err == nil {
		started.all = append(started.all, cmd)
	}
	return err
}

// Place makes a directory for everything that is written, and gives how it goes again. It goes as well when the process is
// told to end.
func Place() (leave func(), err error) {
	root, err := os.MkdirTemp("", "cluster-")
	if err != nil {
		return nil, err
	}
	leave = func() { _ = os.RemoveAll(root) }
	if err := os.Setenv("TMPDIR", root); err != nil {
		leave()
		return nil, err
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-told
		started.mu.Lock() // for good: no more are started
		for _, cmd := range started.all {
			_ = cmd.Process.Kill() // it may have ended
			_, _ = cmd.Process.Wait()
		}
		leave()
		os.Exit(130)
	}()
	return leave, nil
}
