package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// leasedWorker is a worker of a proof: it registers, holds a lease on the bubble's clock, and keeps to the rules that the
// real one keeps to (node/worker: start, stamp, commit, tenure), but what a lab does is only its journal.
type leasedWorker struct {
	*fakeWorker
	c        *bubble
	name     string
	instance string
	term     uint64 // of the leader that it follows; guarded as the labs are

	ctx    context.Context // ends when the process is killed
	cancel context.CancelFunc
	all    sync.WaitGroup
	server *grpc.Server

	lease sync.Mutex    // guards what is below
	until time.Time     // its right to run labs
	awake chan struct{} // closed while the process is not stopped
}

// newModel starts a worker's process.
func (c *bubble) newModel(name string) *leasedWorker {
	w := &leasedWorker{fakeWorker: newFakeWorker(), c: c, name: name, instance: fmt.Sprint(c.instances), awake: make(chan struct{})}
	close(w.awake)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	pipe := bufconn.Listen(1 << 16)
	w.server = grpc.NewServer(grpc.UnaryInterceptor(w.unary), grpc.StreamInterceptor(w.stream))
	workerv1.RegisterWorkerServiceServer(w.server, w)
	w.all.Go(func() { w.server.Serve(pipe) })
	c.ways.set(w.address(), &end{accept: func(ctx context.Context) (net.Conn, error) { return pipe.DialContext(ctx) }})
	w.all.Go(w.register)
	w.all.Go(w.watchLease)
	return w
}

func (w *leasedWorker) dead() bool { return w.ctx.Err() != nil }

func (w *leasedWorker) hosts() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.labs) > 0
}

// holdsLab complains unless the worker runs a lab under an epoch and has been given all its journal.
func (w *leasedWorker) holdsLab(lab *controlv1.LabState, journal []*labv1.JournalEntry) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.labs[lab.GetId()]
	if l == nil || !l.running || l.start.GetEpoch() != lab.GetEpoch() {
		w.c.complain("lab %s does not run at %s under epoch %d: %v", lab.GetId(), w.name, lab.GetEpoch(), l)
		return nil
	}
	if got, want := tagsOf(l.journal()), tagsOf(journal); got != want {
		w.c.complain("lab %s has had [%s] at %s, its journal has [%s]", lab.GetId(), got, w.name, want)
	}
	return nil
}

func (w *leasedWorker) address() string { return w.name + ":1" }

// kill ends the process: whatever it had is gone.
func (w *leasedWorker) kill() {
	w.resume()
	w.c.ways.set(w.address(), nil)
	w.cancel()
	w.mu.Lock()
	for id := range w.labs {
		w.c.runs.ends(id, w.name)
		delete(w.labs, id)
	}
	w.mu.Unlock()
	w.server.Stop()
	w.all.Wait()
}

// stop and resume are SIGSTOP and SIGCONT.
func (w *leasedWorker) stop() {
	w.lease.Lock()
	defer w.lease.Unlock()
	select {
	case <-w.awake:
		w.awake = make(chan struct{})
	default: // it is stopped already
	}
}

func (w *leasedWorker) resume() {
	w.lease.Lock()
	defer w.lease.Unlock()
	select {
	case <-w.awake:
	default:
		close(w.awake)
	}
}

// breathe waits while the process is stopped. A lease that has run out meanwhile is noticed before anything else is done.
func (w *leasedWorker) breathe() {
	w.lease.Lock()
	awake := w.awake
	w.lease.Unlock()
	select {
	case <-awake:
	case <-w.ctx.Done():
	}
	if !w.holds() {
		w.fence()
	}
}

func (w *leasedWorker) holds() bool {
	w.lease.Lock()
	defer w.lease.Unlock()
	return time.Now().Before(w.until)
}

func (w *leasedWorker) rightUntil() time.Time {
	w.lease.Lock()
	defer w.lease.Unlock()
	return w.until
}

// fence stops all labs.
func (w *leasedWorker) fence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, lab := range w.labs {
		if lab.running {
			lab.running = false
			lab.touch()
			w.c.runs.ends(id, w.name)
		}
	}
}

func (w *leasedWorker) watchLease() {
	for w.ctx.Err() == nil {
		left := time.Until(w.rightUntil())
		if left <= 0 {
			w.fence()
			left = 100 * time.Millisecond
		}
		pause(w.ctx, left)
		w.breathe()
	}
}

func (w *leasedWorker) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	w.breathe()
	if w.c.losses.loses(info.FullMethod, false) {
		return nil, errLost
	}
	resp, err := handle(ctx, req)
	w.breathe() // the process may have been stopped before it answered
	if w.c.losses.loses(info.FullMethod, true) {
		return nil, errLost
	}
	return resp, err
}

func (w *leasedWorker) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	w.breathe()
	return handle(srv, ss)
}

// register keeps the worker registered at whoever leads.
func (w *leasedWorker) register() {
	servers := w.c.addresses()
	for n := rand.IntN(len(servers)); w.ctx.Err() == nil; n++ {
		w.breathe()
		w.member(servers[n%len(servers)])
		pause(w.ctx, 200*time.Millisecond)
	}
}

// member registers at one server, and reports until that comes to its end.
func (w *leasedWorker) member(server string) {
	conn, err := w.c.grpc(w.address(), server)
	if err != nil {
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	stream, err := workerv1.NewRegistryServiceClient(conn).Register(ctx)
	if err != nil {
		return
	}
	h := hello(w.name)
	h.Instance, h.Address = w.instance, w.address()
	if stream.Send(&workerv1.RegisterRequest{Message: &workerv1.RegisterRequest_Hello{Hello: h}}) != nil {
		return
	}
	first, err := stream.Recv()
	if err != nil {
		return
	}
	w.mu.Lock()
	w.term = max(w.term, first.GetWelcome().GetTerm())
	w.mu.Unlock()
	var mu sync.Mutex // guards sent
	sent := make(map[uint64]time.Time)
	w.all.Go(func() {
		defer cancel()
		// A server that answers no report is left, in time to find another one.
		silence := time.AfterFunc(bubbleLease, cancel)
		defer silence.Stop()
		for {
			m, err := stream.Recv()
			w.breathe()
			silence.Reset(bubbleLease / 2)
			if err != nil {
				return
			}
			mu.Lock()
			at := sent[m.GetGrant().GetSequence()]
			delete(sent, m.GetGrant().GetSequence())
			mu.Unlock()
			w.granted(at, time.Duration(m.GetGrant().GetLeaseNs()))
		}
	})
	for n := uint64(1); ctx.Err() == nil; n++ {
		w.breathe()
		mu.Lock()
		sent[n] = time.Now()
		mu.Unlock()
		r := w.report()
		r.Sequence = n
		if stream.Send(&workerv1.RegisterRequest{Message: &workerv1.RegisterRequest_Report{Report: r}}) != nil {
			return
		}
		pause(ctx, time.Duration(first.GetWelcome().GetReportEveryNs()))
	}
}

func (w *leasedWorker) report() *workerv1.WorkerReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &workerv1.WorkerReport{}
	for id, lab := range w.labs {
		if lab.running {
			r.Labs = append(r.Labs, &workerv1.LabReport{LabId: id, Epoch: lab.start.GetEpoch(), ReachedNs: lab.now})
		}
	}
	return r
}

// granted lets the worker go on for a lease from when the report went out that it answers.
func (w *leasedWorker) granted(at time.Time, lease time.Duration) {
	if w.c.how == leaseTooLong {
		lease *= 2
	}
	if !w.holds() {
		w.fence()
	}
	w.lease.Lock()
	if to := at.Add(lease); to.After(w.until) {
		w.until = to
	}
	until := w.until
	w.lease.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, lab := range w.labs {
		if lab.running {
			w.c.runs.holds(id, w.name, until)
		}
	}
}

func (w *leasedWorker) leased() error {
	if w.holds() && w.ctx.Err() == nil {
		return nil
	}
	return status.Error(codes.Unavailable, "this worker holds no lease now")
}

// at finds a lab under an epoch. The caller holds mu.
func (w *leasedWorker) at(id string, epoch uint64) (*fakeLab, error) {
	lab, err := w.find(id)
	if err == nil && lab.start.GetEpoch() != epoch {
		return nil, status.Errorf(codes.Aborted, "stale epoch: the lab runs under epoch %d, not %d", lab.start.GetEpoch(), epoch)
	}
	return lab, err
}

func (w *leasedWorker) StartLab(ctx context.Context, req *workerv1.StartLabRequest) (*workerv1.StartLabResponse, error) {
	w.mu.Lock()
	old, follows := w.labs[req.GetLabId()], w.term
	w.mu.Unlock()
	if err := w.leased(); err != nil {
		return nil, err
	}
	if req.GetTerm() < follows {
		return nil, status.Error(codes.Aborted, "stale term")
	}
	if old != nil && old.running {
		switch {
		case old.start.GetEpoch() == req.GetEpoch():
			return &workerv1.StartLabResponse{}, nil
		case old.start.GetEpoch() > req.GetEpoch():
			return nil, status.Error(codes.Aborted, "stale epoch")
		}
		w.mu.Lock()
		old.running = false
		old.touch()
		w.mu.Unlock()
	}
	resp, err := w.fakeWorker.StartLab(ctx, req)
	if err == nil {
		w.c.runs.holds(req.GetLabId(), w.name, w.rightUntil())
		w.c.runs.began(req)
	}
	return resp, err
}

func (w *leasedWorker) StopLab(ctx context.Context, req *workerv1.StopLabRequest) (*workerv1.StopLabResponse, error) {
	w.mu.Lock()
	lab, err := w.at(req.GetLabId(), req.GetEpoch())
	w.mu.Unlock()
	if lab == nil && status.Code(err) != codes.NotFound {
		return nil, err
	}
	resp, err := w.fakeWorker.StopLab(ctx, req)
	w.c.runs.ends(req.GetLabId(), w.name)
	return resp, err
}

// StampInput: one stamp at a time waits for its commit, and a later turn ends an earlier one.
func (w *leasedWorker) StampInput(_ context.Context, req *workerv1.StampInputRequest) (*workerv1.StampInputResponse, error) {
	if err := w.leased(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.at(req.GetLabId(), req.GetEpoch())
	if err != nil {
		return nil, err
	}
	if lab.pending == 0 || !proto.Equal(req.GetTurn(), lab.turn) {
		if !after(req.GetTurn(), lab.turn) {
			return nil, status.Errorf(codes.Aborted, "stale turn: %v, there has been %v", req.GetTurn(), lab.turn)
		}
		lab.endTurn()
		lab.next++
		lab.now += 1000
		lab.turn = req.GetTurn()
		lab.pending, lab.stamped = lab.next, &labv1.JournalEntry{Index: lab.next, TNs: lab.now, Input: proto.CloneOf(req.GetInput())}
	}
	return &workerv1.StampInputResponse{Index: lab.stamped.GetIndex(), TNs: lab.stamped.GetTNs(), Input: req.GetInput()}, nil
}

// after tells whether a turn is later than another.
func after(t, other *workerv1.Turn) bool {
	return t.GetTerm() > other.GetTerm() || t.GetTerm() == other.GetTerm() && t.GetNumber() > other.GetNumber()
}

// endTurn forgets what was stamped and waits for its commit.
func (l *fakeLab) endTurn() {
	if l.pending != 0 {
		l.next, l.pending = l.pending-1, 0
		l.touch()
	}
}

func (w *leasedWorker) CommitInput(_ context.Context, req *workerv1.CommitInputRequest) (*workerv1.CommitInputResponse, error) {
	if err := w.leased(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.at(req.GetLabId(), req.GetEpoch())
	if err != nil {
		return nil, err
	}
	index := req.GetEntry().GetIndex()
	if all := lab.journal(); index >= 1 && index <= uint64(len(all)) {
		if !proto.Equal(all[index-1], req.GetEntry()) {
			return nil, status.Errorf(codes.FailedPrecondition, "another entry %d has been committed", index)
		}
		return &workerv1.CommitInputResponse{}, nil
	}
	if lab.pending != index || !proto.Equal(lab.stamped, req.GetEntry()) {
		return nil, status.Errorf(codes.FailedPrecondition, "entry %d has not been stamped here", index)
	}
	lab.applied, lab.pending = append(lab.applied, req.GetEntry()), 0
	w.c.runs.applied(req.GetLabId(), req.GetEntry())
	lab.touch()
	return &workerv1.CommitInputResponse{}, nil
}

func (w *leasedWorker) AbandonInput(_ context.Context, req *workerv1.AbandonInputRequest) (*workerv1.AbandonInputResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lab, err := w.at(req.GetLabId(), req.GetEpoch())
	if err != nil {
		return nil, err
	}
	if !after(lab.turn, req.GetTurn()) {
		lab.endTurn()
		lab.turn = req.GetTurn()
	}
	return &workerv1.AbandonInputResponse{}, nil
}

// FollowTrace: each input makes one record, of the input's time and with its index as the counter.
func (w *leasedWorker) FollowTrace(req *workerv1.FollowTraceRequest, out grpc.ServerStreamingServer[workerv1.FollowTraceResponse]) error {
	next := uint64(req.GetAfter().GetEseq()) + 1
	for {
		w.mu.Lock()
		lab, err := w.find(req.GetLabId())
		if err != nil {
			w.mu.Unlock()
			return err
		}
		all, changed := lab.journal(), lab.changed
		w.mu.Unlock()
		for ; next <= uint64(len(all)); next++ {
			e := all[next-1]
			m := &workerv1.FollowTraceResponse{Records: []byte(tagOf(e.GetInput())), NowNs: e.GetTNs(),
				Position: &labv1.RecordPosition{TNs: e.GetTNs(), Eseq: uint32(e.GetIndex())}}
			if err := out.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			return errors.New("killed")
		case <-out.Context().Done():
			return out.Context().Err()
		}
	}
}

// journal is what the lab has been given in this life.
func (l *fakeLab) journal() []*labv1.JournalEntry {
	return append(append([]*labv1.JournalEntry(nil), l.start.GetJournal()...), l.applied...)
}

// runs knows who believes to run which lab, and what of the journals has taken effect anywhere.
type runs struct {
	mu       sync.Mutex // guards what is below
	right    map[string]map[string]time.Time
	effects  map[string]map[uint64]*labv1.JournalEntry
	problems []string
}

func newRuns() *runs {
	return &runs{right: make(map[string]map[string]time.Time), effects: make(map[string]map[uint64]*labv1.JournalEntry)}
}

// holds notes that a worker has the right to run a lab until then.
func (r *runs) holds(lab, worker string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.right[lab] == nil {
		r.right[lab] = make(map[string]time.Time)
	}
	r.right[lab][worker] = until
	for other, end := range maps.All(r.right[lab]) {
		if other != worker && end.After(time.Now()) && until.After(time.Now()) {
			r.problems = append(r.problems, fmt.Sprintf("lab %s runs at %s until %v and at %s until %v", lab, worker, until, other, end))
		}
	}
}

func (r *runs) ends(lab, worker string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.right[lab], worker)
}

func (r *runs) began(req *workerv1.StartLabRequest) {
	for _, e := range req.GetJournal() {
		r.applied(req.GetLabId(), e)
	}
}

// applied notes that an input took effect somewhere. Whatever epoch that was under, an index is one input, for good.
func (r *runs) applied(lab string, e *labv1.JournalEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.effects[lab] == nil {
		r.effects[lab] = make(map[uint64]*labv1.JournalEntry)
	}
	if was := r.effects[lab][e.GetIndex()]; was != nil && !proto.Equal(was, e) {
		r.problems = append(r.problems, fmt.Sprintf("input %d of lab %s was %v at %d, and is %v at %d",
			e.GetIndex(), lab, tagOf(was.GetInput()), was.GetTNs(), tagOf(e.GetInput()), e.GetTNs()))
	}
	r.effects[lab][e.GetIndex()] = proto.CloneOf(e)
}

// grpc connects an address to another.
func (c *bubble) grpc(from, to string, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+to, append(more, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second}}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.ways.dial(ctx, from, to) }))...)
}
