// Package metrics serves a labd's figures to Prometheus, and whether it is well to whoever asks, on a port of their own.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// Metric is a figure that labd tells.
type Metric struct {
	Name   string
	Kind   string // gauge or counter
	Labels []string
	Help   string

	desc *prometheus.Desc
}

// All that labd tells; docs/metrics.md is made from it.
var (
	buildInfo = metric("labd_build_info", "gauge", "1, with the version that runs", "version")
	refused   = metric("labd_port_refused_total", "counter", "Connections to the port that labd closed; docs/cluster.md has the reasons", "reason")
	denied    = metric("labd_calls_refused_total", "counter", "gRPC calls that were refused by their headers, or for a message too large, too slow or too many; the labels are reasons of errors", "reason")
	calls     = metric("labd_calls_total", "counter", "gRPC calls that have ended, by method and by gRPC's code", "method", "code")
	underWay  = metric("labd_calls_under_way", "gauge", "gRPC calls under way, streams among them")
	expires   = metric("labd_certificate_expires_seconds", "gauge", "When the own certificate expires, in seconds since 1970")

	leads       = metric("labd_raft_leads", "gauge", "1 on the server that leads and takes calls, else 0")
	term        = metric("labd_raft_term", "gauge", "Raft's term; it grows with each election")
	lastIndex   = metric("labd_raft_last_index", "gauge", "Last entry of the log")
	commitIndex = metric("labd_raft_commit_index", "gauge", "Last entry that a majority has")
	applied     = metric("labd_raft_applied_index", "gauge", "Last entry that was carried out")
	contact     = metric("labd_raft_last_contact_seconds", "gauge", "For how long a follower has heard nothing from a leader; 0 on the leader, -1: it never has")
	servers     = metric("labd_raft_servers", "gauge", "Servers of the cluster, as this one knows them", "suffrage")
	storage     = metric("labd_storage_failing", "gauge", "1 while the disk refuses the log, else 0")
	objects     = metric("labd_objects", "gauge", "Things that the servers keep", "kind")
	workersUp   = metric("labd_workers", "gauge", "Workers that are known, by whether they are up", "state")

	workerLabs   = metric("labd_worker_labs", "gauge", "Labs and runs that run in this process")
	workerEvents = metric("labd_worker_events_per_second", "gauge", "Events that they have run of late, in all")
	workerMemory = metric("labd_worker_memory_bytes", "gauge", "Memory that they take")
	workerLease  = metric("labd_worker_lease_seconds", "gauge", "For how long a cluster's worker may still run labs without hearing from a leader; 0: it holds no lease")
	workerDisk   = metric("labd_worker_disk_free_bytes", "gauge", "Room for what they record")
	workerStalls = metric("labd_worker_labs_stalled", "gauge", "Labs split over workers that have waited here for another worker for more than a second")
)

// Catalog lists all metrics.
var Catalog []*Metric

func metric(name, kind, help string, labels ...string) *Metric {
	m := &Metric{Name: name, Kind: kind, Labels: labels, Help: help, desc: prometheus.NewDesc(name, help, labels, nil)}
	Catalog = append(Catalog, m)
	return m
}

func (m *Metric) tell(to chan<- prometheus.Metric, value float64, labels ...string) {
	kind := prometheus.GaugeValue
	if m.Kind == "counter" {
		kind = prometheus.CounterValue
	}
	to <- prometheus.MustNewConstMetric(m.desc, kind, value, labels...)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
