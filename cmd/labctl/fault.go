package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// faultOptions are the flags of every kind of fault.
type faultOptions struct {
	*app
	duration string
	id       string
	copyLate string // duplicate: how much later the copy arrives
}

// faultKind is one verb under fault.
type faultKind struct {
	name, value, short, example string
	node                        bool
	set                         func(o *faultOptions, f *labv1.Fault, value string) error
}

var faultKinds = []faultKind{
	{name: "down", short: "Take a link, or one direction of it, down", example: "labctl fault down r1--r2 --for 2s",
		set: func(_ *faultOptions, f *labv1.Fault, _ string) error {
			f.Effect = &labv1.Fault_Down{Down: &labv1.Down{}}
			return nil
		}},
	{name: "loss", value: "CHANCE", short: "Lose frames at random", example: "labctl fault loss r1--r2 5% --for 10s",
		set: func(_ *faultOptions, f *labv1.Fault, v string) error {
			p, err := schema.ParseChance(v)
			f.Effect = &labv1.Fault_Loss{Loss: &labv1.Loss{Model: &labv1.Loss_Random{Random: p}}}
			return err
		}},
	{name: "delay", value: "DURATION", short: "Change a link's one-way delay", example: "labctl fault delay 'r1->r2' 80ms",
		set: func(_ *faultOptions, f *labv1.Fault, v string) error {
			ns, err := schema.ParseDuration(v)
			f.Effect = &labv1.Fault_DelayNs{DelayNs: ns}
			return err
		}},
	{name: "jitter", value: "DURATION", short: "Vary a link's delay from frame to frame", example: "labctl fault jitter r1--r2 5ms --for 10s",
		set: func(_ *faultOptions, f *labv1.Fault, v string) error {
			ns, err := schema.ParseDuration(v)
			f.Effect = &labv1.Fault_Jitter{Jitter: &labv1.Jitter{AmountNs: ns}}
			return err
		}},
	{name: "rate", value: "RATE", short: "Change a link's rate", example: "labctl fault rate r1--r2 1mbit --for 10s",
		set: func(_ *faultOptions, f *labv1.Fault, v string) error {
			bps, err := schema.ParseRate(v)
			f.Effect = &labv1.Fault_RateBps{RateBps: bps}
			return err
		}},
	{name: "corrupt", value: "CHANCE", short: "Flip a bit in some frames", example: "labctl fault corrupt r1--r2 1% --for 10s",
		set: func(_ *faultOptions, f *labv1.Fault, v string) error {
			p, err := schema.ParseChance(v)
			f.Effect = &labv1.Fault_Corrupt{Corrupt: p}
			return err
		}},
	{name: "duplicate", value: "CHANCE", short: "Deliver some frames twice", example: "labctl fault duplicate r1--r2 10% --copy-delay 5ms",
		set: func(o *faultOptions, f *labv1.Fault, v string) error {
			p, err := schema.ParseChance(v)
			d := &labv1.Duplicate{Chance: p}
			if err == nil && o.copyLate != "" {
				d.DelayNs, err = schema.ParseDuration(o.copyLate)
			}
			f.Effect = &labv1.Fault_Duplicate{Duplicate: d}
			return err
		}},
	{name: "mtu", value: "SIZE", short: "Change a link's MTU", example: "labctl fault mtu r1--r2 576B",
		set: func(_ *faultOptions, f *labv1.Fault, v string) error {
			n, err := schema.ParseSize(v)
			f.Effect = &labv1.Fault_MtuBytes{MtuBytes: uint32(min(n, 1<<32-1))}
			return err
		}},
	{name: "queue", value: "LIMIT", short: "Change how much a link queues, in packets or bytes", example: "labctl fault queue r1--r2 10p",
		set: func(_ *faultOptions, f *labv1.Fault, v string) error {
			packets, bytes, err := schema.ParseLimit(v)
			f.Effect = &labv1.Fault_Queue{Queue: &labv1.Queue{LimitPackets: uint32(min(packets, 1<<32-1)), LimitBytes: bytes}}
			return err
		}},
	{name: "crash", node: true, short: "End a node at once; with --for it boots again when that is over", example: "labctl fault crash server --for 5s",
		set: func(_ *faultOptions, f *labv1.Fault, _ string) error {
			f.Effect = &labv1.Fault_Crash{Crash: &labv1.Crash{}}
			return nil
		}},
	{name: "reboot", node: true, short: "Crash a node and boot it at the same instant; one that is down boots", example: "labctl fault reboot server",
		set: func(_ *faultOptions, f *labv1.Fault, _ string) error {
			f.Effect = &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}
			return nil
		}},
}

func newFaultCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "Break a link or a node, for a while or until cleared",
		Example: `  labctl fault down r1--r2 --for 2s
  labctl fault loss r1--r2 5% --for 10s
  labctl fault clear f1`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, k := range faultKinds {
		cmd.AddCommand(newFaultKindCommand(a, k))
	}
	cmd.AddCommand(newClearCommand(a))
	return cmd
}

func newFaultKindCommand(a *app, k faultKind) *cobra.Command {
	o := &faultOptions{app: a}
	use, n := k.name+" LINK", 1
	if k.node {
		use = k.name + " NODE"
	}
	if k.value != "" {
		use, n = use+" "+k.value, 2
	}
	cmd := &cobra.Command{
		Use: use, Short: k.short, Example: "  " + k.example, Args: arguments(cobra.ExactArgs(n)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), k, args) },
	}
	if k.name != "reboot" {
		cmd.Flags().StringVar(&o.duration, "for", "", "how long: 2s (default: until cleared)")
	}
	cmd.Flags().StringVar(&o.id, "id", "", "name of the fault (default: f1, f2, ...)")
	if k.name == "duplicate" {
		cmd.Flags().StringVar(&o.copyLate, "copy-delay", "", "how much later the copy arrives: 5ms")
	}
	if k.node {
		return a.completes(cmd, nodeNames)
	}
	return a.completes(cmd, linkNames)
}

func (o *faultOptions) run(ctx context.Context, k faultKind, args []string) error {
	f := &labv1.Fault{Id: o.id, Link: args[0]}
	if k.node {
		f.Node, f.Link = args[0], ""
	}
	if err := k.set(o, f, strings.Join(args[1:], "")); err != nil {
		return &usageError{fmt.Sprintf("%s: %v", k.name, err)}
	}
	if o.duration != "" {
		ns, err := schema.ParseDuration(o.duration)
		if err != nil {
			return &usageError{"--for: " + err.Error()}
		}
		if ns <= 0 {
			return &usageError{"--for: must be longer than 0s"}
		}
		f.DurationNs = ns
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Faults.CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: client.RequestID(), Lab: o.labName(), Fault: f})
	if err != nil {
		return err
	}
	return o.stamped("fault", r.Id, r.Stamp, r)
}

// stamped tells which place an input got.
func (a *app) stamped(what, id string, s *labv1.Stamp, response any) error {
	if a.format.ForPeople() {
		_, err := fmt.Fprintf(a.out, "%s %s: %s\n", what, id, stampText(s))
		return err
	}
	l := &output.List{Columns: []string{"id", "input", "t_ns"}}
	l.Add(response, id, fmt.Sprint(s.GetIndex()), fmt.Sprint(s.GetTNs()))
	return a.format.WriteOne(a.out, l)
}

func newClearCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "clear FAULT", Short: "End a fault before its time", Example: "  labctl fault clear f1", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Faults.ClearFault(cmd.Context(), &labv1.ClearFaultRequest{RequestId: client.RequestID(), Lab: a.labName(), Fault: args[0]})
			if err != nil {
				return err
			}
			return a.stamped("cleared", args[0], r.Stamp, r)
		},
	}
	return a.completes(cmd, faultNames)
}
