package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// upload gives content to the cluster through a server.
func (m *member) upload(content string) (string, error) {
	m.t.Helper()
	raw := sha256.Sum256([]byte(content))
	sum := hex.EncodeToString(raw[:])
	up, err := m.files().UploadFile(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if err := up.Send(&labv1.UploadFileRequest{Sha256: sum, SizeBytes: uint64(len(content)), Data: []byte(content)}); err != nil {
		m.t.Fatal(err)
	}
	_, err = up.CloseAndRecv()
	return sum, err
}

func (m *member) holds(sum string) bool {
	_, err := os.Stat(filepath.Join(m.filesDir, sum))
	return err == nil
}

// serving is a lab one of whose nodes serves content.
func serving(name, sum string) *labv1.LabSpec {
	spec := testSpec(name)
	spec.Nodes[1].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Port: 80,
		Files: []*labv1.FileRef{{Path: "f", Sha256: sum, SizeBytes: 7}}}}}}
	return spec
}

// An uploaded file lies on two servers before anything can name it, and a leader that has it not gets it from one.
func TestUploadLiesOnTwoServers(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	sum, err := others(all, leader)[0].upload("content")
	if err != nil {
		t.Fatal(err)
	}
	var without *member
	have := 0
	for _, m := range all {
		if m.holds(sum) {
			have++
		} else {
			without = m
		}
	}
	if f := leader.control.store.view().file(sum); have != 2 || len(f.GetServers()) != 2 || !leader.holds(sum) {
		t.Fatalf("%d servers have the file; known: %v", have, f)
	}
	if err := without.control.getFile(t.Context(), leader.address, sum, 7); err != nil || !without.holds(sum) {
		t.Fatalf("taken from another server: %v", err)
	}
	if err := os.Remove(filepath.Join(without.filesDir, sum)); err != nil {
		t.Fatal(err)
	}

	// The one that has it not leads.
	eventually(t, "another leader", func() bool {
		now := leaderOf(t, all)
		if now != without {
			now.control.node.raft.LeadershipTransfer().Error()
		}
		return now == without
	})
	if _, err := without.labs().CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r", Spec: serving("x", sum)}); err != nil {
		t.Fatal(err)
	}
	without.worker.mu.Lock()
	got := string(without.worker.blobs[sum])
	without.worker.mu.Unlock()
	if got != "content" {
		t.Fatalf("the worker was given %q", got)
	}
}

// Content that no second server takes is not accepted.
func TestUploadThatNobodyElseTakes(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	for _, m := range others(all, leader) {
		if err := os.RemoveAll(m.filesDir); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := leader.upload("content")
	wantReason(t, err, codes.Unavailable, "ONE_COPY")
	if leader.control.store.view().file(sum) != nil {
		t.Fatal("it counts as uploaded")
	}
	_, err = leader.labs().CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r", Spec: serving("x", sum)})
	wantReason(t, err, codes.FailedPrecondition, "FILE_MISSING")
}

// A file that too few of today's servers have is given to another.
func TestFilesAreSpread(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	sum, err := leader.upload("content")
	if err != nil {
		t.Fatal(err)
	}
	l := leader.control.leading()
	f := with(leader.control.store.view().file(sum), func(f *controlv1.FileState) { f.Servers = []string{"one that left"} })
	if err := l.spread(f); err != nil {
		t.Fatal(err)
	}
	now := leader.control.store.view().file(sum).GetServers()
	have := 0
	for _, m := range all {
		if slices.Contains(now, m.id) != m.holds(sum) {
			t.Errorf("%s: known to have it %v", m.id, slices.Contains(now, m.id))
		}
		if m.holds(sum) {
			have++
		}
	}
	if have < 2 {
		t.Fatalf("%d servers have it", have)
	}
}

// Content that nothing has named for a while is let go of; what a lab names stays.
func TestFilesThatNothingNames(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	sums := map[string]string{}
	for _, content := range []string{"named", "nothing", "recent"} {
		s.upload(content)
		raw := sha256.Sum256([]byte(content))
		sums[content] = hex.EncodeToString(raw[:])
	}
	if _, err := s.labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r", Spec: serving("x", sums["named"])}); err != nil {
		t.Fatal(err)
	}
	c := s.control
	long := time.Now().Add(-2 * fileGrace)
	keeper := &filekeeper{idle: map[string]time.Time{sums["named"]: long, sums["nothing"]: long, sums["recent"]: long}}
	c.blobs.mu.Lock()
	c.blobs.asked = map[string]time.Time{sums["named"]: long, sums["nothing"]: long, sums["recent"]: time.Now()}
	c.blobs.mu.Unlock()
	if err := c.leading().keepFilesOnce(keeper); err != nil {
		t.Fatal(err)
	}
	v := c.store.view()
	if v.file(sums["nothing"]) != nil || v.file(sums["named"]) == nil || v.file(sums["recent"]) == nil {
		t.Fatalf("kept: %v", all[controlv1.FileState](v, tableFiles, "id"))
	}
	for _, sum := range sums {
		if err := os.Chtimes(c.blobs.path(sum), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.blobs.sweep(func(sum string) bool { return v.file(sum) != nil }, fileGrace); err != nil {
		t.Fatal(err)
	}
	if c.blobs.has(sums["nothing"]) || !c.blobs.has(sums["named"]) || !c.blobs.has(sums["recent"]) {
		t.Fatal("the wrong content is gone")
	}
	_, err := s.labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "r2", Spec: serving("y", sums["nothing"])})
	wantReason(t, err, codes.FailedPrecondition, "FILE_MISSING")
}

// What came to name a file since its leader looked keeps it; and what names a file that was let go meanwhile is refused.
func TestApplyDropFiles(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.AddFile{Sha256: "a", SizeBytes: 5, Servers: []string{"s2"}})
	m.want("", &controlv1.AddFile{Sha256: "a", SizeBytes: 5, Servers: []string{"s1", "s2"}})
	m.want("", &controlv1.AddFile{Sha256: "b", SizeBytes: 7})
	lab := createLab("x")
	lab.Spec = serving("x", "a")
	m.want("", lab)
	m.want("", &controlv1.DropFiles{Sha256: []string{"a", "b", "c"}})
	v := m.fsm.store.view()
	if f := v.file("a"); !slices.Equal(f.GetServers(), []string{"s1", "s2"}) || v.file("b") != nil || v.counter(counterFiles) != 1 || v.counter(counterFileBytes) != 5 {
		t.Fatalf("files %v", all[controlv1.FileState](v, tableFiles, "id"))
	}
	late := createLab("y")
	late.Spec = serving("y", "b")
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_FILE_MISSING, "", late)
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_FILE_MISSING, "", &controlv1.CreateRun{Name: "y", Spec: serving("y", "b")})
	in := appendInput("x.1", 1, 1)
	in.Entry.Input = &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: serving("x", "b")}}}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_FILE_MISSING, "", in)
}
