package orchestrator

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"

	"labd.dev/internal/validate"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// WorkerProtocol is the version of what servers and workers say to each other. It grows when an old one would
// misunderstand a new one.
const WorkerProtocol = 1

// maxWorkerID bounds a worker's and an instance's id.
const maxWorkerID = 64

// registryService takes workers in.
type registryService struct {
	workerv1.UnimplementedRegistryServiceServer
	c *Controller
}

// RegisterRegistry puts the service by which workers register onto a gRPC server.
func (c *Controller) RegisterRegistry(s grpc.ServiceRegistrar) {
	workerv1.RegisterRegistryServiceServer(s, &registryService{c: c})
}

type registryStream = grpc.BidiStreamingServer[workerv1.RegisterRequest, workerv1.RegisterResponse]

// Register implements the service.
func (s *registryService) Register(in registryStream) error {
	l, err := s.c.leader(in.Context())
	if err != nil {
		return toStatus(err)
	}
	m, err := in.Recv()
	if err != nil {
		return err
	}
	return toStatus(l.serveWorker(in, m.GetHello()))
}

// serveWorker takes a worker in, and answers its reports for as long as this server leads.
func (l *leadership) serveWorker(in registryStream, h *workerv1.WorkerHello) error {
	session, err := l.admit(h)
	if err != nil {
		return err
	}
	defer l.reconcileSoon()
	defer l.fleet.gone(h.GetName(), session)
	welcome := &workerv1.WorkerWelcome{ClusterId: l.c.clusterID(), ReportEveryNs: int64(l.fleet.lease / reportsPerLease), Term: l.term}
	if err := in.Send(&workerv1.RegisterResponse{Message: &workerv1.RegisterResponse_Welcome{Welcome: welcome}}); err != nil {
		return err
	}
	l.reconcileSoon()
	reports := make(chan *workerv1.WorkerReport)
	ended := make(chan error, 1)
	go func() { ended <- receiveReports(in, reports) }()
	for {
		select {
		case r := <-reports:
			if err := l.renew(in, h.GetName(), session, r); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-l.ctx.Done():
			return notLeading()
		}
	}
}

func receiveReports(in registryStream, to chan<- *workerv1.WorkerReport) error {
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.GetReport() == nil {
			return invalid("message", "after the hello come reports")
		}
		select {
		case to <- m.GetReport():
		case <-in.Context().Done():
			return in.Context().Err()
		}
	}
}

// renew answers a report with a lease. A server that leads no more must not: another may have given the labs away. So it
// makes sure, after the report came, that it still leads.
func (l *leadership) renew(in registryStream, name string, session uint64, r *workerv1.WorkerReport) error {
	if err := l.c.node.verify(); err != nil {
		return notLeading()
	}
	if !l.fleet.heard(name, session, r) {
		return refuse(labv1.ErrorReason_ERROR_REASON_WORKER_ID_IN_USE, "another registration has taken this one's place")
	}
	for _, lab := range r.GetLabs() {
		if lab.GetBroken() {
			l.reconcileSoon()
		}
	}
	if r.GetLeaving() {
		l.lookAfterLeases()
	}
	grant := &workerv1.LeaseGrant{Sequence: r.GetSequence(), LeaseNs: int64(l.fleet.lease)}
	return in.Send(&workerv1.RegisterResponse{Message: &workerv1.RegisterResponse_Grant{Grant: grant}})
}

// admit checks who a worker is, makes it known in Raft where it is not, and takes it in.
func (l *leadership) admit(h *workerv1.WorkerHello) (uint64, error) {
	if err := l.c.checkHello(h); err != nil {
		return 0, err
	}
	if w := l.c.store.view().worker(h.GetName()); w.GetUp() && w.GetWorkerId() != h.GetWorkerId() {
		return 0, nameInUse(w)
	}
	if err := l.fleet.admissible(h); err != nil {
		return 0, err
	}
	if err := l.workerUp(&controlv1.WorkerUp{Name: h.GetName(), WorkerId: h.GetWorkerId(), Instance: h.GetInstance(),
		Address: h.GetAddress(), Version: h.GetVersion(), MemoryBytes: h.GetMemoryBytes(), Cores: h.GetCores()}); err != nil {
		return 0, err
	}
	session, err := l.fleet.join(h)
	if err == nil && !l.c.store.view().worker(h.GetName()).GetUp() {
		l.fleet.forget(h.GetName(), h.GetInstance()) // it was recorded as down in between
		return 0, refuse(labv1.ErrorReason_ERROR_REASON_WORKER_AWAY, "worker %q has just been recorded as down; try again", h.GetName())
	}
	return session, err
}

func (c *Controller) checkHello(h *workerv1.WorkerHello) error {
	_, _, addressErr := net.SplitHostPort(h.GetAddress())
	switch {
	case h == nil:
		return invalid("message", "the first message is a hello")
	case h.GetProtocol() != WorkerProtocol:
		return refuse(labv1.ErrorReason_ERROR_REASON_OTHER_VERSION,
			"the worker (labd %s) speaks version %d of the workers' protocol, this server (version %d) does not", h.GetVersion(), h.GetProtocol(), WorkerProtocol)
	case h.GetClusterId() != "" && h.GetClusterId() != c.clusterID():
		return refuse(labv1.ErrorReason_ERROR_REASON_OTHER_CLUSTER,
			"the worker belongs to cluster %s, this is %s; a worker changes clusters with an empty data directory only", h.GetClusterId(), c.clusterID())
	case !validate.RunName(h.GetName()):
		return invalid("hello.name", "%q is no name of a worker: a-z, 0-9 and -, 1 to 63 characters", h.GetName())
	case h.GetName() == c.conf.WorkerName && c.conf.Worker != nil:
		return refuse(labv1.ErrorReason_ERROR_REASON_WORKER_NAME_IN_USE, "%q is the worker in the server's own process", h.GetName())
	case h.GetWorkerId() == "" || len(h.GetWorkerId()) > maxWorkerID:
		return invalid("hello.worker_id", "it must have 1 to %d characters", maxWorkerID)
	case h.GetInstance() == "" || len(h.GetInstance()) > maxWorkerID:
		return invalid("hello.instance", "it must have 1 to %d characters", maxWorkerID)
	case addressErr != nil:
		return invalid("hello.address", "%v", addressErr)
	}
	return nil
}

// workerUp makes a worker known to be up, unless it is.
func (l *leadership) workerUp(up *controlv1.WorkerUp) error {
	w := l.c.store.view().worker(up.GetName())
	if w.GetUp() && w.GetInstance() == up.GetInstance() && w.GetAddress() == up.GetAddress() && w.GetMemoryBytes() == up.GetMemoryBytes() &&
		w.GetWorkerId() == up.GetWorkerId() {
		return nil
	}
	if w.GetUp() && w.GetInstance() != up.GetInstance() && up.GetAddress() != "" { // labd by itself moves no lab
		up.Suspects = l.suspects(up.GetName())
	}
	_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_WorkerUp{WorkerUp: up}})
	if err == nil {
		l.c.log.Info("worker is up", "worker", up.GetName(), "address", up.GetAddress(), "version", up.GetVersion())
	}
	return err
}

// watchLeases gives away what workers had whose leases have run out.
func (l *leadership) watchLeases() {
	tick := time.NewTicker(l.fleet.lease / reportsPerLease)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.lookAfterLeases()
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *leadership) lookAfterLeases() {
	for _, gone := range l.fleet.lapsed() {
		down := &controlv1.WorkerDown{Name: gone.name, Instance: gone.instance, Reason: gone.reason}
		if !gone.left {
			down.Suspects = l.suspects(gone.name)
		}
		_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_WorkerDown{WorkerDown: down}})
		var refused *Refusal
		if err != nil && !errors.As(err, &refused) {
			if l.ctx.Err() == nil {
				l.c.log.Error("a worker is down, which could not be recorded", "worker", gone.name, "error", err)
			}
			continue
		}
		l.c.log.Warn("worker is down; its labs go elsewhere", "worker", gone.name, "reason", gone.reason)
		l.fleet.forget(gone.name, gone.instance)
		l.reconcileSoon()
	}
}

// awaitWorkers waits for workers to register that may be on their way, as they are when a leader is new.
func (l *leadership) awaitWorkers(ctx context.Context) error {
	grace := time.NewTimer(time.Until(l.began.Add(l.fleet.lease + l.fleet.margin())))
	defer grace.Stop()
	look := time.NewTicker(retryPause / 10)
	defer look.Stop()
	for len(l.fleet.candidates(l.c.store.view())) == 0 {
		select {
		case <-look.C:
		case <-grace.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return notLeading()
		}
	}
	return nil
}
