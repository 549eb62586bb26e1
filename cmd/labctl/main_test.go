package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"labd.dev/client"
	"labd.dev/internal/daemon"
	"labd.dev/internal/port"
	"labd.dev/internal/tlsfiles"

	labv1 "labd.dev/proto/lab/v1"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"labctl": main})
}

// A script each for the bad inputs and for the verbs.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLES", examples)
			// Where nobody listens: port 1 of loopback is taken on no machine that tests run on.
			env.Setenv("LABD_SERVER", "127.0.0.1:1")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"labd":      startLabd,
			"school":    startSchool,
			"mode":      wantMode,
			"worker":    startWorker,
			"servers":   startServers,
			"bigfile":   bigFile,
			"nested":    nested,
			"waitfor":   waitFor,
			"until":     untilOutput,
			"completes": completes,
			"expand":    expandFile,
			"tmpfs":     mountSmall,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "tmpfs" {
				return canMount(), nil
			}
			path, ok := strings.CutPrefix(cond, "exists:")
			if !ok {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			_, err := os.Stat(path)
			return err == nil, nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
	})
}

// startLabd starts a labd on a free port and points $LABD_SERVER at it.
func startLabd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: labd")
	}
	d, err := daemon.Start(daemon.Config{DataDir: ts.MkAbs("labd-data"), Listen: "127.0.0.1:0"})
	ts.Check(err)
	ts.Defer(func() { ts.Check(d.Stop(context.Background())) })
	ts.Setenv("LABD_SERVER", d.Addr())
}

// startSchool starts a labd that asks who calls, and waits for its administrator's token: school FILE.
func startSchool(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: school FILE")
	}
	d, err := daemon.Start(daemon.Config{DataDir: ts.MkAbs("labd-data"), Listen: "127.0.0.1:0",
		Identity: daemon.IdentityConfig{Auth: daemon.AuthOn, TokenFile: ts.MkAbs(args[0])}})
	ts.Check(err)
	ts.Defer(func() { ts.Check(d.Stop(context.Background())) })
	ts.Setenv("LABD_SERVER", d.Addr())
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no administrator was made")
		}
	}
}

// wantMode checks a file's permissions, where files have some: mode 600 FILE.
func wantMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode MODE FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] && runtime.GOOS != "windows" {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

// startWorker starts a worker for the labd at $LABD_SERVER and waits until it has registered: worker NAME.
func startWorker(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: worker NAME")
	}
	w, err := daemon.StartWorker(daemon.WorkerConfig{Name: args[0], Listen: "127.0.0.1:0", Servers: []string{ts.Getenv("LABD_SERVER")}})
	ts.Check(err)
	ts.Defer(func() { ts.Check(w.Stop(context.Background())) })
	c, err := client.Dial(ts.Getenv("LABD_SERVER"))
	ts.Check(err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	found := errors.New("registered")
	err = c.FollowWorkers(ctx, func(m *labv1.WatchWorkersResponse) error {
		for _, w := range m.GetWorkers() {
			if w.GetName() == args[0] && w.GetState() == labv1.WorkerState_WORKER_STATE_UP {
				return found
			}
		}
		return nil
	})
	if !errors.Is(err, found) {
		ts.Fatalf("worker %s did not register: %v", args[0], err)
	}
}

// startServers starts a cluster of three servers: servers [DIR]. $S1 to $S3 are their addresses, and $LABD_SERVER is all of
// them. With a directory they have its certificates.
func startServers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: servers [DIR]")
	}
	var security port.Security
	if len(args) == 1 {
		file := func(name string) string { return filepath.Join(ts.MkAbs(args[0]), name) }
		source, err := tlsfiles.Open(tlsfiles.Files{CA: file("ca.crt"), Cert: file("labd.crt"), Key: file("labd.key")}, nil)
		ts.Check(err)
		security = source
	}
	var all []string
	var last *daemon.Daemon
	for i := range 3 {
		d, err := daemon.Start(daemon.Config{DataDir: ts.MkAbs(fmt.Sprintf("server%d", i+1)), Listen: "127.0.0.1:0", NoWorker: true,
			Security: security, Cluster: &daemon.ClusterConfig{Expect: 3, Join: all}})
		ts.Check(err)
		ts.Defer(func() { ts.Check(d.Stop(context.Background())) })
		all, last = append(all, d.Addr()), d
		ts.Setenv(fmt.Sprintf("S%d", i+1), d.Addr())
	}
	ts.Setenv("LABD_SERVER", strings.Join(all, ","))
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		h, err := last.Client().Cluster.GetHealth(context.Background(), &labv1.GetHealthRequest{})
		if err == nil && h.GetWritable() {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the servers found no cluster: %v %v", h, err)
		}
	}
}

// bigFile makes a file of so many MB: bigfile FILE MB.
func bigFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: bigfile FILE MB")
	}
	mb, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), nil, 0o644))
	ts.Check(os.Truncate(ts.MkAbs(args[0]), mb*1e6))
}

// nested makes a file of YAML lists that lie so deep in each other: nested FILE DEPTH.
func nested(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nested FILE DEPTH")
	}
	depth, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := []byte("name: ")
	for range depth {
		b = append(b, '[')
	}
	for range depth {
		b = append(b, ']')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(b, '\n'), 0o644))
}

// waitFor waits until a directory is there, or a file and not empty, which another process makes.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor FILE")
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && (info.IsDir() || info.Size() > 0) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s did not appear", args[0])
		}
	}
}

// A lab that replays its journal says how far it is and how fast.
func TestRecoveringLab(t *testing.T) {
	lab := &labv1.Lab{State: labv1.LabState_LAB_STATE_RECOVERING,
		Progress: &labv1.LabProgress{Recovering: true, NowNs: 6_200_000_000, RecoverToNs: 10_000_000_000, RecoverSpeed: 41.2}}
	if got := labStateText(lab); got != "recovering 62% at 41x" {
		t.Errorf("%q", got)
	}
}
