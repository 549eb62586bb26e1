package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"labd.dev/client"
	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
)

// asLabd in the environment makes the test's binary a labd.
const asLabd = "LABD_TEST_MAIN"

// process is a labd of its own, as a user starts it.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	mark    time.Duration // the lab's, when this labd started; 0: none
	log     bytes.Buffer  // what it has told, read after its end
}

func startProcess(t *testing.T, dir, listen string) *process {
	t.Helper()
	p := &process{t: t, mark: markOf(t, dir), cmd: exec.Command(os.Args[0], "--data-dir", dir, "--listen", listen)}
	p.cmd.Env = append(os.Environ(), asLabd+"=1")
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("labd says %q: %v, %v", line, err, p.end(syscall.SIGKILL))
	}
	p.address = strings.TrimSpace(strings.TrimPrefix(line, "labd listens at "))
	return p
}

func (p *process) end(how syscall.Signal) string {
	if err := p.cmd.Process.Signal(how); err != nil {
		p.t.Error(err)
	}
	err := p.cmd.Wait()
	if how == syscall.SIGTERM && err != nil {
		p.t.Errorf("labd ends with %v", err)
	}
	if p.mark > 0 {
		m := regexp.MustCompile(`msg=recovering lab=pair to=(\S+)`).FindStringSubmatch(p.log.String())
		if m == nil {
			p.t.Fatalf("it does not say that it recovers:\n%s", p.log.String())
		}
		if to, err := time.ParseDuration(m[1]); err != nil || to < p.mark {
			p.t.Errorf("it goes back to %v, the mark is %v, %v", to, p.mark, err)
		}
	}
	return p.log.String()
}

// markOf reads the last mark that a dead labd has left; there is one lab.
func markOf(t *testing.T, dir string) time.Duration {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "worker", "reached"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	marks := regexp.MustCompile(`(?m)^\S+ (\d+) \S+$`).FindAllSubmatch(b, -1)
	if len(marks) == 0 {
		return 0
	}
	ns, err := strconv.ParseInt(string(marks[len(marks)-1][1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ns)
}

// marked waits until the lab's mark has come to a time; how long that takes depends on the disk.
func (p *process) marked(dir string, at time.Duration) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); markOf(p.t, dir) < at; {
		if time.Now().After(deadline) {
			p.t.Fatalf("the lab was at %v, and its mark stays at %v", at, markOf(p.t, dir))
		}
		runtime.Gosched()
	}
}

// loopback is an address of this machine on which only this test listens: labd comes back at the port that it had, which
// on 127.0.0.1 may be another program's by then.
func loopback(t *testing.T) string {
	t.Helper()
	address := fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "127.0.0.1:0" // a system with one loopback address
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// lossy is a lab on the real clock whose links lose, delay and overtake, split over two loops.
func lossy(name string) *labv1.LabSpec {
	way := func() *labv1.DirectionSpec {
		return &labv1.DirectionSpec{RateBps: 40e6, DelayNs: 5e6, Jitter: &labv1.Jitter{AmountNs: 3e5, Reorder: true},
			Loss: &labv1.Loss{Model: &labv1.Loss_Random{Random: 0.005}}}
	}
	link := func(a, b string) *labv1.LinkSpec {
		return &labv1.LinkSpec{A: &labv1.Endpoint{Node: a}, B: &labv1.Endpoint{Node: b}, Forward: way(), Reverse: way()}
	}
	return &labv1.LabSpec{Name: name, Seed: 3, Clock: labv1.Clock_CLOCK_REAL, Placement: &labv1.Placement{Loops: 2},
		Nodes: []*labv1.NodeSpec{{Name: "a"}, {Name: "r", Kind: labv1.NodeKind_NODE_KIND_ROUTER}, {Name: "b"}},
		Links: []*labv1.LinkSpec{link("a", "r"), link("r", "b")}}
}

// Killed in mid-transfer again and again, labd comes back with its lab where it was, the connection open, the transfer
// under way; in the end what arrived is what was sent, and the trace is that of an undisturbed replay of the journal.
func TestKilledInMidTransfer(t *testing.T) {
	const kills = 4
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	p := startProcess(t, dir, loopback(t))
	c, err := client.Dial(p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	applied, err := c.Labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: lossy("pair")})
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 4_000_000)
	for i := range content {
		content[i] = byte(dice.Uint32())
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := client.HashFile(path, "file")
	if err == nil {
		err = c.Upload(ctx, []*client.LocalFile{file})
	}
	if err != nil {
		t.Fatal(err)
	}
	request := &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: "pair",
		Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: "a", To: "b", Save: true,
			Content: &labv1.Transfer_File{File: file.Ref}}}}
	created, err := c.Transfers.CreateTransfer(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	// What is followed is followed over all of it.
	type outcome struct {
		transfer *labv1.TransferStatus
		err      error
	}
	followed := make(chan outcome, 1)
	go func() {
		last, err := c.FollowTransfer(ctx, "pair", created.GetId(), nil)
		followed <- outcome{last, err}
	}()
	for kill := range kills {
		before := runFor(t, c, 150*time.Millisecond+time.Duration(dice.IntN(150))*time.Millisecond)
		how := syscall.SIGKILL
		if kill == kills-1 {
			how = syscall.SIGTERM // told to stop in the middle of things, it forgets nothing
		} else {
			p.marked(dir, time.Duration(before.GetNowNs()))
		}
		if log := p.end(how); strings.Contains(log, "level=ERROR") {
			t.Errorf("before kill %d:\n%s", kill, log)
		}
		p = startProcess(t, dir, p.address)
		if lost := time.Duration(before.GetNowNs()) - p.mark; lost > 0 {
			t.Errorf("kill %d: the lab was at %v, its mark is %v", kill, time.Duration(before.GetNowNs()), p.mark)
		}
		again, err := c.Transfers.CreateTransfer(ctx, request)
		for client.ExitCode(err) == int(client.CodeUnavailable) {
			again, err = c.Transfers.CreateTransfer(ctx, request)
		}
		if err != nil || again.GetStamp().GetTNs() != created.GetStamp().GetTNs() {
			t.Fatalf("the same request after kill %d: %v %v, want %v", kill, again, err, created)
		}
		after := recovered(t, c)
		t.Logf("killed at %v, marked at %v, now at %v", time.Duration(before.GetNowNs()), p.mark, time.Duration(after.GetNowNs()))
		if kill == 1 {
			input(t, c, kill)
		}
	}
	got := <-followed
	if got.err != nil || !got.transfer.GetMatch() || got.transfer.GetSha256() != file.Ref.GetSha256() {
		t.Fatalf("the transfer: %v, %v", got.transfer, got.err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := c.SaveReceived(ctx, "pair", created.GetId(), copied); err != nil {
		t.Fatal(err)
	}
	if sum := sumOf(t, copied); sum != file.Ref.GetSha256() {
		t.Errorf("what was saved has the sum %s", sum)
	}
	t.Log(p.end(syscall.SIGTERM))
	difference, err := worker.Replay(ctx, filepath.Join(dir, "worker", "labs", applied.GetLab().GetId()), 1, filepath.Join(t.TempDir(), "again"))
	if err != nil || difference != nil {
		t.Errorf("an undisturbed replay: %v, %v", difference, err)
	}
}

// runFor lets the lab go on for some of its time and tells where it then is.
func runFor(t *testing.T, c *client.Client, d time.Duration) *labv1.LabProgress {
	t.Helper()
	for from := recovered(t, c).GetNowNs(); ; {
		if now := recovered(t, c); now.GetNowNs() >= from+int64(d) {
			return now
		}
	}
}

// recovered waits until the lab has been rebuilt.
func recovered(t *testing.T, c *client.Client) *labv1.LabProgress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		got, err := c.Labs.GetLab(ctx, &labv1.GetLabRequest{Lab: "pair"})
		if err == nil && got.GetLab().GetState() == labv1.LabState_LAB_STATE_RUNNING {
			return got.GetLab().GetProgress()
		}
	}
	t.Fatal("the lab does not come back")
	return nil
}

// input gives the lab a ping and a fault on the way.
func input(t *testing.T, c *client.Client, kill int) {
	t.Helper()
	_, err := c.Execs.CreateExec(t.Context(), &labv1.CreateExecRequest{RequestId: fmt.Sprint("ping ", kill), Lab: "pair",
		Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: "a", To: "b", Count: 20, IntervalNs: 2e7}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Faults.CreateFault(t.Context(), &labv1.CreateFaultRequest{RequestId: fmt.Sprint("fault ", kill), Lab: "pair",
		Fault: &labv1.Fault{Link: "a--r", DurationNs: 1e8, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}}})
	if err != nil {
		t.Fatal(err)
	}
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
