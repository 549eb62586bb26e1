package orchestrator

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/hashicorp/go-memdb"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
)

const (
	// snapshotVersion is the format that this version writes and the newest that it reads. Since 2 a snapshot ends with a
	// digest; since 3 things have owners, and it has people, tokens and the audit.
	snapshotVersion = 3
	// maxSnapshotRecord bounds one record, so that a damaged length cannot ask for all memory. A run's lab with 10,000
	// nodes is about 3 MB.
	maxSnapshotRecord = 64 << 20
)

// errSnapshotCut is a snapshot that ends before its end record.
var errSnapshotCut = errors.New("it is cut short or damaged")

// errSnapshotNewer is a snapshot of a later format.
var errSnapshotNewer = errors.New("a newer labd has written it")

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
	out := &snapshotWriter{w: bufio.NewWriter(w), sum: sha256.New()}
	out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Header{
		Header: &controlv1.SnapshotHeader{Version: snapshotVersion}}})
	for _, o := range v.labs() {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Lab{Lab: o}})
	}
	for _, o := range v.runs() {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Run{Run: o}})
	}
	for _, row := range v.journals() {
		for _, in := range row.inputs {
			out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Input{Input: in}})
		}
	}
	for _, o := range all[controlv1.FileState](v, tableFiles, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_File{File: o}})
	}
	for _, o := range all[controlv1.FileHolding](v, tableHoldings, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Holding{Holding: o}})
	}
	for _, o := range v.templates() {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Template{Template: o}})
	}
	for _, o := range all[controlv1.InstanceState](v, tableInstances, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Instance{Instance: o}})
	}
	for _, o := range all[controlv1.SubmissionState](v, tableSubmissions, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Submission{Submission: o}})
	}
	for _, o := range v.requests() {
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
	for _, o := range v.people() {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Person{Person: o}})
	}
	for _, o := range all[controlv1.TokenState](v, tableTokens, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Token{Token: o}})
	}
	for _, o := range all[controlv1.QuotaState](v, tableQuotas, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Quota{Quota: o}})
	}
	for _, o := range all[controlv1.AuditState](v, tableAudit, "id") {
		out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Audit{Audit: o}})
	}
	out.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_End{
		End: &controlv1.SnapshotEnd{Records: out.records, Sha256: out.sum.Sum(nil)}}})
	if out.err != nil {
		return out.err
	}
	return out.w.Flush()
}

type snapshotWriter struct {
	w       *bufio.Writer
	sum     hash.Hash // of all records so far
	records uint64
	err     error // the first one
}

func (s *snapshotWriter) put(r *controlv1.SnapshotRecord) {
	if s.err != nil {
		return
	}
	opts := protodelim.MarshalOptions{MarshalOptions: proto.MarshalOptions{Deterministic: true}}
	_, s.err = opts.MarshalTo(io.MultiWriter(s.w, s.sum), r)
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
	rows := &rowsRead{journals: map[string]*journalRow{}, requests: map[string]*requestRow{}}
	in := &recordReader{r: bufio.NewReader(r)}
	sum, version := sha256.New(), uint32(0)
	opts := protodelim.UnmarshalOptions{MaxSize: maxSnapshotRecord}
	for records := uint64(0); ; records++ {
		var rec controlv1.SnapshotRecord
		in.raw = in.raw[:0]
		if err := opts.UnmarshalFrom(in, &rec); err != nil {
			return nil, fmt.Errorf("record %d: %w (%w)", records, errSnapshotCut, err)
		}
		if end := rec.GetEnd(); end != nil {
			if end.GetRecords() != records {
				return nil, fmt.Errorf("%d records instead of %d: %w", records, end.GetRecords(), errSnapshotCut)
			}
			if version > 1 && !bytes.Equal(end.GetSha256(), sum.Sum(nil)) {
				return nil, fmt.Errorf("its digest is another: %w", errSnapshotCut)
			}
			if _, err := in.ReadByte(); err != io.EOF {
				return nil, fmt.Errorf("it goes on behind its end: %w", errSnapshotCut)
			}
			if err := rows.insert(txn); err != nil {
				return nil, err
			}
			txn.Commit()
			return db, nil
		}
		if err := restoreRecord(txn, rows, records, &rec); err != nil {
			return nil, fmt.Errorf("record %d: %w", records, err)
		}
		version = max(version, rec.GetHeader().GetVersion())
		sum.Write(in.raw)
	}
}

// recordReader keeps the bytes of the record that is being read, for the digest.
type recordReader struct {
	r   *bufio.Reader
	raw []byte
}

func (r *recordReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.raw = append(r.raw, p[:n]...)
	return n, err
}

func (r *recordReader) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.raw = append(r.raw, b)
	}
	return b, err
}

func restoreRecord(txn *memdb.Txn, rows *rowsRead, number uint64, rec *controlv1.SnapshotRecord) error {
	if (number == 0) != (rec.GetHeader() != nil) {
		return errSnapshotCut
	}
	switch k := rec.GetKind().(type) {
	case *controlv1.SnapshotRecord_Header:
		if k.Header.GetVersion() > snapshotVersion {
			return fmt.Errorf("%w: its format is version %d, this labd reads %d", errSnapshotNewer, k.Header.GetVersion(), snapshotVersion)
		}
		return nil
	case *controlv1.SnapshotRecord_Lab:
		return txn.Insert(tableLabs, k.Lab)
	case *controlv1.SnapshotRecord_Run:
		return txn.Insert(tableRuns, k.Run)
	case *controlv1.SnapshotRecord_Input:
		return rows.addInput(k.Input)
	case *controlv1.SnapshotRecord_File:
		return txn.Insert(tableFiles, k.File)
	case *controlv1.SnapshotRecord_Holding:
		return txn.Insert(tableHoldings, k.Holding)
	case *controlv1.SnapshotRecord_Template:
		return txn.Insert(tableTemplates, k.Template)
	case *controlv1.SnapshotRecord_Instance:
		return txn.Insert(tableInstances, k.Instance)
	case *controlv1.SnapshotRecord_Submission:
		return txn.Insert(tableSubmissions, k.Submission)
	case *controlv1.SnapshotRecord_Request:
		rows.addRequest(k.Request)
		return nil
	case *controlv1.SnapshotRecord_Counter:
		return txn.Insert(tableCounters, k.Counter)
	case *controlv1.SnapshotRecord_Cluster:
		return txn.Insert(tableCluster, k.Cluster)
	case *controlv1.SnapshotRecord_Worker:
		return txn.Insert(tableWorkers, k.Worker)
	case *controlv1.SnapshotRecord_Person:
		return txn.Insert(tablePeople, k.Person)
	case *controlv1.SnapshotRecord_Token:
		return txn.Insert(tableTokens, k.Token)
	case *controlv1.SnapshotRecord_Quota:
		return txn.Insert(tableQuotas, k.Quota)
	case *controlv1.SnapshotRecord_Audit:
		return txn.Insert(tableAudit, k.Audit)
	}
	return errors.New("a kind that this labd does not know")
}

// rowsRead are the rows of which a snapshot has a record for each element.
type rowsRead struct {
	journals map[string]*journalRow
	requests map[string]*requestRow
}

func (r *rowsRead) addInput(in *controlv1.InputState) error {
	row := r.journals[in.GetLabId()]
	if row == nil {
		row = &journalRow{labID: in.GetLabId()}
		r.journals[row.labID] = row
	}
	row.inputs = append(row.inputs, in)
	if in.GetEntry().GetIndex() != uint64(len(row.inputs)) {
		return fmt.Errorf("input %d of %s follows input %d", in.GetEntry().GetIndex(), row.labID, len(row.inputs)-1)
	}
	return nil
}

func (r *rowsRead) addRequest(past *controlv1.RequestState) {
	key := requestRowKey(past.GetRequestId())
	r.requests[key] = r.requests[key].with(past)
}

func (r *rowsRead) insert(txn *memdb.Txn) error {
	for _, id := range slices.Sorted(maps.Keys(r.journals)) {
		if err := txn.Insert(tableJournals, r.journals[id]); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.requests)) {
		if err := txn.Insert(tableRequests, r.requests[key]); err != nil {
			return err
		}
	}
	return nil
}
