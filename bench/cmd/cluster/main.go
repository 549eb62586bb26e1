// Command cluster measures what labd's cluster does: what it costs to split a lab over workers (windows), how soon another
// leads (failover), how many changes it takes (writes, labs), what many watchers cost (watches, lists), how long a state takes to
// be saved and restored (snapshots) and a lab to be rebuilt (rebuild).
package main

import (
	"flag"
	"fmt"
	"os"

	"labd.dev/bench/cluster"
)

// subcommands are what can be measured, and what the command starts of itself.
var subcommands = map[string]func(args []string) error{
	"windows":   windows,
	"failover":  failover,
	"writes":    writes,
	"labs":      labs,
	"watches":   watches,
	"lists":     lists,
	"snapshots": snapshots,
	"rebuild":   rebuild,
	"worker":    workerProcess, // started by windows
}

// labd is what failover, writes, labs, watches and snapshots start as servers and workers.
var labd = flag.String("labd", "labd", "labd's `binary`, made by: go build ./cmd/labd")

func main() {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: cluster [-labd FILE] windows|failover|writes|labs|watches|lists|snapshots|rebuild [flags]")
	}
	flag.Parse()
	run := subcommands[flag.Arg(0)]
	if run == nil {
		flag.Usage()
		os.Exit(2)
	}
	leave, err := cluster.Place()
	if err == nil {
		err = run(flag.Args()[1:])
		leave()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}
