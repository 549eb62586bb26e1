package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
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
	err = up.Send(&labv1.UploadFileRequest{Sha256: sum, SizeBytes: uint64(len(content)), Data: []byte(content)})
	if err == nil || errors.Is(err, io.EOF) {
		_, err = up.CloseAndRecv()
	}
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

// uploaded gives content to the cluster, however its leader changes, and gives its sum and the leader that took it.
func uploaded(t *testing.T, all []*member) (string, *member) {
	t.Helper()
	var sum string
	var leader *member
	eventually(t, "an upload", func() bool {
		var err error
		leader = leaderOf(t, all)
		sum, err = others(all, leader)[0].upload("content") // which hands it on
		return err == nil
	})
	return sum, leader
}

// An uploaded file lies on two servers before anything can name it, and a leader that has it not gets it from one.
func TestUploadLiesOnTwoServers(t *testing.T) {
	_, all := three(t)
	sum, leader := uploaded(t, all)
	var holders []string
	have := 0
	eventually(t, "the state is everywhere", func() bool {
		for _, m := range all {
			if m.control.store.view().file(sum) == nil {
				return false
			}
		}
		return true
	})
	holders = leader.control.store.view().file(sum).GetServers()
	for _, m := range all {
		if m.holds(sum) {
			have++
		} else if slices.Contains(holders, m.id) {
			t.Errorf("%s has the file not", m.id)
		}
	}
	if have < 2 || len(holders) < 2 {
		t.Fatalf("%d servers have the file; known: %v", have, holders)
	}

	// Whoever leads: its copy is lost, and it gets the file from another.
	eventually(t, "a leader without a copy gives the file to its worker", func() bool {
		now := leaderOf(t, all)
		if err := os.Remove(filepath.Join(now.filesDir, sum)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		r, err := now.control.openFile(t.Context(), sum)
		if err != nil {
			sum, _ = uploaded(t, all) // the other one that had it was a leader before, and lost it here as well
			return false
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err != nil || string(got) != "content" {
			t.Fatalf("from another server came %q %v", got, err)
		}
		return true
	})
}

// Content that no second server takes is not accepted.
func TestUploadThatNobodyElseTakes(t *testing.T) {
	_, all := three(t)
	// Two of the three have no room: with one of these as the leader, not even it takes content.
	for _, m := range all[1:] {
		if err := os.RemoveAll(m.filesDir); err != nil {
			t.Fatal(err)
		}
	}
	var sum string
	eventually(t, "a refusal", func() bool {
		var err error
		leader := leaderOf(t, all)
		if leader != all[0] {
			leader.control.node.raft.LeadershipTransferToServer(raft.ServerID(all[0].id), raft.ServerAddress(all[0].address)).Error()
			return false
		}
		if sum, err = leader.upload("content"); err == nil {
			t.Fatal("it is taken")
		}
		return reasonIn(err) == "ONE_COPY"
	})
	if all[0].control.store.view().file(sum) != nil {
		t.Fatal("it counts as uploaded")
	}
}

// A file that too few of today's servers have is given to another.
func TestFilesAreSpread(t *testing.T) {
	_, all := three(t)
	sum, _ := uploaded(t, all)
	var leader *member
	eventually(t, "the file is spread", func() bool {
		leader = leaderOf(t, all)
		l, f := leader.control.leading(), leader.control.store.view().file(sum)
		if l == nil || f == nil {
			return false
		}
		return l.spread(with(f, func(f *controlv1.FileState) { f.Servers = []string{"one that left"} })) == nil
	})
	have := 0
	for _, id := range leader.control.store.view().file(sum).GetServers() {
		for _, m := range all {
			if m.id == id && !m.holds(sum) {
				t.Errorf("%s is said to have the file", id)
			}
		}
	}
	for _, m := range all {
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
	keeper := &filekeeper{idle: map[[2]string]time.Time{{"", sums["named"]}: long, {"", sums["nothing"]}: long, {"", sums["recent"]}: long}}
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
