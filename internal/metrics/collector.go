package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"labd.dev/orchestrator"
	workerv1 "labd.dev/proto/worker/v1"
)

// Sources are where the figures come from. Each is asked at each scrape; nil ones have none.
type Sources struct {
	Version string
	// Refused counts the port's refused connections by reason.
	Refused func() map[string]uint64
	// Denied counts the calls that were refused before they began, by reason.
	Denied func() map[string]uint64
	// Server is how the server in this process is.
	Server func() orchestrator.Vitals
	// Worker is how the worker in this process is; nil: it cannot say.
	Worker func() *workerv1.WorkerReport
	// Lease is how long that worker's lease still lasts.
	Lease func() time.Duration
	// CertificateUntil is when the own certificate expires.
	CertificateUntil func() time.Time
	// Calls are those of the gRPC server.
	Calls *Calls
}

// collector reads the sources at each scrape.
type collector struct{ from Sources }

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range Catalog {
		to <- m.desc
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	buildInfo.tell(to, 1, c.from.Version)
	if c.from.Refused != nil {
		for reason, n := range c.from.Refused() {
			refused.tell(to, float64(n), reason)
		}
	}
	if c.from.Denied != nil {
		for reason, n := range c.from.Denied() {
			denied.tell(to, float64(n), reason)
		}
	}
	if c.from.CertificateUntil != nil {
		expires.tell(to, float64(c.from.CertificateUntil().Unix()))
	}
	if c.from.Calls != nil {
		c.from.Calls.collect(to)
	}
	if c.from.Server != nil {
		collectServer(to, c.from.Server())
	}
	if c.from.Worker != nil {
		collectWorker(to, c.from.Worker())
	}
	if c.from.Lease != nil {
		workerLease.tell(to, max(0, c.from.Lease().Seconds()))
	}
}

func collectServer(to chan<- prometheus.Metric, v orchestrator.Vitals) {
	leads.tell(to, oneIf(v.Leads))
	term.tell(to, float64(v.Term))
	lastIndex.tell(to, float64(v.LastIndex))
	commitIndex.tell(to, float64(v.CommitIndex))
	applied.tell(to, float64(v.AppliedIndex))
	switch {
	case v.Leads:
		contact.tell(to, 0)
	case v.LastContact.IsZero():
		contact.tell(to, -1)
	default:
		contact.tell(to, time.Since(v.LastContact).Seconds())
	}
	servers.tell(to, float64(v.Voters), "voter")
	servers.tell(to, float64(v.Nonvoters), "nonvoter")
	storage.tell(to, oneIf(v.StorageFailing))
	for kind, n := range v.Objects {
		objects.tell(to, float64(n), kind)
	}
	workersUp.tell(to, float64(v.WorkersUp), "up")
	workersUp.tell(to, float64(v.WorkersDown), "down")
}

func collectWorker(to chan<- prometheus.Metric, r *workerv1.WorkerReport) {
	if r == nil {
		return
	}
	workerLabs.tell(to, float64(len(r.GetLabs())))
	workerEvents.tell(to, r.GetEventsPerS())
	workerMemory.tell(to, float64(r.GetMemoryBytes()))
	workerDisk.tell(to, float64(r.GetDiskFreeBytes()))
	workerStalls.tell(to, float64(r.GetStalled()))
}
