package daemon

import (
	"context"
	"errors"

	"labd.dev/internal/metrics"
	"labd.dev/internal/port"
	"labd.dev/internal/tlsfiles"
	"labd.dev/internal/version"
	"labd.dev/node/worker"
	workerv1 "labd.dev/proto/worker/v1"
)

// Figures is where this labd's metrics come from.
func (d *Daemon) Figures() metrics.Sources {
	s := figures(d.port, d.conf.Security)
	s.Calls, s.Denied, s.Server = &d.calls, d.intake.Refused, d.control.Vitals
	if d.worker != nil {
		s.Worker = reportOf(d.worker.worker)
	}
	return s
}

// Health is whether this labd can go on, and take calls.
func (d *Daemon) Health() metrics.Health {
	return metrics.Health{Alive: d.Err, Ready: d.control.Ready}
}

// Figures is where this worker's metrics come from.
func (w *Worker) Figures() metrics.Sources {
	s := figures(w.port, w.conf.Security)
	s.Worker, s.Lease = reportOf(w.worker), w.worker.LeaseLeft
	return s
}

// Health is whether servers take this worker, and whether it may run labs now: it is registered and holds a lease.
func (w *Worker) Health() metrics.Health {
	alive := func() error {
		select {
		case <-w.gone:
			return errors.Join(errors.New("no server takes this worker"), w.err)
		default:
			return nil
		}
	}
	ready := func() error {
		if err := alive(); err != nil {
			return err
		}
		if w.worker.LeaseLeft() <= 0 {
			return errors.New("this worker holds no lease: no leader has answered its reports")
		}
		return nil
	}
	return metrics.Health{Alive: alive, Ready: ready}
}

// figures are those of any labd.
func figures(p *port.Port, security port.Security) metrics.Sources {
	s := metrics.Sources{Version: version.String()}
	if p != nil {
		s.Refused = func() map[string]uint64 {
			named := make(map[string]uint64)
			for reason, n := range p.Refused() {
				named[string(reason)] = n
			}
			return named
		}
	}
	if files, ok := security.(*tlsfiles.Source); ok {
		s.CertificateUntil = files.Until
	}
	return s
}

func reportOf(w *worker.Worker) func() *workerv1.WorkerReport {
	return func() *workerv1.WorkerReport {
		r, err := w.GetReport(context.Background(), &workerv1.GetReportRequest{})
		if err != nil {
			return nil
		}
		return r.GetReport()
	}
}
