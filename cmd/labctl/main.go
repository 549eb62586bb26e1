// labctl is labd's command line. `run` carries out an experiment in its own process; the other verbs speak to a labd that
// is running, or read the directory of a finished run.
package main

import (
	"os"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
