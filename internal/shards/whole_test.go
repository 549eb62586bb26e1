package shards_test

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"labd.dev/internal/shards"
	"labd.dev/node/app"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// The one reason that is told from others by its text is node/app's.
func TestUnclaimedIsTheApplicationsWord(t *testing.T) {
	if shards.Unclaimed != app.Unclaimed {
		t.Errorf("%q, and applications say %q", shards.Unclaimed, app.Unclaimed)
	}
}

// What no shard runs or takes by itself all do together: the budgets are the lab's, and end all shards at the same time.
func TestBudgetsAreOfTheWholeLab(t *testing.T) {
	whole, _ := newCluster(t, 1, false).run(busy(0))
	for name, budget := range map[string]*labv1.EventBudget{
		"events together, its budget":               {PerLab: whole.Progress.Events * 3 / 4},
		"events together in one second, its budget": {PerSecond: whole.Progress.Events / 3},
		"in all 3 shards, more than":                {MemoryBytes: 1 << 20},
	} {
		c := newCluster(t, 3, false)
		req := busy(0)
		req.Spec.Budget = budget
		client := c.start(req)
		got := c.ended(client, "busy")
		if !strings.Contains(got.Progress.Error, name) || got.Broken != "" || !got.Progress.Partial {
			t.Errorf("%q: %q %q", name, got.Progress.Error, got.Broken)
		}
		for i, m := range client {
			shard, err := m.GetLab(t.Context(), &workerv1.GetLabRequest{LabId: "busy"})
			if err != nil || !strings.Contains(shard.Progress.Error, name) || shard.Progress.NowNs != got.Progress.NowNs {
				t.Errorf("%q: shard %d: %v %v", name, i, shard.GetProgress(), err)
			}
		}
		c.stop(client, req)
	}
}

// Connections are listed as those of a lab in one piece, though a node that came later is before others by its name.
func TestConnectionsAreListedInOrder(t *testing.T) {
	listed := func(workers int) (nodes []string) {
		c := newCluster(t, workers, false)
		client := c.start(standing(path()))
		wider := path()
		wider.Nodes = append(wider.Nodes, host("a-late-one"))
		wider.Links = append(wider.Links, joined("a-late-one", "r2", &labv1.DirectionSpec{RateBps: 10e6, DelayNs: ms}))
		c.give(client, "live", &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: wider}}})
		c.give(client, "live", transfer("t1", "a-late-one", "client", 50_000))
		c.settled(client, "t1")
		got, err := client.ListConns(t.Context(), &workerv1.ListConnsRequest{LabId: "live", Listening: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, conn := range got.GetConns() {
			nodes = append(nodes, conn.GetNode()+" "+conn.GetState())
		}
		return nodes
	}
	one, three := listed(1), listed(3)
	if a, b := strings.Join(one, "\n"), strings.Join(three, "\n"); a != b || !strings.Contains(a, "a-late-one") {
		t.Errorf("in three shards\n%s\nin one\n%s", b, a)
	}
}

// A shard reads what its own nodes serve, and no more; the run directory has all.
func TestShardsReadOnlyTheirFiles(t *testing.T) {
	c := newCluster(t, 2, false)
	spec := path()
	content := map[string]string{"client": "the client's page", "server": "the server's page"}
	sums := map[string]string{}
	for _, n := range spec.Nodes {
		text, serves := content[n.Name]
		if !serves {
			continue
		}
		sum := sha256.Sum256([]byte(text))
		sums[n.Name] = hex.EncodeToString(sum[:])
		n.Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Port: 80,
			Files: []*labv1.FileRef{{Path: "index.html", Sha256: sums[n.Name], SizeBytes: uint64(len(text))}}}}}}
		for _, m := range c.members {
			put(t, m, sums[n.Name], text)
		}
	}
	client, req := c.request(standing(spec))
	if _, err := client.StartLab(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	c.give(client, "live", &labv1.Input{Kind: &labv1.Input_HttpGet{HttpGet: &labv1.HttpGet{Id: "g1", From: "client", Url: "http://server/index.html"}}})
	got := c.until(client, "live", "the page", func(got *workerv1.GetLabResponse) bool {
		return len(got.Transfers) == 1 && got.Transfers[0].State >= labv1.TransferState_TRANSFER_STATE_DONE
	})
	if got.Transfers[0].Sha256 != sums["server"] {
		t.Errorf("%v", got.Transfers[0])
	}
	for i, m := range c.members {
		for n, sum := range sums {
			if here := slices.Contains(req.Shards[i].Nodes, n); has(m, sum) != here {
				t.Errorf("shard %d, of %s: what it serves is there: %v", i, n, !here)
			}
		}
	}
	c.kept(client, client, 1)
}

// has tells whether a member's run directory has a content.
func has(m *member, sum string) bool {
	found, err := filepath.Glob(filepath.Join(m.root, "labs", "live", "blobs", sum))
	return err == nil && len(found) == 1
}

func put(t *testing.T, m *member, sum, text string) {
	t.Helper()
	s, err := m.client.PutBlob(t.Context())
	if err == nil {
		err = s.Send(&workerv1.PutBlobRequest{Sha256: sum, Data: []byte(text)})
	}
	if err == nil {
		_, err = s.CloseAndRecv()
	}
	if err != nil {
		t.Fatal(err)
	}
}
