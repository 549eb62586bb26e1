package orchestrator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"labd.dev/internal/runbook"
	serverv1 "labd.dev/proto/server/v1"
)

// waitsFor waits until a server says why there is no cluster for it yet.
func waitsFor(t *testing.T, m *member, want string) {
	t.Helper()
	eventually(t, m.address+" says "+want, func() bool { return strings.Contains(m.control.notFormed(), want) })
}

// Servers that lost their disks found no second cluster while one that may know of the first is away, though as many are
// there as found one; and when that one is back they ask it to be taken in.
func TestNoSecondCluster(t *testing.T) {
	n := newNetwork(t)
	var all []*member
	for _, id := range []string{"a", "b", "c"} {
		m := n.server("id-"+id, id+":7070", 3, "a:7070", "b:7070", "c:7070")
		m.dir = filepath.Join(t.TempDir(), id)
		all = append(all, m.start())
	}
	leaderOf(t, all)
	for _, m := range all {
		eventually(t, "it knows that it is of the cluster", func() bool {
			return m.control.identity.membership() == Membership{"id-a", StageMember}
		})
		m.kill()
	}
	fresh := []*member{
		n.server("id-1", "b:7070", 3, "a:7070", "b:7070", "c:7070"),
		n.server("id-2", "c:7070", 3, "a:7070", "b:7070", "c:7070"),
		n.server("id-0", "d:7070", 3, "b:7070"), // it names nobody that knows of the cluster, and has the least id
	}
	for _, m := range fresh {
		m.apart = true
		m.start()
	}
	for _, m := range fresh[:2] {
		waitsFor(t, m, "waits for a:7070, which its --join names")
	}
	waitsFor(t, fresh[2], "waits for a:7070, which its --join names") // of another server's --join
	peers := serverv1.NewPeerServiceClient(fresh[0].outside)
	_, err := peers.Adopt(t.Context(), &serverv1.AdoptRequest{Founder: &serverv1.Peer{ServerId: "id-0"}, ClusterId: "id-0",
		Servers: []*serverv1.Peer{{ServerId: "id-1"}}})
	wantReason(t, err, codes.Unavailable, "NOT_READY")
	all[0].start()
	for _, m := range fresh {
		eventually(t, m.address+" asks to be taken in", func() bool {
			return m.control.identity.membership() == Membership{"id-a", StageJoining}
		})
	}
}

// A founder that died after the others had said yes is waited for: it comes back, and founds.
func TestFounderComesBack(t *testing.T) {
	n := newNetwork(t)
	founder, rest := adopted(n)
	for _, m := range rest {
		m.start()
		waitsFor(t, m, "server id-a founds the cluster")
	}
	leaderOf(t, append(rest, founder.start()))
	for _, m := range rest {
		if got := m.control.ClusterID(); got != "id-a" {
			t.Errorf("%s belongs to %s", m.address, got)
		}
	}
}

// One that lost its disk is not: when all who might know of its cluster are there and nothing came of it, another one founds.
func TestFounderLost(t *testing.T) {
	n := newNetwork(t)
	founder, rest := adopted(n)
	for _, m := range rest {
		m.start()
		waitsFor(t, m, "server id-a founds the cluster")
	}
	fresh := n.server("id-z", founder.address, 3, founder.join...).start()
	all := append(rest, fresh)
	leaderOf(t, all)
	for _, m := range all {
		if got := m.control.ClusterID(); got != "id-b" {
			t.Errorf("%s belongs to %s", m.address, got)
		}
	}
}

// adopted prepares three servers as they are when the first of them has asked the others to adopt its cluster.
func adopted(n *network) (founder *member, rest []*member) {
	for _, id := range []string{"a", "b", "c"} {
		m := n.server("id-"+id, id+":7070", 3, "a:7070", "b:7070", "c:7070")
		m.cluster = Membership{"id-a", StageFounding}
		rest = append(rest, m)
	}
	return rest[0], rest[1:]
}

// A yes is not taken back while anybody may know more: an address that does not answer, or a server that the founder had
// taken into the cluster.
func TestYesIsKept(t *testing.T) {
	for name, c := range map[string]struct {
		of      Membership
		answers []*serverv1.HelloResponse
		silent  []string
		lost    bool
	}{
		"nobody answers":      {Membership{"id-a", StageFounding}, nil, []string{"a:7070", "b:7070"}, false},
		"one does not answer": {Membership{"id-a", StageFounding}, answered("id-z a:7070", "id-d d:7070"), []string{"b:7070"}, false},
		"too few are there":   {Membership{"id-a", StageFounding}, answered("id-b b:7070"), nil, false},
		"the founder answers": {Membership{"id-a", StageFounding}, answered("id-a a:7070", "id-b b:7070"), nil, false},
		"it has moved, and is away": {Membership{"id-a", StageFounding},
			answered("id-z a:7070", "id-b b:7070"), []string{"e:7070"}, false},
		"it found the cluster": {Membership{"id-a", StageJoining}, answered("id-z a:7070", "id-b b:7070"), nil, false},
		"its own":              {Membership{"id-c", StageFounding}, answered("id-z a:7070", "id-b b:7070"), nil, false},
		"the founder is lost":  {Membership{"id-a", StageFounding}, answered("id-z a:7070", "id-b b:7070"), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			me := &identity{serverID: "id-c", of: c.of}
			f := newFormation(&Controller{identity: me, conf: Config{Cluster: &Cluster{Expect: 3, Advertise: "c:7070",
				Join: []string{"a:7070", "b:7070"}}}})
			f.known["id-a"] = "a:7070"
			if name == "it has moved, and is away" {
				f.known["id-a"] = "e:7070"
			}
			f.looked(c.answers, c.silent)
			if got := f.founderLost(c.answers, c.silent); got != c.lost {
				t.Errorf("lost: %v", got)
			}
		})
	}
}

func answered(servers ...string) (list []*serverv1.HelloResponse) {
	for _, s := range servers {
		id, address, _ := strings.Cut(s, " ")
		list = append(list, &serverv1.HelloResponse{Self: &serverv1.Peer{ServerId: id, Address: address}})
	}
	return list
}

// Nobody says yes to a founder beside whom another one stands.
func TestTwoFounders(t *testing.T) {
	f := newFormation(&Controller{identity: &identity{serverID: "id-c"},
		conf: Config{Cluster: &Cluster{Expect: 3, Advertise: "c:7070"}}})
	wantText(t, f.object("id-a"), "has not looked around yet")
	answers := answered("id-a a:7070", "id-b b:7070")
	answers[0].ClusterId = "id-a"
	f.looked(answers, nil)
	if err := f.object("id-a"); err != nil {
		t.Error(err)
	}
	wantText(t, f.object("id-b"), "the server at a:7070 has said yes to founder id-a")
}

// A server whose log was removed, but not its name, would forget what it acknowledged and vote anew: it does not start.
func TestLostLog(t *testing.T) {
	m := newNetwork(t).server("id-a", "a:7070", 1)
	m.dir = t.TempDir()
	m.start()
	leaderOf(t, []*member{m})
	eventually(t, "it knows that it is of the cluster", func() bool {
		return m.control.identity.membership().Stage == StageMember
	})
	m.stop()
	if err := os.RemoveAll(m.dir); err != nil {
		t.Fatal(err)
	}
	var lost *LostLogError
	err := m.tryStart()
	if !errors.As(err, &lost) || lost.Cluster != "id-a" {
		t.Fatalf("it starts: %v", err)
	}
	runbook.Says(t, "a server has lost its log, and knows that it had one", err.Error())
}

func TestMembershipIsKept(t *testing.T) {
	for _, m := range []Membership{{}, {"ID", StageFounding}, {"ID", StageJoining}, {"ID", StageMember}} {
		if got, err := ParseMembership(m.String()); err != nil || got != m {
			t.Errorf("%q: %v %v", m, got, err)
		}
	}
	for _, text := range []string{"ID", "ID something", "ID member now"} {
		if _, err := ParseMembership(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
