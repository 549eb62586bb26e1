package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"labd.dev/client"
	"labd.dev/internal/output"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

func newExecCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec NODE -- ping|traceroute|send|netstat ...",
		Short: "Run ping, traceroute or a sender of raw packets on a node",
		Long: `Run ping, traceroute or a sender of raw packets on a node. They take the flags that people know:
  ping [-c COUNT] [-i INTERVAL] [-s SIZE] [-t TTL] [-W TIMEOUT] [-M do] NODE-or-address
  traceroute [-m MAX-HOPS] [-q PROBES] [-w TIMEOUT] NODE-or-address
  send HEADER.FIELD=VALUE ... [data=TEXT] [count=N] [interval=TIME] [on=FILTER] [skip=N] [times=N] [wait=TIME] [after=TIME]
  netstat -s
Times of ping and traceroute without a unit are seconds, as they are in the originals. docs/send.md lists what packets
can be made of.`,
		Example: `  labctl exec client -- ping -c 3 server
  labctl exec client -- traceroute server
  labctl exec client -- ping -6 server
  labctl exec server -- netstat -s
  labctl exec mallory -- send ip.src=client ip.dst=server tcp.sport=40000 tcp.dport=80 tcp.flags=S tcp.seq=1000`,
		Args: arguments(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.exec(cmd.Context(), args[0], args[1:]) },
	}
	return a.completes(cmd, nodeNames)
}

func (a *app) exec(ctx context.Context, node string, words []string) error {
	req := &labv1.CreateExecRequest{RequestId: client.RequestID(), Lab: a.labName()}
	switch words[0] {
	case "netstat":
		return a.netstat(ctx, node, words[1:])
	case "ping", "ping6":
		p, err := parsePing(node, words[1:])
		if err != nil {
			return err
		}
		if words[0] == "ping6" {
			p.Family = labv1.Family_FAMILY_IPV6
		}
		req.Command = &labv1.CreateExecRequest_Ping{Ping: p}
	case "traceroute", "traceroute6":
		t, err := parseTraceroute(node, words[1:])
		if err != nil {
			return err
		}
		if words[0] == "traceroute6" {
			t.Family = labv1.Family_FAMILY_IPV6
		}
		req.Command = &labv1.CreateExecRequest_Traceroute{Traceroute: t}
	case "send":
		s, err := parseSend(node, words[1:])
		if err != nil {
			return err
		}
		req.Command = &labv1.CreateExecRequest_Send{Send: s}
	default:
		return &usageError{fmt.Sprintf("nodes have no %q; there are ping, traceroute, send and netstat", words[0])}
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Execs.CreateExec(ctx, req)
	if err != nil {
		return err
	}
	status := &labv1.ExecStatus{Id: r.Id, Node: node, Command: strings.Join(words, " "), Done: true, Stamp: r.Stamp}
	if a.format.ForPeople() {
		// On standard error, so that standard output is just what ping prints.
		fmt.Fprintf(a.err, "exec %s: %s\n", r.Id, stampText(r.Stamp))
	}
	code, err := c.FollowExec(ctx, r.Lab, r.Id, func(lines []string) {
		if a.format.ForPeople() {
			for _, line := range lines {
				fmt.Fprintln(a.out, line)
			}
		}
		status.Lines = append(status.Lines, lines...)
	})
	if err != nil {
		return err
	}
	status.ExitCode = int32(code)
	if !a.format.ForPeople() {
		l := &output.List{Columns: []string{"id", "input", "t_ns", "node", "command", "exit_code"}}
		l.Add(status, status.Id, fmt.Sprint(r.Stamp.GetIndex()), fmt.Sprint(r.Stamp.GetTNs()), node, status.Command, fmt.Sprint(status.ExitCode))
		if err := a.format.WriteOne(a.out, l); err != nil {
			return err
		}
	}
	if status.ExitCode != 0 {
		return &failedError{exitFailed}
	}
	return nil
}

// secondsFlag is a duration that without a unit is in seconds.
type secondsFlag struct{ ns int64 }

func (s *secondsFlag) Set(text string) error {
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		if !(f >= 0 && f < math.MaxInt64/1e9) {
			return errors.New("must not be negative")
		}
		s.ns = int64(f * 1e9)
		return nil
	}
	ns, err := schema.ParseDuration(text)
	s.ns = ns
	return err
}

func (s *secondsFlag) String() string { return output.Duration(s.ns) }
func (s *secondsFlag) Type() string   { return "seconds" }

// parseDestination reads a command's own flags and its one destination.
func parseDestination(f *pflag.FlagSet, words []string) (string, error) {
	f.Usage = func() {}
	f.SetOutput(io.Discard)
	if err := f.Parse(words); err != nil {
		return "", &usageError{f.Name() + ": " + flagText(err)}
	}
	if f.NArg() != 1 {
		return "", &usageError{f.Name() + ": one destination is wanted: a node or an address"}
	}
	return f.Arg(0), nil
}

// familyFlags are ping's and traceroute's -4 and -6; what it returns tells which was given.
func familyFlags(f *pflag.FlagSet) func() (labv1.Family, error) {
	four := f.BoolP("ipv4", "4", false, "")
	six := f.BoolP("ipv6", "6", false, "")
	return func() (labv1.Family, error) {
		switch {
		case *four && *six:
			return 0, &usageError{f.Name() + ": only one of -4 and -6"}
		case *four:
			return labv1.Family_FAMILY_IPV4, nil
		case *six:
			return labv1.Family_FAMILY_IPV6, nil
		}
		return labv1.Family_FAMILY_UNSPECIFIED, nil
	}
}

func parsePing(node string, words []string) (*labv1.Ping, error) {
	p := &labv1.Ping{From: node}
	f := pflag.NewFlagSet("ping", pflag.ContinueOnError)
	var interval, timeout secondsFlag
	var discovery string
	f.Uint32VarP(&p.Count, "count", "c", 0, "")
	f.VarP(&interval, "interval", "i", "")
	f.Uint32VarP(&p.SizeBytes, "size", "s", 0, "")
	f.Uint32VarP(&p.Ttl, "ttl", "t", 0, "")
	f.VarP(&timeout, "timeout", "W", "")
	f.StringVarP(&discovery, "mtu-discovery", "M", "", "")
	family := familyFlags(f)
	to, err := parseDestination(f, words)
	if err != nil {
		return nil, err
	}
	switch discovery {
	case "", "dont":
	case "do":
		p.DontFragment = true
	default:
		return nil, &usageError{"ping: -M must be do or dont"}
	}
	if p.Family, err = family(); err != nil {
		return nil, err
	}
	p.To, p.IntervalNs, p.TimeoutNs = to, interval.ns, timeout.ns
	return p, nil
}

func parseTraceroute(node string, words []string) (*labv1.Traceroute, error) {
	t := &labv1.Traceroute{From: node}
	f := pflag.NewFlagSet("traceroute", pflag.ContinueOnError)
	var timeout secondsFlag
	f.Uint32VarP(&t.MaxHops, "max-hops", "m", 0, "")
	f.Uint32VarP(&t.Probes, "queries", "q", 0, "")
	f.VarP(&timeout, "wait", "w", "")
	family := familyFlags(f)
	to, err := parseDestination(f, words)
	if err != nil {
		return nil, err
	}
	t.To, t.TimeoutNs = to, timeout.ns
	t.Family, err = family()
	return t, err
}
