// Command pace measures how late events run on the real clock: what a lab's pacer adds to the delay that a frame has in
// the lab, before whoever waits for it outside hears of it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"labd.dev/sim"

	"labd.dev/bench/measure"
)

// Gaps between events lie evenly between these: shorter than what the runtime's timers are good for, and longer.
const (
	leastGap = 50 * sim.Microsecond
	mostGap  = 20 * sim.Millisecond
)

type result struct {
	Events    int     `json:"events"`
	P50Us     float64 `json:"p50_us"`
	P90Us     float64 `json:"p90_us"`
	P99Us     float64 `json:"p99_us"`
	WorstUs   float64 `json:"worst_us"`
	CPUShare  float64 `json:"cpu_share"` // of one core, waiting included
	LateShare float64 `json:"over_200us_share"`
}

func main() {
	dur := flag.Duration("dur", 10*time.Second, "how long to measure")
	format := flag.String("o", "table", "table or json")
	flag.Parse()
	if *dur <= 0 || *format != "table" && *format != "json" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	r := run(*dur)
	if *format == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			fmt.Fprintln(os.Stderr, "pace:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Printf("%d events: late by %.0f us (median), %.0f us (90%%), %.0f us (99%%), %.0f us (worst); %.2f%% of a core\n",
		r.Events, r.P50Us, r.P90Us, r.P99Us, r.WorstUs, 100*r.CPUShare)
}

func run(dur time.Duration) result {
	dice := rand.New(rand.NewPCG(1, 1))
	p := sim.NewPacer(sim.PacerConfig{}, 0)
	defer p.Close()
	cpu, begin := measure.Start(), time.Now()
	var late []float64
	over := 0
	for at := sim.Time(0); time.Since(begin) < dur; {
		at = p.Due() + leastGap + sim.Time(dice.Int64N(int64(mostGap-leastGap)))
		if !p.Wait(at) {
			continue
		}
		by := p.Lag()
		late = append(late, float64(by)/1e3)
		if by > 200*time.Microsecond {
			over++
		}
	}
	share := cpu.Elapsed().Seconds() / time.Since(begin).Seconds()
	slices.Sort(late)
	at := func(q float64) float64 { return late[min(int(q*float64(len(late))), len(late)-1)] }
	return result{
		Events: len(late), P50Us: at(0.5), P90Us: at(0.9), P99Us: at(0.99), WorstUs: late[len(late)-1],
		CPUShare: share, LateShare: float64(over) / float64(len(late)),
	}
}
