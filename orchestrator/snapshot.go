package orchestrator

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
)

const (
	// snapshotVersion is the format that this version writes and the newest that it reads.
	snapshotVersion = 1
	// maxSnapshotRecord bounds one record, so that a damaged length cannot ask for all memory. A run's lab with 10,000
	// nodes is about 3 MB.
	maxSnapshotRecord = 64 << 20
)

// errSnapshotCut is a snapshot that ends before its end record.
var errSnapshotCut = errors.New("it is cut short or damaged")

// snapshot is a state on its way into a file: a stream of length-delimited SnapshotRecords.
type snapshot struct{ view view }

// Persist writes the state out.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := writeSnapshot(sink, s.view); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release has nothing to give back: the state is immutable and collected.
func (s *snapshot) Release() {}

func writeSnapshot(w io.Writer, v view) error {
	out := &snapshotWriter{w: bufio.NewWriter(w)}
	out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Header{
		Header: &controlv1.SnapshotHeader{Version: snapshotVersion}}})
	for _, o := range v.labs() {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Lab{Lab: o}})
	}
	for _, o := range v.runs() {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Run{Run: o}})
	}
	for _, o := range all[controlv1.InputState](v, tableInputs, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Input{Input: o}})
	}
	for _, o := range all[controlv1.FileState](v, tableFiles, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_File{File: o}})
	}
	for _, o := range all[controlv1.RequestState](v, tableRequests, "raft_index") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Request{Request: o}})
	}
	for _, o := range all[controlv1.CounterState](v, tableCounters, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Counter{Counter: o}})
	}
	for _, o := range v.workers() {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Worker{Worker: o}})
	}
	for _, o := range all[controlv1.ClusterState](v, tableCluster, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Cluster{Cluster: o}})
	}
	out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_End{
		End: &controlv1.SnapshotEnd{Records: out.records}}})
	if out.err != nil {
		return out.err
	}
	return out.w.Flush()
}

type snapshotWriter struct {
	w       *bufio.Writer
	records uint64
	err     error // the first one
}

func (s *snapshotWriter) put(r *controlv1.SnapshotRecord) {
	if s.err != nil {
		return
	}
	opts := protodelim.MarshalOptions{MarshalOptions: proto.MarshalOptions{Deterministic: true}}
	_, s.err = opts.MarshalTo(s.w, r)
	s.records++
}

// readSnapshot builds a store from a snapshot.
func readSnapshot(r io.Reader) (*memdb.MemDB, error) {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		return nil, err
	}
	txn := db.Txn(true)
	defer txn.Abort()
	in := bufio.NewReader(r)
	opts := protodelim.UnmarshalOptions{MaxSize: maxSnapshotRecord}
	for records := uint64(0); ; records++ {
		var rec controlv1.SnapshotRecord
		if err := opts.UnmarshalFrom(in, &rec); err != nil {
			return nil, fmt.Errorf("record %d: %w (%w)", records, errSnapshotCut, err)
		}
		if end := rec.GetEnd(); end != nil {
			if end.GetRecords() != records {
				return nil, fmt.Errorf("%d records instead of %d: %w", records, end.GetRecords(), errSnapshotCut)
			}
			txn.Commit()
			return db, nil
		}
		if err := restoreRecord(txn, records, &rec); err != nil {
			return nil, fmt.Errorf("record %d: %w", records, err)
		}
	}
}

func restoreRecord(txn *memdb.Txn, number uint64, rec *controlv1.SnapshotRecord) error {
	if (number == 0) != (rec.GetHeader() != nil) {
		return errSnapshotCut
	}
	switch k := rec.GetKind().(type) {
	case *controlv1.SnapshotRecord_Header:
		if k.Header.GetVersion() > snapshotVersion {
			return fmt.Errorf("version %d is newer than this labd reads (%d)", k.Header.GetVersion(), snapshotVersion)
		}
		return nil
	case *controlv1.SnapshotRecord_Lab:
		return txn.Insert(tableLabs, k.Lab)
	case *controlv1.SnapshotRecord_Run:
		return txn.Insert(tableRuns, k.Run)
	case *controlv1.SnapshotRecord_Input:
		return txn.Insert(tableInputs, k.Input)
	case *controlv1.SnapshotRecord_File:
		return txn.Insert(tableFiles, k.File)
	case *controlv1.SnapshotRecord_Request:
		return txn.Insert(tableRequests, k.Request)
	case *controlv1.SnapshotRecord_Counter:
		return txn.Insert(tableCounters, k.Counter)
	case *controlv1.SnapshotRecord_Cluster:
		return txn.Insert(tableCluster, k.Cluster)
	case *controlv1.SnapshotRecord_Worker:
		return txn.Insert(tableWorkers, k.Worker)
	}
	return errors.New("a kind that this labd does not know")
}
