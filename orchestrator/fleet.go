package orchestrator

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"labd.dev/internal/shards"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// Leases. A worker runs its labs only while it holds one, by its own monotonic clock and counted from when it sent the
// report that the lease answers; its leader counts from when it received that report, which is later, and waits a margin
// longer. So a worker has stopped its labs before anybody else is given them, whatever is lost or late in between.
const (
	// defaultLease is the lease that workers are granted. A worker whose machine gives it no core, or whose disk holds it up, for
	// so long loses its labs, and each is rebuilt from its beginning: on busy machines that takes seconds, and a lab that moves
	// for nothing costs more than one that waits ten seconds for a worker that is dead.
	defaultLease = 10 * time.Second
	// reportsPerLease is how many reports a worker sends in the time of a lease.
	reportsPerLease = 10
	// leaseMargin is the part of a lease by which a leader waits longer: clocks that run apart by a quarter are broken.
	leaseMargin = 4
	// reportsMissed is after how many reports that did not come a worker is said to be away, and not asked.
	reportsMissed = 3
)

// fleet is the workers as a leading server knows them: who is there, how busy, and until when its lease may run.
type fleet struct {
	lease time.Duration
	dial  func(address string) (workerv1.WorkerServiceClient, io.Closer, error)

	mu    sync.Mutex // guards all below: registrations are served at the same time
	sites map[string]*site
	next  uint64 // number of the last registration
	over  bool   // its leadership is: who registers is let in by the next
	conns sync.WaitGroup
}

// site is a worker as its leader knows it.
type site struct {
	name     string
	instance string
	client   workerv1.WorkerServiceClient // nil: not registered with this leader
	conn     io.Closer                    // of client; nil: not ours
	session  uint64                       // the registration whose stream lasts; 0: none
	forever  bool                         // in this process: it needs no lease
	heard    time.Time                    // its lease does not run beyond this and a lease
	leaving  bool                         // it has said that it goes
	report   *workerv1.WorkerReport       // the last one; nil: none yet
	fresh    int                          // labs given to it since
	full     time.Time                    // it has had no room then; zero: it has
	lapsed   bool                         // its labs are being given away: it is granted nothing more
	recorded recordings                   // on its disk
}

func newFleet(lease time.Duration, dial func(string) (workerv1.WorkerServiceClient, io.Closer, error)) *fleet {
	return &fleet{lease: lease, dial: dial, sites: make(map[string]*site)}
}

// expect begins the grace of the workers that were up under a leader before: their leases may still run.
func (f *fleet) expect(workers []*controlv1.WorkerState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range workers {
		if w.GetUp() && f.sites[w.GetName()] == nil {
			f.sites[w.GetName()] = &site{name: w.GetName(), instance: w.GetInstance(), heard: time.Now()}
		}
	}
}

// joinLocal takes in the worker of this process.
func (f *fleet) joinLocal(name, instance string, client workerv1.WorkerServiceClient) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	f.sites[name] = &site{name: name, instance: instance, client: client, session: f.next, forever: true, heard: time.Now()}
}

// admissible refuses a worker whose place another process may still hold.
func (f *fleet) admissible(h *workerv1.WorkerHello) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[h.GetName()]
	// A process that was killed has lost its stream, and with it goes the lock on the data directory that has the id.
	if s != nil && s.session != 0 && s.instance != h.GetInstance() {
		return refuse(labv1.ErrorReason_ERROR_REASON_WORKER_ID_IN_USE,
			"a process of worker %q, with its name and id, is registered already; if it is gone, its lease runs out within %v", h.GetName(), f.lease+f.margin())
	}
	return s.givenUp()
}

// givenUp refuses a worker that is being recorded as down. Let in before that is done, it would be granted a lease and
// given labs that others are then given as well.
func (s *site) givenUp() error {
	if s != nil && s.lapsed {
		return refuse(labv1.ErrorReason_ERROR_REASON_WORKER_AWAY, "worker %q is just being recorded as down; try again", s.name)
	}
	return nil
}

// lease is the one that this server would found a cluster with.
func (c *Controller) lease() time.Duration { return cmp.Or(c.conf.Lease, defaultLease) }

// lease is the one that the cluster's workers are granted, whoever leads: a leader that waited for less than the one before
// has granted would give labs away that still run.
func (v view) lease() time.Duration {
	for _, c := range all[controlv1.ClusterState](v, tableCluster, "id") {
		return cmp.Or(time.Duration(c.GetLeaseNs()), defaultLease)
	}
	return defaultLease
}

func (f *fleet) margin() time.Duration { return f.lease / leaseMargin }

// join takes in a worker that Raft knows to be up. It gives the number of the registration.
func (f *fleet) join(h *workerv1.WorkerHello) (uint64, error) {
	client, conn, err := f.dial(h.GetAddress())
	if err != nil {
		return 0, refuse(labv1.ErrorReason_ERROR_REASON_WORKER, "worker %q cannot be reached at %q: %v", h.GetName(), h.GetAddress(), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[h.GetName()]
	err = s.givenUp()
	if f.over {
		err = notLeading()
	}
	if err != nil {
		conn.Close()
		return 0, err
	}
	if s != nil {
		s.hangUp(f)
	}
	f.next++
	f.sites[h.GetName()] = &site{name: h.GetName(), instance: h.GetInstance(), client: client, conn: conn, session: f.next, heard: time.Now()}
	return f.next, nil
}

// hangUp ends the connection to a worker. It closes beside: calls that end by it must not wait for the fleet's lock.
func (s *site) hangUp(f *fleet) {
	if conn := s.conn; conn != nil {
		s.conn, s.client = nil, nil
		f.conns.Go(func() { conn.Close() })
	}
}

// heard notes a report; false: the registration counts no more.
func (f *fleet) heard(name string, session uint64, r *workerv1.WorkerReport) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sites[name]
	if s == nil || s.session != session || s.lapsed {
		return false
	}
	s.heard, s.report, s.fresh, s.leaving = time.Now(), r, 0, r.GetLeaving()
	return true
}

// gone notes that a registration's stream has ended. Its worker's lease runs on.
func (f *fleet) gone(name string, session uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[name]; s != nil && s.session == session {
		s.session = 0
	}
}

// lapse is a worker that is down: its lease has run out for sure, or it has said that it goes.
type lapse struct {
	name, instance, reason string
	left                   bool // it has said that it goes
}

// lapsed lists the workers whose labs may be given away. From then on they are granted nothing, until that is recorded.
func (f *fleet) lapsed() []lapse {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []lapse
	for _, name := range slices.Sorted(maps.Keys(f.sites)) {
		s := f.sites[name]
		silent := time.Since(s.heard)
		switch {
		case s.forever:
		case s.leaving:
			s.lapsed = true
			list = append(list, lapse{name: s.name, instance: s.instance, reason: "it left", left: true})
		case silent > f.lease+f.margin():
			s.lapsed = true
			list = append(list, lapse{name: s.name, instance: s.instance,
				reason: fmt.Sprintf("it was not heard of for %v", silent.Round(time.Second))})
		}
	}
	return list
}

// forget drops a worker that is down.
func (f *fleet) forget(name, instance string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[name]; s != nil && s.instance == instance {
		s.hangUp(f)
		delete(f.sites, name)
	}
}

// away tells that a worker does not answer just now.
func (f *fleet) away(s *site) bool {
	return s.client == nil || s.lapsed || !s.forever && (s.session == 0 || time.Since(s.heard) > reportsMissed*f.lease/reportsPerLease)
}

// client gives the way to a worker.
func (f *fleet) client(name string) (workerv1.WorkerServiceClient, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[name]; s != nil && s.client != nil {
		return s.client, nil
	}
	return nil, refuse(labv1.ErrorReason_ERROR_REASON_WORKER_AWAY, "worker %q does not answer", name)
}

// group gives the way to the workers that a lab is assigned to, as one.
func (f *fleet) group(workers []string) (workerv1.WorkerServiceClient, error) {
	if len(workers) == 0 {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NO_WORKER, "no worker has the lab now")
	}
	var all shards.Client
	for _, name := range workers {
		client, err := f.client(name)
		if err != nil {
			return nil, err
		}
		all = append(all, client)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// present lists the workers that can be asked.
func (f *fleet) present() map[string]workerv1.WorkerServiceClient {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := make(map[string]workerv1.WorkerServiceClient)
	for name, s := range f.sites {
		if !f.away(s) {
			there[name] = s.client
		}
	}
	return there
}

// fullFor is how long a worker that had no room for a lab is not asked again.
const fullFor = 10 * time.Second

func (f *fleet) isFull(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.sites[name]; s != nil {
		s.full = time.Now()
	}
}

// candidates lists the workers that take labs, with how busy they are.
func (f *fleet) candidates(v view) []candidate {
	promised, labs := promises(v)
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []candidate
	for _, w := range v.workers() {
		s := f.sites[w.GetName()]
		if !w.GetUp() || w.GetDraining() || s == nil || f.away(s) || s.leaving || !s.full.IsZero() && time.Since(s.full) < fullFor {
			continue
		}
		list = append(list, candidate{name: w.GetName(), memory: w.GetMemoryBytes(), cores: w.GetCores(),
			used:  max(s.report.GetMemoryBytes(), promised[w.GetName()]),
			alone: w.GetAddress() == "", events: s.report.GetEventsPerS(), fresh: s.fresh, labs: labs[w.GetName()], disk: s.report.GetDiskFreeBytes()})
	}
	return list
}

// promises sums up what the labs of each worker have been promised.
func promises(v view) (memory map[string]uint64, labs map[string]int) {
	memory, labs = make(map[string]uint64), make(map[string]int)
	add := func(workers []string, spec *labv1.LabSpec) {
		for _, w := range workers {
			memory[w] += memoryOf(spec) / uint64(len(workers))
			labs[w]++
		}
	}
	for _, lab := range v.labs() {
		add(lab.GetWorkers(), presentSpec(lab))
	}
	for _, run := range v.runs() {
		if live(run) {
			add(run.GetWorkers(), run.GetSpec())
		}
	}
	return memory, labs
}

// given notes that a lab goes to workers whose load does not tell of it yet.
func (f *fleet) given(workers []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range workers {
		if s := f.sites[name]; s != nil {
			s.fresh++
		}
	}
}

// close ends the connections.
func (f *fleet) close() {
	f.mu.Lock()
	f.over = true
	for _, s := range f.sites {
		s.session = 0
		s.hangUp(f)
	}
	f.mu.Unlock()
	f.conns.Wait()
}
