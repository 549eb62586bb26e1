package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace/capfilter"
)

// captureOptions are capture's flags.
type captureOptions struct {
	*app
	file   string
	filter string
	snap   uint32
	count  uint64
}

func newCaptureCommand(a *app) *cobra.Command {
	o := &captureOptions{app: a}
	cmd := &cobra.Command{
		Use:   "capture NODE[:INTERFACE] -w FILE",
		Short: "Capture what crosses an interface, live, for Wireshark and tshark",
		Long: `Capture what crosses an interface of a lab from now on, as pcapng: into a file, or to standard output for another
program (-w -). It ends with Ctrl-C, after --count packets, or with the lab, and changes nothing in the lab. A reader that
falls too far behind is cut off; the lab does not wait for it.

The filter's language is a part of tcpdump's, in which nodes have names:

  host NODE-or-ADDRESS   net 10.0.1.0/24   port 80   portrange 8000-8080
  src or dst before one of them for one end of the packet; ip, arp, icmp, tcp or udp, alone or before one of them
  and (&&), or (||), not (!) and parentheses; "and" and "or" bind alike, from left to right`,
		Example: `  labctl capture r1:eth0 -w - | tshark -r -
  labctl capture r1:eth0 -w web.pcapng --filter 'tcp port 80 and host client' --count 100
  labctl capture server -w - --snaplen 96 | wireshark -k -i -`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVarP(&o.file, "write", "w", "", "file to write, - for standard output")
	cmd.Flags().StringVar(&o.filter, "filter", "", "only these packets: 'tcp port 80 and host client'")
	cmd.Flags().Uint32Var(&o.snap, "snaplen", 0, "bytes of each packet at most (default: all)")
	cmd.Flags().Uint64VarP(&o.count, "count", "c", 0, "end after so many packets")
	return cmd
}

func (o *captureOptions) run(ctx context.Context, place string) (err error) {
	node, ifc, _ := strings.Cut(place, ":")
	switch {
	case o.file == "":
		return &usageError{"where to? -w FILE, or -w - for another program: labctl capture " + place + " -w - | tshark -r -"}
	case o.file == "-" && terminal(o.out):
		return &usageError{"a capture is not for a terminal; send it to a program: labctl capture " + place + " -w - | tshark -r -"}
	}
	// A filter that is no filter is told of before anything is written.
	if _, err := capfilter.Compile(o.filter, nil); err != nil {
		return &usageError{fmt.Sprintf("--filter %q: %v", o.filter, err)}
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	w := &lateFile{name: o.file, w: o.out}
	defer func() { err = errors.Join(err, w.close()) }()
	// Ctrl-C is how a capture ends: what was captured is whole.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	n, err := c.Capture(ctx, &labv1.WatchCaptureRequest{
		Lab: o.labName(), Node: node, Interface: ifc, Filter: o.filter, SnapBytes: o.snap, Count: o.count}, w)
	if ctx.Err() != nil {
		err = nil
	}
	// A reader such as `tshark -c 1` has had enough.
	if errors.Is(err, syscall.EPIPE) {
		err = nil
	}
	if err == nil {
		fmt.Fprintf(o.err, "labctl: captured %s\n", counted(n, "packet"))
	}
	return err
}

// lateFile is a file that is made when there is something to write, so that a mistake leaves no file behind.
type lateFile struct {
	name string
	w    io.Writer // standard output
	file *os.File
}

func (f *lateFile) Write(b []byte) (int, error) {
	if f.name == "-" {
		return f.w.Write(b)
	}
	if f.file == nil {
		file, err := os.Create(f.name)
		if err != nil {
			return 0, err
		}
		f.file = file
	}
	return f.file.Write(b)
}

func (f *lateFile) close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
