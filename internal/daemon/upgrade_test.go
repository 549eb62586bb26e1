package daemon

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// unpackOlder makes a data directory as an older labd left it: commit 6f8ecd5, which knew neither people nor owners, run as
// `labd`, with a lab that was given a file to transfer, a ping, a change of its link and another transfer; with a run that
// had ended; and with a snapshot that its labctl had saved, labd.snapshot.
func unpackOlder(t *testing.T) string {
	t.Helper()
	f, err := os.Open("testdata/older.tgz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for in := tar.NewReader(z); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var b []byte
			if b, err = io.ReadAll(in); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An upgrade: what an older version wrote is opened by this one. The lab is rebuilt from its journal to where it was, takes
// inputs, and the ended run can be read; the same after one more start, of what this version wrote behind it.
func TestDataOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	dir := unpackOlder(t)
	for again, id := range []string{"new", "newer"} {
		d := start(t, Config{DataDir: dir, Listen: "127.0.0.1:0"})
		wantOlder(t, d.Client(), 4+again)
		f := &fleet{t: t, server: d, c: d.Client()}
		_, err := f.c.Transfers.CreateTransfer(t.Context(), &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: "pair",
			Kind: &labv1.CreateTransferRequest_Transfer{Transfer: &labv1.Transfer{Id: id, From: "alice", To: "bob",
				Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 10_000}}}})
		if err != nil {
			t.Fatal(err)
		}
		f.followed("pair", id)
		stop(t, d)
	}
}

// wantOlder looks for what the older version's directory holds.
func wantOlder(t *testing.T, c *client.Client, inputs int) {
	t.Helper()
	eventually(t, "the lab is rebuilt", func() bool {
		r, err := c.Labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: "pair"})
		return err == nil && r.GetLab().GetState() == labv1.LabState_LAB_STATE_RUNNING && r.GetLab().GetProgress().GetNowNs() >= 3_037_676_096
	})
	journal, err := c.Labs.ListInputs(t.Context(), &labv1.ListInputsRequest{Lab: "pair"})
	if err != nil || len(journal.GetEntries()) != inputs {
		t.Fatalf("%d inputs, %v; want %d", len(journal.GetEntries()), err, inputs)
	}
	moved, err := c.Transfers.ListTransfers(t.Context(), &labv1.ListTransfersRequest{Lab: "pair"})
	if err != nil || len(moved.GetTransfers()) < 2 {
		t.Fatal(moved, err)
	}
	for _, tr := range moved.GetTransfers() {
		if !tr.GetMatch() {
			t.Errorf("transfer %v", tr)
		}
	}
	run, err := c.Runs.GetRun(t.Context(), &labv1.GetRunRequest{Run: "handshake-1"})
	if err != nil || run.GetRun().GetState() != labv1.RunState_RUN_STATE_ENDED {
		t.Errorf("its run: %v, %v", run, err)
	}
	if len(recordsFrom(t, c, &labv1.ReadRecordsRequest{Source: &labv1.ReadRecordsRequest_Run{Run: "handshake-1"}})) == 0 {
		t.Error("its run has no records")
	}
}

// An older version's snapshot is restored into a fresh labd of this one, with the uploaded files beside it. That labd is another
// one, with a worker of the same name in its process.
func TestSnapshotOfAnOlderVersion(t *testing.T) {
	t.Parallel()
	older, dir := unpackOlder(t), t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "files"), os.DirFS(filepath.Join(older, "files"))); err != nil {
		t.Fatal(err)
	}
	d := start(t, Config{DataDir: dir, Listen: "127.0.0.1:0"})
	r, err := d.Client().RestoreSnapshot(t.Context(), filepath.Join(older, "labd.snapshot"))
	if err != nil || r.GetLabs() != 1 || r.GetRuns() != 1 || r.GetInputs() != 5 || r.GetFiles() != 1 {
		t.Fatal(r, err)
	}
	wantOlder(t, d.Client(), 4)
}
