package main

import (
	"fmt"
	"time"
)

// model is what splitting costs: processor time of all workers together for a window is
//
//	workers*(workers-1)*message + frames*frame
//
// so that a lab whose windows take work w in one piece takes, on as many cores as workers,
//
//	w/workers + (workers-1)*message + frames*frame/workers + latency
type model struct {
	MessageNs float64 `json:"message_ns"` // from one worker to another, both ends together
	FrameNs   float64 `json:"frame_ns"`   // both ends together
	Points    []point `json:"points"`
}

// point is a measured lab.
type point struct {
	Workers  int     `json:"workers"`
	Windows  float64 `json:"windows"`
	Crossing float64 `json:"crossing_frames"`
	ExtraNs  float64 `json:"extra_ns"` // processor time over that of the lab in one piece, a window
	Fitted   float64 `json:"fitted_ns"`
}

const (
	modelFar = time.Millisecond // a window
	modelDur = 4 * time.Second
)

// fitModel measures labs whose groups send little within windows of a millisecond, over more and more workers, and one
// with many frames across; the model has two unknowns, found by least squares.
func fitModel(core, times int) (*model, error) {
	m := &model{}
	var rows [][2]float64
	for _, c := range []struct {
		workers int
		rate    uint64
	}{{2, 2e6}, {3, 2e6}, {4, 2e6}, {6, 2e6}, {8, 2e6}, {2, 200e6}, {4, 200e6}} {
		lab := sites{groups: c.workers, pairs: 1, across: 1, rate: c.rate, near: 100 * time.Microsecond, far: modelFar, udp: true}
		s, err := measureSplit(lab, modelDur, core, times, "")
		if err != nil {
			return nil, err
		}
		windows := float64(modelDur / modelFar)
		p := point{Workers: c.workers, Windows: windows, Crossing: s.Crossing * float64(s.Frames), ExtraNs: (s.SplitCPU - s.WholeCPU) * 1e9 / windows}
		m.Points = append(m.Points, p)
		n := float64(c.workers)
		rows = append(rows, [2]float64{n * (n - 1), p.Crossing / windows})
	}
	m.solve(rows)
	return m, nil
}

// solve is least squares by the normal equations; relative errors count.
func (m *model) solve(rows [][2]float64) {
	var xx, xy, yy, xt, yt float64
	for k, r := range rows {
		t := m.Points[k].ExtraNs
		x, y := r[0]/t, r[1]/t
		xx, xy, yy, xt, yt = xx+x*x, xy+x*y, yy+y*y, xt+x, yt+y
	}
	det := xx*yy - xy*xy
	m.MessageNs, m.FrameNs = (xt*yy-yt*xy)/det, (yt*xx-xt*xy)/det
	for k, r := range rows {
		m.Points[k].Fitted = r[0]*m.MessageNs + r[1]*m.FrameNs
	}
}

// latency is what a message takes between machines of one rack.
const latency = 50 * time.Microsecond

// speedup is how much sooner a lab is through on so many workers with a core each, whose windows take work in one piece
// and in which so many frames of each window cross.
func (m *model) speedup(workers int, work time.Duration, frames float64) float64 {
	n := float64(workers)
	return float64(work) / (float64(work)/n + (n-1)*m.MessageNs + frames*m.FrameNs/n + float64(latency))
}

func (m *model) print() {
	fmt.Printf("a window: %.1f us a message, %.2f us a frame that crosses\n", m.MessageNs/1e3, m.FrameNs/1e3)
	for _, p := range m.Points {
		fmt.Printf("  %d workers, %6.1f frames cross a window: %7.1f us, fitted %7.1f\n", p.Workers, p.Crossing/p.Windows, p.ExtraNs/1e3, p.Fitted/1e3)
	}
	for _, work := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		fmt.Printf("  a window of %v of work, of whose segments (0.4 us each) 5%% cross:", work)
		for _, n := range []int{3, 10, 100, 1000} {
			fmt.Printf("  %.0fx on %d", m.speedup(n, work, work.Seconds()/0.4e-6*0.05), n)
		}
		fmt.Println()
	}
}
