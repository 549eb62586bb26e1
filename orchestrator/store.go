package orchestrator

import (
	"fmt"
	"maps"
	"sync"

	"github.com/hashicorp/go-memdb"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Tables of the store. Objects are the messages of proto/control/v1/state.proto and are never changed once inserted: a
// change inserts a changed copy.
const (
	tableLabs     = "labs"     // *controlv1.LabState by id, by owner and name, and by member
	tableRuns     = "runs"     // *controlv1.RunState by id, and by owner and number
	tableJournals = "journals" // *journalRow by lab id
	tableFiles    = "files"    // *controlv1.FileState by SHA-256
	tableHoldings = "holdings" // *controlv1.FileHolding by owner and SHA-256, and by SHA-256
	tableRequests = "requests" // *requestRow by what the requests' ids fall to
	tableCounters = "counters" // *controlv1.CounterState by name
	tableWorkers  = "workers"  // *controlv1.WorkerState by name
	tableCluster  = "cluster"  // *controlv1.ClusterState, the one there is
	tablePeople   = "people"   // *controlv1.PersonState by name
	tableTokens   = "tokens"   // *controlv1.TokenState by id, and by person and time
	tableQuotas   = "quotas"   // *controlv1.QuotaState by person or role
	tableAudit    = "audit"    // *controlv1.AuditState by whether it is of a refusal, log index and part

	tableTemplates   = "templates"   // *controlv1.TemplateState by name
	tableInstances   = "instances"   // *controlv1.InstanceState by template and person, and by lab id
	tableSubmissions = "submissions" // *controlv1.SubmissionState by template, person and whether it is late
)

// Counters.
const (
	counterLabs       = "labs"        // kept
	counterRuns       = "runs"        // kept
	counterRunNumbers = "run_numbers" // ever made, of each owner
	counterFiles      = "files"       // kept, in all and of each owner
	counterFileBytes  = "file_bytes"  // kept, in all and of each owner
	counterWorkers    = "workers"     // known
	counterPeople     = "people"      // known
)

func schema() *memdb.DBSchema {
	byKey := func(table, field string) *memdb.IndexSchema {
		return &memdb.IndexSchema{Name: "id", Unique: true, Indexer: stringKey{table: table, field: field}}
	}
	tables := map[string]*memdb.TableSchema{
		tableLabs: {Name: tableLabs, Indexes: map[string]*memdb.IndexSchema{
			"id":     byKey(tableLabs, "id"),
			"name":   {Name: "name", Unique: true, Indexer: ownedKey{}},
			"member": {Name: "member", AllowMissing: true, Indexer: memberKey{}},
		}},
		tableRuns: {Name: tableRuns, Indexes: map[string]*memdb.IndexSchema{
			"id":     byKey(tableRuns, "id"),
			"number": {Name: "number", Unique: true, Indexer: ownedNumberKey{}},
		}},
		tableJournals: {Name: tableJournals, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tableJournals, "lab_id")}},
		tableFiles:    {Name: tableFiles, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tableFiles, "sha256")}},
		tableHoldings: {Name: tableHoldings, Indexes: map[string]*memdb.IndexSchema{
			"id":     {Name: "id", Unique: true, Indexer: ownedKey{}},
			"sha256": {Name: "sha256", Indexer: stringKey{table: tableHoldings, field: "sha256"}},
		}},
		tableRequests: {Name: tableRequests, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tableRequests, "key")}},
		tableCounters: {Name: tableCounters, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tableCounters, "name")}},
		tableCluster:  {Name: tableCluster, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tableCluster, "cluster_id")}},
		tableQuotas:   {Name: tableQuotas, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tableQuotas, "holder")}},
		tablePeople:   {Name: tablePeople, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tablePeople, "name")}},
		tableTokens: {Name: tableTokens, Indexes: map[string]*memdb.IndexSchema{
			"id":     byKey(tableTokens, "id"),
			"person": {Name: "person", Unique: true, Indexer: personsTokenKey{}},
		}},
		tableAudit:   {Name: tableAudit, Indexes: map[string]*memdb.IndexSchema{"id": {Name: "id", Unique: true, Indexer: auditKey{}}}},
		tableWorkers: {Name: tableWorkers, Indexes: map[string]*memdb.IndexSchema{"id": byKey(tableWorkers, "name")}},
	}
	maps.Copy(tables, classTables())
	return &memdb.DBSchema{Tables: tables}
}

// stringKey indexes objects by one of their strings.
type stringKey struct{ table, field string }

func (k stringKey) FromObject(obj any) (bool, []byte, error) {
	var key string
	switch o := obj.(type) {
	case *controlv1.LabState:
		key = o.GetId()
	case *controlv1.RunState:
		key = o.GetId()
	case *controlv1.FileState:
		key = o.GetSha256()
	case *controlv1.FileHolding:
		key = o.GetSha256()
	case *journalRow:
		key = o.labID
	case *requestRow:
		key = o.key
	case *controlv1.CounterState:
		key = o.GetName()
	case *controlv1.WorkerState:
		key = o.GetName()
	case *controlv1.ClusterState:
		key = o.GetClusterId()
	case *controlv1.PersonState:
		key = o.GetName()
	case *controlv1.TokenState:
		key = o.GetId()
	case *controlv1.TemplateState:
		key = o.GetName()
	case *controlv1.QuotaState:
		key = o.GetHolder()
	default:
		return false, nil, fmt.Errorf("table %s: object of type %T", k.table, obj)
	}
	return key != "", terminated(key), nil
}

func (stringKey) FromArgs(args ...any) ([]byte, error) {
	key, ok := oneArg[string](args)
	if !ok {
		return nil, fmt.Errorf("want one string, have %v", args)
	}
	return terminated(key), nil
}

// terminated ends a key with a zero byte, so that no key is another's prefix.
func terminated(key string) []byte { return append([]byte(key), 0) }

func oneArg[T any](args []any) (T, bool) {
	if len(args) != 1 {
		var zero T
		return zero, false
	}
	v, ok := args[0].(T)
	return v, ok
}

// Store is the state that the log's commands have made. Reading needs no lock: a reader sees one consistent state.
type Store struct {
	mu sync.RWMutex // guards db, which a restored snapshot replaces as a whole
	db *memdb.MemDB
	// replaced is closed when db is replaced, so that whoever watches the old one looks again.
	replaced chan struct{}
}

func newStore() (*Store, error) {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return &Store{db: db, replaced: make(chan struct{})}, nil
}

func (s *Store) current() (*memdb.MemDB, <-chan struct{}) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.db, s.replaced
}

// replace swaps in a restored state and wakes all who watch the old one.
func (s *Store) replace(db *memdb.MemDB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.replaced)
	s.db, s.replaced = db, make(chan struct{})
}

// view is one consistent state to read from.
type view struct{ txn *memdb.Txn }

func (s *Store) view() view {
	db, _ := s.current()
	return view{txn: db.Txn(false)}
}

// get finds the object of a key, nil if there is none.
func get[T any](v view, table, index string, args ...any) *T {
	obj, err := v.txn.First(table, index, args...)
	if err != nil {
		panic(fmt.Sprintf("store: %s by %s: %v", table, index, err)) // the schema and its use disagree
	}
	found, _ := obj.(*T)
	return found
}

// all lists a table in the order of an index.
func all[T any](v view, table, index string) []*T {
	var list []*T
	it := v.list(table, index)
	for obj := it.Next(); obj != nil; obj = it.Next() {
		list = append(list, obj.(*T))
	}
	return list
}

func (v view) list(table, index string) memdb.ResultIterator {
	it, err := v.txn.LowerBound(table, index, lowestKey(table, index)...)
	if err != nil {
		panic(fmt.Sprintf("store: %s by %s: %v", table, index, err))
	}
	return it
}

// lowestKey is a key that precedes every other of an index.
func lowestKey(table, index string) []any {
	switch {
	case table == tableRuns && index == "number":
		return []any{"", uint64(0)}
	case table == tableAudit:
		return []any{false, uint64(0)}
	case table == tableLabs && index == "name", index == "id" && (table == tableHoldings || table == tableInstances || table == tableSubmissions):
		return []any{"", ""}
	}
	return []any{""}
}

func (v view) lab(id string) *controlv1.LabState {
	return get[controlv1.LabState](v, tableLabs, "id", id)
}

// labs lists all labs, by owner and name.
func (v view) labs() []*controlv1.LabState { return all[controlv1.LabState](v, tableLabs, "name") }

func (v view) run(id string) *controlv1.RunState {
	return get[controlv1.RunState](v, tableRuns, "id", id)
}

// runs lists all runs, those of each owner in the order they were made.
func (v view) runs() []*controlv1.RunState { return all[controlv1.RunState](v, tableRuns, "number") }

func (v view) file(sha256 string) *controlv1.FileState {
	return get[controlv1.FileState](v, tableFiles, "id", sha256)
}

func (v view) worker(name string) *controlv1.WorkerState {
	return get[controlv1.WorkerState](v, tableWorkers, "id", name)
}

func (v view) workers() []*controlv1.WorkerState {
	return all[controlv1.WorkerState](v, tableWorkers, "id")
}

// clusterID is the cluster's id; empty before its first leader has given it one.
func (v view) clusterID() string {
	for _, c := range all[controlv1.ClusterState](v, tableCluster, "id") {
		return c.GetClusterId()
	}
	return ""
}

func (v view) counter(name string) uint64 {
	return get[controlv1.CounterState](v, tableCounters, "id", name).GetValue()
}

// faultsOf finds the faults of a lab's journal by their ids; the journal is read when the first is asked for.
func (v view) faultsOf(lab string) func(id string) *labv1.Fault {
	var faults map[string]*labv1.Fault
	return func(id string) *labv1.Fault {
		if faults == nil {
			faults = make(map[string]*labv1.Fault)
			v.eachInput(lab, 0, func(in *controlv1.InputState) bool {
				if f := in.GetEntry().GetInput().GetFault(); f != nil {
					faults[f.GetId()] = f
				}
				return true
			})
		}
		return faults[id]
	}
}

// watchRun gives a run and a channel that is closed when it may have changed.
func (s *Store) watchRun(id string) (*controlv1.RunState, memdb.WatchSet) {
	obj, ws := s.watch(tableRuns, id)
	run, _ := obj.(*controlv1.RunState)
	return run, ws
}

func (s *Store) watch(table, id string) (any, memdb.WatchSet) {
	db, replaced := s.current()
	ws := memdb.NewWatchSet()
	ws.Add(replaced)
	ch, obj, err := db.Txn(false).FirstWatch(table, "id", id)
	if err != nil {
		panic(fmt.Sprintf("store: %s %s: %v", table, id, err))
	}
	ws.Add(ch)
	return obj, ws
}
