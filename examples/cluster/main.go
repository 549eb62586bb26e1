// Cluster shows that a cluster survives, and that nobody can tell from the results: three servers and three workers, each a
// process of its own, run one lab split over the workers. On the way the server that leads and one of the workers are
// killed with SIGKILL. Then one process runs the same experiment, and the two run directories are compared, byte for byte.
//
//	go run ./examples/cluster
//
// With -programs DIR the labd and labctl there are taken; else they are built. It leaves nothing behind, however it ends. The exit code is 1 when something differs or fails, 130 after Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

const (
	// limit ends a show that hangs; on an idle machine it takes half a minute.
	limit = 5 * time.Minute
	// exitInterrupted is the exit code of a program that SIGINT ended.
	exitInterrupted = 130
)

func main() {
	// What is started dies with the thread that started it (PR_SET_PDEATHSIG): that is to be the process's first.
	runtime.LockOSThread()
	programs := flag.String("programs", "", "directory with labd and labctl; without it they are built from the sources")
	flag.Parse()
	os.Exit(run(*programs))
}

// run shows everything and cleans up after it.
func run(programs string) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	timed, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes more than %v", limit))
	defer cancel()
	s, err := newShow(timed, programs)
	if err == nil {
		defer func() {
			if err := s.close(); err != nil {
				fmt.Fprintln(os.Stderr, "cluster: cleaning up:", err)
				code = 1
			}
		}()
		err = s.play()
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "interrupted; cleaning up")
		return exitInterrupted
	}
	if cause := context.Cause(timed); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	fmt.Fprintln(os.Stderr, "cluster:", err)
	if s != nil {
		s.logs(os.Stderr)
	}
	return 1
}
