package orchestrator

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// maxBackup bounds a snapshot that is given back: 100,000 labs of 20 nodes are about 1 GB.
	maxBackup = 4 << 30
	// backupChunk is how much of a snapshot goes into one message.
	backupChunk = 256 << 10
	// restoreTimeout bounds the time in which the servers take a snapshot over.
	restoreTimeout = 5 * time.Minute
)

// ReadSnapshot streams the state as it is, in the form in which Raft keeps it.
func (s *clusterService) ReadSnapshot(_ *labv1.ReadSnapshotRequest, out grpc.ServerStreamingServer[labv1.ReadSnapshotResponse]) error {
	if _, err := s.c.leader(out.Context()); err != nil {
		return err
	}
	w := &chunkWriter{send: func(p []byte) error { return out.Send(&labv1.ReadSnapshotResponse{Data: p}) }}
	if err := writeSnapshot(w, s.c.store.view()); err != nil {
		return err
	}
	return w.flush()
}

// chunkWriter sends what is written to it in messages of one size.
type chunkWriter struct {
	send func([]byte) error
	buf  []byte
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), backupChunk-len(w.buf))
		w.buf, p = append(w.buf, p[:take]...), p[take:]
		if len(w.buf) == backupChunk {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *chunkWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.send(w.buf)
	w.buf = nil // the message has it
	return err
}

// RestoreSnapshot puts a saved state into place of the present one. It is kept on disk, and read through to its end, before
// anything changes.
func (s *clusterService) RestoreSnapshot(in grpc.ClientStreamingServer[labv1.RestoreSnapshotRequest, labv1.RestoreSnapshotResponse]) error {
	if _, err := s.c.leader(in.Context()); err != nil {
		return err
	}
	file, err := os.CreateTemp(s.c.conf.FilesDir, incomingPattern)
	if err != nil {
		return storageError(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := receiveBackup(in, file); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return storageError(err)
	}
	resp, err := s.c.restore(in.Context(), file)
	if err != nil {
		return err
	}
	return in.SendAndClose(resp)
}

func receiveBackup(in grpc.ClientStreamingServer[labv1.RestoreSnapshotRequest, labv1.RestoreSnapshotResponse], to io.Writer) error {
	size := 0
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if size += len(m.GetData()); size > maxBackup {
			return overQuota("bytes of a snapshot", maxBackup)
		}
		if _, err := to.Write(m.GetData()); err != nil {
			return storageError(err)
		}
	}
}

// restore makes a saved state the cluster's. Labs and runs in it get epochs beyond all that were ever given out here, so that
// what workers still run of them counts no more.
func (c *Controller) restore(ctx context.Context, from io.Reader) (*labv1.RestoreSnapshotResponse, error) {
	saved, err := readSnapshot(from)
	if err != nil {
		return nil, badSnapshot(err)
	}
	v := view{txn: saved.Txn(false)}
	resp := &labv1.RestoreSnapshotResponse{Labs: uint64(len(v.labs())), Runs: uint64(len(v.runs())),
		Files: uint64(len(all[controlv1.FileState](v, tableFiles, "id")))}
	for _, row := range v.journals() {
		resp.Inputs += uint64(len(row.inputs))
	}
	if err := raiseEpochs(saved, highestEpoch(c.store.view())); err != nil {
		return nil, err
	}
	if err := keepLease(saved, c.store.view().lease()); err != nil {
		return nil, err
	}
	addAudit(saved, c.store.view())
	state, size, err := c.rewritten(view{txn: saved.Txn(false)})
	if err != nil {
		return nil, err
	}
	defer state.Close()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := c.node.raft.Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: size}, state, restoreTimeout); err != nil {
		return nil, proposalError(err)
	}
	c.log.Warn("the state was replaced by a snapshot", "labs", resp.GetLabs(), "runs", resp.GetRuns())
	c.leadAnew()
	return resp, nil
}

// rewritten is a state as a snapshot on disk, without a name there: Raft wants to know its size before it reads it.
func (c *Controller) rewritten(v view) (*os.File, int64, error) {
	f, err := os.CreateTemp(c.conf.FilesDir, incomingPattern)
	if err != nil {
		return nil, 0, storageError(err)
	}
	err = writeSnapshot(f, v)
	size, seekErr := f.Seek(0, io.SeekCurrent)
	_, rewindErr := f.Seek(0, io.SeekStart)
	if err := errors.Join(err, seekErr, rewindErr, os.Remove(f.Name())); err != nil {
		return nil, 0, storageError(errors.Join(err, f.Close()))
	}
	return f, size, nil
}

// badSnapshot says what is wrong with a snapshot that was given back.
func badSnapshot(err error) error {
	if errors.Is(err, errSnapshotNewer) {
		return refuse(labv1.ErrorReason_ERROR_REASON_SNAPSHOT_NEWER, "the snapshot: %v; nothing was changed", err)
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_SNAPSHOT_DAMAGED, "the snapshot: %v; nothing was changed", err)
}

func highestEpoch(v view) uint64 {
	highest := uint64(0)
	for _, lab := range v.labs() {
		highest = max(highest, lab.GetEpoch())
	}
	for _, run := range v.runs() {
		highest = max(highest, run.GetEpoch())
	}
	return highest
}

// raiseEpochs adds to the epochs of all labs and runs that live.
func raiseEpochs(db *memdb.MemDB, by uint64) error {
	txn := db.Txn(true)
	defer txn.Abort()
	v := view{txn: txn}
	for _, lab := range v.labs() {
		if err := txn.Insert(tableLabs, with(lab, func(l *controlv1.LabState) { l.Epoch += by })); err != nil {
			return err
		}
	}
	for _, run := range v.runs() {
		if err := txn.Insert(tableRuns, with(run, func(r *controlv1.RunState) { r.Epoch += by })); err != nil {
			return err
		}
	}
	txn.Commit()
	return nil
}

// keepLease gives a state the lease that workers hold now, whatever it says.
func keepLease(db *memdb.MemDB, lease time.Duration) error {
	txn := db.Txn(true)
	defer txn.Abort()
	for _, cluster := range all[controlv1.ClusterState](view{txn: txn}, tableCluster, "id") {
		if err := txn.Insert(tableCluster, with(cluster, func(c *controlv1.ClusterState) { c.LeaseNs = int64(lease) })); err != nil {
			return err
		}
	}
	txn.Commit()
	return nil
}

// addAudit adds to a state what the audit says now: who gives back a snapshot takes nothing out of the audit by that. Of two
// clusters' entries under one index the one of this cluster stays.
func addAudit(db *memdb.MemDB, now view) {
	txn := db.Txn(true)
	defer txn.Abort()
	a := &applier{txn: txn, view: view{txn: txn}}
	for _, e := range all[controlv1.AuditState](now, tableAudit, "id") {
		if found, err := txn.First(tableAudit, "id", e.GetResult() != resultOK, e.GetIndex(), e.GetPart()); err == nil && found != nil {
			a.insert(tableAudit, e)
			continue
		}
		a.index = e.GetIndex()
		a.keepAudit(with(e, func(*controlv1.AuditState) {}), e.GetPart())
	}
	txn.Commit()
}
