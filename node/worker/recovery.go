package worker

import (
	"fmt"
	"log/slog"
	"time"

	"labd.dev/sim"
)

// recovery is a lab's way back to where it was before a restart.
type recovery struct {
	log     *slog.Logger
	lab     string
	to      sim.Time
	began   time.Time
	told    time.Time
	running bool
}

// recoveryReport is how often a recovery is told of.
const recoveryReport = time.Second

func (r *recovery) begin(to sim.Time) {
	r.to, r.began, r.running = to, time.Now(), true
	r.told = r.began
	r.log.Info("recovering", "lab", r.lab, "to", to.Duration())
}

// speed is the lab seconds replayed in a wall second.
func (r *recovery) speed(now sim.Time) float64 {
	return float64(now) / float64(max(time.Since(r.began), 1))
}

// at tells how far the recovery is, now and then.
func (r *recovery) at(now sim.Time) {
	if !r.running || time.Since(r.told) < recoveryReport {
		return
	}
	r.told = time.Now()
	r.log.Info(fmt.Sprintf("recovering %.0f%% at %.0fx", 100*float64(now)/float64(r.to), r.speed(now)), "lab", r.lab)
}

func (r *recovery) done(now sim.Time, events uint64) {
	if r.running {
		r.running = false
		r.log.Info("recovered", "lab", r.lab, "at", now.Duration(), "took", time.Since(r.began),
			"speed", fmt.Sprintf("%.0fx", r.speed(now)), "events", events)
	}
}
