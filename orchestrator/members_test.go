package orchestrator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"

	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

// failsWith waits until a server has stopped for a reason.
func failsWith(t *testing.T, m *member, want string) {
	t.Helper()
	eventually(t, "it stops", func() bool { return m.control.Err() != nil })
	if err := m.control.Err(); !strings.Contains(err.Error(), want) {
		t.Errorf("it stops for %v, want %q", err, want)
	}
}

// A server with the id of another one that answers is refused, whichever was there first.
func TestDuplicateServerID(t *testing.T) {
	n, all := three(t)
	copied := n.server("id-b", "b2:7070", 0, "a:7070")
	copied.cluster = Membership{"id-a", StageJoining} // the data directory was copied, and with it the cluster's id
	m := copied.start()
	failsWith(t, m, "has the id id-b too")
	runbook.Says(t, "two servers run on copies of one data directory", m.control.Err().Error())
	leader := leaderOf(t, all)
	if got := len(leader.control.servers()); got != 3 {
		t.Errorf("the cluster has %d servers now", got)
	}
}

func TestDuplicateServerIDBeforeThereIsACluster(t *testing.T) {
	n := newNetwork(t)
	n.server("id-a", "a:7070", 3, "nobody:1").start()
	failsWith(t, n.server("id-a", "a2:7070", 3, "a:7070").start(), "has the id id-a too")
}

// A server of one cluster does not join another, nor can it be made to.
func TestJoinToAnotherCluster(t *testing.T) {
	n, all := three(t)
	other := n.server("id-x", "x:7070", 1)
	other.dir = t.TempDir()
	other.start()
	leaderOf(t, []*member{other})
	other.stop()
	other.join = []string{"a:7070"}
	failsWith(t, other.start(), "this server belongs to cluster id-x, the other one to cluster id-a")
	runbook.Says(t, "a server is asked to join another cluster", other.control.Err().Error())
	leader := leaderOf(t, all)
	_, err := leader.admin().AddMember(t.Context(), &labv1.AddMemberRequest{Address: "x:7070"})
	wantReason(t, err, codes.FailedPrecondition, "OTHER_CLUSTER")
	wantText(t, err, "empty data directory")
}

// A stranger's words are checked as well: who asks to be adopted or taken in for a cluster that is not this one.
func TestStrangersAreRefused(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	peers := serverv1.NewPeerServiceClient(leader.outside)
	_, err := peers.Join(t.Context(), &serverv1.JoinRequest{Server: &serverv1.Peer{ServerId: "id-z", Address: "z:1"}, ClusterId: "id-z"})
	wantReason(t, err, codes.FailedPrecondition, "OTHER_CLUSTER")
	_, err = peers.Adopt(t.Context(), &serverv1.AdoptRequest{Founder: &serverv1.Peer{ServerId: "id-z"}, ClusterId: "id-z",
		Servers: []*serverv1.Peer{{ServerId: leader.id}}})
	wantReason(t, err, codes.FailedPrecondition, "OTHER_CLUSTER")
	_, err = peers.Join(t.Context(), &serverv1.JoinRequest{Server: &serverv1.Peer{ServerId: "id-z", Address: "z:1"}, ClusterId: "id-a"})
	wantReason(t, err, codes.FailedPrecondition, "MEMBER_UNREACHABLE")
	_, err = peers.Join(t.Context(), &serverv1.JoinRequest{ClusterId: "id-a"})
	wantReason(t, err, codes.InvalidArgument, "INVALID")
}

// A server whose disk was lost comes back at its address under a new id, replaces the old one, and knows all again.
func TestEmptyDisk(t *testing.T) {
	n, all := three(t)
	leader := leaderOf(t, all)
	if _, err := leader.create("r1", "x"); err != nil {
		t.Fatal(err)
	}
	lost := others(all, leader)[0]
	lost.kill()
	fresh := n.server("id-fresh", lost.address, 3, "a:7070", "b:7070", "c:7070").start()
	eventually(t, "it votes in place of the old one", func() bool {
		return leader.sees("id-fresh", raft.Voter) && !leader.sees(lost.id, raft.Voter)
	})
	eventually(t, "it has the lab", func() bool { return fresh.control.store.view().labNamed("", "x") != nil })
	runbook.Says(t, "a server starts with an empty disk", n.heard.String())
	if got := len(leader.control.servers()); got != 3 {
		t.Errorf("%d servers", got)
	}
}

// A server that was removed stays out until it is taken in again; a voter whose loss would leave no majority is not removed.
func TestRemoveAndJoin(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	gone := others(all, leader)[0]
	removed, err := leader.admin().RemoveMember(t.Context(), &labv1.RemoveMemberRequest{Server: gone.address})
	if err != nil || removed.GetMember().GetServerId() != gone.id {
		t.Fatalf("removed %v %v", removed, err)
	}
	_, err = leader.admin().RemoveMember(t.Context(), &labv1.RemoveMemberRequest{Server: gone.address})
	wantReason(t, err, codes.NotFound, "MEMBER_NOT_FOUND")
	_, err = leader.admin().RemoveMember(t.Context(), &labv1.RemoveMemberRequest{Server: "id-"})
	wantText(t, err, "2 servers' ids begin with")
	if _, err := leader.admin().AddMember(t.Context(), &labv1.AddMemberRequest{Address: gone.address}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it votes again", func() bool { return leader.sees(gone.id, raft.Voter) })
	other := others(others(all, leader), gone)[0]
	gone.kill()
	// Of three, one is down: without another only one of two would answer.
	_, err = leader.admin().RemoveMember(t.Context(), &labv1.RemoveMemberRequest{Server: other.id})
	wantReason(t, err, codes.FailedPrecondition, "MEMBER_NEEDED")
	if _, err := leader.admin().RemoveMember(t.Context(), &labv1.RemoveMemberRequest{Server: gone.id}); err != nil {
		t.Errorf("the one that is down: %v", err)
	}
}

func TestTransferLeadership(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	to := others(all, leader)[1]
	got, err := to.admin().TransferLeadership(t.Context(), &labv1.TransferLeadershipRequest{Server: to.id})
	if err != nil || got.GetLeader().GetServerId() != to.id {
		t.Fatalf("%v %v", got, err)
	}
	if now := leaderOf(t, all); now != to {
		t.Errorf("%s leads, want %s", now.address, to.address)
	}
}

// Two of three servers are gone for good: the third goes on by a peers file, with all that was acknowledged.
func TestPeersFile(t *testing.T) {
	n := newNetwork(t)
	var all []*member
	for _, id := range []string{"a", "b", "c"} {
		m := n.server("id-"+id, id+":7070", 3, "a:7070", "b:7070", "c:7070")
		m.dir = filepath.Join(t.TempDir(), id)
		all = append(all, m.start())
	}
	leader := leaderOf(t, all)
	if _, err := leader.create("r1", "x"); err != nil {
		t.Fatal(err)
	}
	left := others(all, leader)[0]
	eventually(t, "it has the lab", func() bool { return left.control.store.view().labNamed("", "x") != nil })
	for _, m := range all {
		m.kill()
	}
	peers := filepath.Join(left.dir, peersFile)
	for text, want := range map[string]string{
		`[{"id": "id-q", "address": "q:7070"}]`: "is not in it",
		`[{"id": "` + left.id + `", "address": "` + left.address + `", "non_voter": true},{"id": "id-q", "address": "q:7070"}]`: "does not vote by it",
		`{"id": 1}`: "peers.json",
	} {
		if err := os.WriteFile(peers, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := left.tryStart(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	text := fmt.Sprintf(`[{"id": %q, "address": %q, "non_voter": false}]`, left.id, left.address)
	if err := os.WriteFile(peers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	left.start()
	leaderOf(t, []*member{left})
	if _, err := left.labs().GetLab(t.Context(), &labv1.GetLabRequest{Lab: "x"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(peers); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is read again at the next start: %v", err)
	}
}

// readBack gives a cluster's state as a file would have it.
func readBack(t *testing.T, m *member) []byte {
	t.Helper()
	stream, err := m.admin().ReadSnapshot(t.Context(), &labv1.ReadSnapshotRequest{})
	var b bytes.Buffer
	for err == nil {
		var r *labv1.ReadSnapshotResponse
		if r, err = stream.Recv(); err == nil {
			b.Write(r.GetData())
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return b.Bytes()
}

func give(t *testing.T, m *member, state []byte) (*labv1.RestoreSnapshotResponse, error) {
	t.Helper()
	stream, err := m.admin().RestoreSnapshot(t.Context())
	if err != nil {
		return nil, err
	}
	for len(state) > 0 {
		n := min(len(state), 100)
		if err := stream.Send(&labv1.RestoreSnapshotRequest{Data: state[:n]}); err != nil {
			break // the answer says why
		}
		state = state[n:]
	}
	return stream.CloseAndRecv()
}

// A state that was saved is put back on all servers, and what was changed since is gone; epochs only ever grow.
func TestSaveAndRestore(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	follower := others(all, leader)[0]
	created, err := leader.create("r1", "x")
	if err != nil {
		t.Fatal(err)
	}
	state := readBack(t, follower)
	if _, err := follower.create("r2", "y"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		state  []byte
		reason string
	}{
		"cut short":       {state[:len(state)-1], "SNAPSHOT_DAMAGED"},
		"nothing":         {nil, "SNAPSHOT_DAMAGED"},
		"a bit flipped":   {flippedAt(state, bytes.Index(state, []byte("r1"))), "SNAPSHOT_DAMAGED"},
		"something else":  {[]byte("name: x\n"), "SNAPSHOT_DAMAGED"},
		"a newer version": {newerSnapshot(t), "SNAPSHOT_NEWER"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := give(t, follower, c.state)
			wantReason(t, err, codes.InvalidArgument, c.reason)
			wantText(t, err, "nothing was changed")
			if name == "a newer version" {
				runbook.Says(t, "a newer labd wrote the backup", err.Error())
			} else {
				runbook.Says(t, "a backup has changed, or is cut short", err.Error())
			}
			if _, err := follower.labs().GetLab(t.Context(), &labv1.GetLabRequest{Lab: "y"}); err != nil {
				t.Errorf("it was changed: %v", err)
			}
		})
	}
	got, err := give(t, follower, state)
	if err != nil || got.GetLabs() != 1 {
		t.Fatalf("restored %v %v", got, err)
	}
	eventually(t, "all have the state", func() bool {
		for _, m := range all {
			v := m.control.store.view()
			if lab := v.labNamed("", "x"); v.labNamed("", "y") != nil || lab == nil || lab.GetEpoch() <= created.GetLab().GetEpoch() {
				return false
			}
		}
		return true
	})
	if _, err := follower.create("r3", "z"); err != nil {
		t.Errorf("after the restore: %v", err)
	}
	for _, m := range all {
		if lease := m.control.store.view().lease(); lease != 400*time.Millisecond {
			t.Errorf("%s grants leases of %v", m.address, lease)
		}
		left, err := filepath.Glob(filepath.Join(m.filesDir, incomingPattern))
		if err != nil || len(left) > 0 {
			t.Errorf("%s has left %v (%v)", m.address, left, err)
		}
	}
}

func flippedAt(state []byte, at int) []byte {
	damaged := bytes.Clone(state)
	damaged[at+1] ^= 1
	return damaged
}
