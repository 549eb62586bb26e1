// Command cluster measures what labd's cluster does: what it costs to split a lab over workers (windows).
package main

import (
	"flag"
	"fmt"
	"os"
)

// subcommands are what can be measured, and what the command starts of itself.
var subcommands = map[string]func(args []string) error{
	"windows": windows,
	"worker":  workerProcess, // started by windows
}

func main() {
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: cluster windows [flags]") }
	flag.Parse()
	run := subcommands[flag.Arg(0)]
	if run == nil {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Args()[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}
