package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"labd.dev/client"
	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
)

func TestMain(m *testing.M) {
	// Tests with workers wait for leases to run out far more than they compute: all go at once, however few the cores are.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// start brings up a labd that ends with the test.
func start(t *testing.T, conf Config) *Daemon {
	t.Helper()
	d, err := Start(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, d) })
	return d
}

// stop ends a labd; a second time it does nothing.
func stop(t *testing.T, d *Daemon) {
	t.Helper()
	if d.data == nil {
		return
	}
	if err := d.Stop(context.Background()); err != nil {
		t.Errorf("stop: %v", err)
	}
	d.data = nil
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !happened(); {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		time.Sleep(20 * time.Millisecond) // a person makes 100 calls a second at most
	}
}

// twoHosts is a - b over 10 ms at 10 Mbit/s.
func twoHosts(name string, clock labv1.Clock) *labv1.LabSpec {
	link := func() *labv1.DirectionSpec { return &labv1.DirectionSpec{RateBps: 10_000_000, DelayNs: 10_000_000} }
	return &labv1.LabSpec{Name: name, Seed: 1, Clock: clock,
		Nodes: []*labv1.NodeSpec{{Name: "a"}, {Name: "b"}},
		Links: []*labv1.LinkSpec{{A: &labv1.Endpoint{Node: "a", Interface: "eth0"}, B: &labv1.Endpoint{Node: "b", Interface: "eth0"},
			Forward: link(), Reverse: link()}}}
}

func apply(t *testing.T, c *client.Client, spec *labv1.LabSpec) *labv1.ApplyLabResponse {
	t.Helper()
	resp, err := c.Labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func localFile(t *testing.T, size int) (*client.LocalFile, []byte) {
	t.Helper()
	content := bytes.Repeat([]byte("labd moves real bytes. "), size/23+1)[:size]
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := client.HashFile(path, "file")
	if err != nil {
		t.Fatal(err)
	}
	return f, content
}

// watchTransfer follows a transfer to its end.
func watchTransfer(t *testing.T, c *client.Client, lab, id string) *labv1.TransferStatus {
	t.Helper()
	watch, err := c.Transfers.WatchTransfer(t.Context(), &labv1.WatchTransferRequest{Lab: lab, Transfer: id})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if tr := m.GetTransfer(); tr.GetEnded() || tr.GetState() == labv1.TransferState_TRANSFER_STATE_FAILED {
			return tr
		}
	}
}

// A file goes in at one end of a standing lab and comes out at the other, over the port, while a link is slow.
func TestFileThroughStandingLab(t *testing.T) {
	d := start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	c, err := client.Dial(d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if resp := apply(t, c, twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL)); resp.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_CREATED {
		t.Fatalf("apply: %v", resp)
	}
	if resp := apply(t, c, twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL)); resp.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_UNCHANGED {
		t.Fatalf("apply of the same: %v", resp)
	}
	file, content := localFile(t, 300_000)
	if err := c.Upload(t.Context(), []*client.LocalFile{file, file}); err != nil {
		t.Fatal(err)
	}
	created, err := c.Transfers.CreateTransfer(t.Context(), &labv1.CreateTransferRequest{RequestId: client.RequestID(),
		Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: "a", To: "b", Save: true,
			Content: &labv1.Transfer_File{File: file.Ref}}}})
	if err != nil {
		t.Fatal(err)
	}
	if created.GetStamp().GetIndex() != 1 || created.GetId() != "t1" {
		t.Fatalf("created: %v", created)
	}
	got := watchTransfer(t, c, "pair", created.GetId())
	if !got.GetMatch() || got.GetSha256() != file.Ref.GetSha256() || got.GetBytes() != uint64(len(content)) {
		t.Fatalf("transfer: %v", got)
	}
	saved := filepath.Join(t.TempDir(), "copy")
	if err := c.SaveReceived(t.Context(), "pair", created.GetId(), saved); err != nil {
		t.Fatal(err)
	}
	if copied, err := os.ReadFile(saved); err != nil || !bytes.Equal(copied, content) {
		t.Fatalf("what came out is not what went in: %d bytes, %v", len(copied), err)
	}

	inputs, err := c.Labs.ListInputs(t.Context(), &labv1.ListInputsRequest{})
	if err != nil || len(inputs.GetEntries()) != 1 {
		t.Fatalf("inputs: %v %v", inputs, err)
	}
	if _, err := c.Labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: client.RequestID(), Lab: "pair"}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Nodes.ListNodes(t.Context(), &labv1.ListNodesRequest{Lab: "pair"})
	if client.ExitCode(err) != int(client.CodeNotFound) {
		t.Fatalf("a deleted lab: %v", err)
	}
}

func TestPing(t *testing.T) {
	d := start(t, Config{})
	c := d.Client()
	apply(t, c, twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL))
	created, err := c.Execs.CreateExec(t.Context(), &labv1.CreateExecRequest{RequestId: client.RequestID(), Lab: "pair",
		Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: "a", To: "b", Count: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := c.Execs.WatchExec(t.Context(), &labv1.WatchExecRequest{Lab: "pair", Exec: created.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for done := false; !done; {
		m, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		lines, done = append(lines, m.GetLines()...), m.GetDone()
		if done && m.GetExitCode() != 0 {
			t.Fatalf("exit code %d, printed %q", m.GetExitCode(), lines)
		}
	}
	if !strings.Contains(strings.Join(lines, "\n"), "3 packets transmitted, 3 received") {
		t.Fatalf("printed %q", lines)
	}
}

func runRequest(name string) *labv1.CreateRunRequest {
	return &labv1.CreateRunRequest{RequestId: client.RequestID(), Spec: twoHosts(name, labv1.Clock_CLOCK_VIRTUAL), Capture: true,
		LabYaml: []byte("name: " + name + "\n"), Manifest: []byte(`{"experiment": "x"}`),
		Inputs: []*labv1.TimedInput{{AtNs: 1_000_000, Input: &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
			From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 100_000}}}}}}}
}

// follow carries a run out and fetches its directory.
func follow(t *testing.T, c *client.Client, req *labv1.CreateRunRequest) (*labv1.Run, string) {
	t.Helper()
	created, err := c.Runs.CreateRun(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.FollowRun(t.Context(), created.GetRun().GetId(), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	if err := c.FetchRun(t.Context(), run.GetId(), dir); err != nil {
		t.Fatal(err)
	}
	return run, dir
}

func TestRunLeavesADirectory(t *testing.T) {
	d := start(t, Config{})
	c := d.Client()
	run, dir := follow(t, c, runRequest("pair"))
	if run.GetState() != labv1.RunState_RUN_STATE_ENDED || run.GetId() != "pair-1" || len(run.GetTransfers()) != 1 || !run.GetTransfers()[0].GetMatch() {
		t.Fatalf("run: %v", run)
	}
	for _, name := range []string{"manifest.json", "lab.yaml", "journal.jsonl", "events.bin", "pcap/a-eth0.pcapng", "pcap/b-eth0.pcapng"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	var manifest struct {
		Run map[string]string `json:"run"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || json.Unmarshal(b, &manifest) != nil || manifest.Run["experiment"] != "x" {
		t.Errorf("manifest: %s %v", b, err)
	}

	// The same run again makes the same bytes.
	_, second := follow(t, c, runRequest("pair"))
	for _, name := range []string{"journal.jsonl", "events.bin", "pcap/a-eth0.pcapng"} {
		one, err1 := os.ReadFile(filepath.Join(dir, name))
		two, err2 := os.ReadFile(filepath.Join(second, name))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s differs between two runs of one lab: %v", name, err)
		}
	}
	if _, err := c.Runs.DeleteRun(t.Context(), &labv1.DeleteRunRequest{RequestId: client.RequestID(), Run: run.GetId()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the directory of the deleted run goes", func() bool {
		left, err := os.ReadDir(filepath.Join(d.DataDir(), "worker", "labs"))
		return err == nil && len(left) == 1
	})
}

func TestInterruptedRunKeepsItsResults(t *testing.T) {
	d := start(t, Config{})
	c := d.Client()
	req := runRequest("slow")
	req.Spec.Clock = labv1.Clock_CLOCK_REAL
	req.Inputs[0].Input.GetTransfer().Content = &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1 << 40}
	created, err := c.Runs.CreateRun(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Runs.InterruptRun(t.Context(), &labv1.InterruptRunRequest{RequestId: client.RequestID(), Run: created.GetRun().GetId()})
	if err != nil || resp.GetStamp().GetIndex() != 2 {
		t.Fatalf("interrupt: %v %v", resp, err)
	}
	run, err := c.FollowRun(t.Context(), created.GetRun().GetId(), nil)
	if err != nil || !run.GetProgress().GetPartial() {
		t.Fatalf("interrupted run: %v %v", run, err)
	}
	if err := c.FetchRun(t.Context(), run.GetId(), filepath.Join(t.TempDir(), "run")); err != nil {
		t.Fatal(err)
	}
}

// A restart keeps labs, their journal, and the files of ended runs.
func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	d := start(t, Config{DataDir: dir})
	apply(t, d.Client(), twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL))
	file, _ := localFile(t, 50_000)
	if err := d.Client().Upload(t.Context(), []*client.LocalFile{file}); err != nil {
		t.Fatal(err)
	}
	request := &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: "pair",
		Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_File{File: file.Ref}}}}
	created, err := d.Client().Transfers.CreateTransfer(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	before := watchTransfer(t, d.Client(), "pair", created.GetId())
	run, _ := follow(t, d.Client(), runRequest("pair"))
	stop(t, d)

	d = start(t, Config{DataDir: dir})
	c := d.Client()
	eventually(t, "the lab is rebuilt from its journal", func() bool {
		got, err := c.Labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: "pair"})
		if err != nil || got.GetLab().GetState() == labv1.LabState_LAB_STATE_FAILED {
			t.Fatalf("lab: %v %v", got, err)
		}
		return got.GetLab().GetState() == labv1.LabState_LAB_STATE_RUNNING
	})
	after := watchTransfer(t, c, "pair", created.GetId())
	if after.GetSha256() != before.GetSha256() || after.GetDurationNs() != before.GetDurationNs() || after.GetStartNs() != before.GetStartNs() {
		t.Fatalf("rebuilt transfer %v, want %v", after, before)
	}
	again, err := c.Transfers.CreateTransfer(t.Context(), request)
	if err != nil || again.GetStamp().GetIndex() != created.GetStamp().GetIndex() {
		t.Fatalf("the same request after a restart: %v %v", again, err)
	}
	got, err := c.Runs.GetRun(t.Context(), &labv1.GetRunRequest{Run: run.GetId()})
	if err != nil || got.GetRun().GetState() != labv1.RunState_RUN_STATE_ENDED {
		t.Fatalf("run after a restart: %v %v", got, err)
	}
	if err := c.FetchRun(t.Context(), run.GetId(), filepath.Join(t.TempDir(), "again")); err != nil {
		t.Fatal(err)
	}
}

func TestSecondDaemonOnTheSameData(t *testing.T) {
	dir := t.TempDir()
	d := start(t, Config{DataDir: dir})
	_, err := Start(Config{DataDir: dir})
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Fatalf("a second labd: %v", err)
	}
	if want := "a labd (pid " + strconv.Itoa(os.Getpid()) + ") already uses " + dir; err.Error() != want {
		t.Fatalf("%q, want %q", err, want)
	}
	apply(t, d.Client(), twoHosts("pair", labv1.Clock_CLOCK_VIRTUAL)) // the first is none the worse
	stop(t, d)
	start(t, Config{DataDir: dir})
}

func TestDataOfANewerVersion(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "version"), []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(Config{DataDir: dir})
	var newer *NewerDataError
	if !errors.As(err, &newer) || newer.Version != 2 {
		t.Fatalf("error %v", err)
	}
	runbook.Says(t, "a newer labd wrote the data directory", err.Error())
	if b, err := os.ReadFile(filepath.Join(dir, "version")); err != nil || string(b) != "2\n" {
		t.Fatalf("the version was touched: %q %v", b, err)
	}
}

func TestListenAddress(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":7070", "192.0.2.1:7070", "example.com:7070", "7070"} {
		if d, err := Start(Config{Listen: address}); err == nil {
			stop(t, d)
			t.Errorf("labd listens at %s", address)
		}
	}
	d := start(t, Config{Listen: "127.0.0.1:0"})
	if _, err := Start(Config{Listen: d.Addr()}); err == nil || !strings.Contains(err.Error(), d.Addr()) {
		t.Fatalf("two at one address: %v", err)
	}
}

func TestTemporaryDataIsRemoved(t *testing.T) {
	d := start(t, Config{})
	dir := d.DataDir()
	stop(t, d)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s stays: %v", dir, err)
	}
}

func TestHealthAndReflection(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0"})
	conn, err := grpc.NewClient(d.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || h.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v %v", h, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	m, err := r.Recv()
	if err != nil || !strings.Contains(m.String(), "lab.v1.RunService") {
		t.Fatalf("reflection: %v %v", m, err)
	}
}

// A run that cannot be built leaves nothing behind.
func TestRunWithOneIDTwice(t *testing.T) {
	d := start(t, Config{})
	c := d.Client()
	req := runRequest("pair")
	req.Inputs[0].Input.GetTransfer().Id = "x"
	req.Inputs = append(req.Inputs, req.Inputs[0])
	if _, err := c.Runs.CreateRun(t.Context(), req); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Fatalf("error %v", err)
	}
	list, err := c.Runs.ListRuns(t.Context(), &labv1.ListRunsRequest{})
	if err != nil || len(list.GetRuns()) != 0 {
		t.Fatalf("runs left: %v %v", list, err)
	}
}
