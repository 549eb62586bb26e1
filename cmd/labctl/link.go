package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"labd.dev/client"
	"labd.dev/internal/output"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// linkSetting is one KEY=VALUE of `link set`.
type linkSetting struct {
	key string
	set func(p *labv1.DirectionPatch, value string) error
}

var linkSettings = []linkSetting{
	{"delay", func(p *labv1.DirectionPatch, v string) error {
		ns, err := schema.ParseDuration(v)
		p.DelayNs = &ns
		return err
	}},
	{"loss", func(p *labv1.DirectionPatch, v string) error {
		chance, err := schema.ParseChance(v)
		p.Loss = &labv1.Loss{Model: &labv1.Loss_Random{Random: chance}}
		return err
	}},
	{"rate", func(p *labv1.DirectionPatch, v string) error {
		if v == "unlimited" {
			p.RateBps = proto.Uint64(0)
			return nil
		}
		bps, err := schema.ParseRate(v)
		p.RateBps = &bps
		return err
	}},
	{"jitter", func(p *labv1.DirectionPatch, v string) error {
		ns, err := schema.ParseDuration(v)
		p.Jitter = &labv1.Jitter{AmountNs: ns}
		return err
	}},
	{"duplicate", func(p *labv1.DirectionPatch, v string) error {
		chance, err := schema.ParseChance(v)
		p.Duplicate = &labv1.Duplicate{Chance: chance}
		return err
	}},
	{"corrupt", func(p *labv1.DirectionPatch, v string) error {
		chance, err := schema.ParseChance(v)
		p.Corrupt = &chance
		return err
	}},
	{"mtu", func(p *labv1.DirectionPatch, v string) error {
		n, err := schema.ParseSize(v)
		p.MtuBytes = proto.Uint32(uint32(min(n, 1<<32-1)))
		return err
	}},
	{"queue", func(p *labv1.DirectionPatch, v string) error {
		packets, bytes, err := schema.ParseLimit(v)
		p.Queue = &labv1.Queue{LimitPackets: uint32(min(packets, 1<<32-1)), LimitBytes: bytes}
		return err
	}},
	{"down", func(p *labv1.DirectionPatch, v string) error {
		if v != "on" && v != "off" {
			return fmt.Errorf("%q is neither on nor off", v)
		}
		p.Down = proto.Bool(v == "on")
		return nil
	}},
}

func linkKeys() string {
	var keys []string
	for _, s := range linkSettings {
		keys = append(keys, s.key)
	}
	return strings.Join(keys, ", ")
}

// parseLinkSettings reads "delay=20ms loss=1%".
func parseLinkSettings(args []string) (*labv1.DirectionPatch, error) {
	p, seen := &labv1.DirectionPatch{}, map[string]bool{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, &usageError{fmt.Sprintf("%q is not a setting like delay=20ms", arg)}
		}
		known := false
		for _, s := range linkSettings {
			if s.key != key {
				continue
			}
			known = true
			if err := s.set(p, value); err != nil {
				return nil, &usageError{fmt.Sprintf("%s: %v", key, err)}
			}
		}
		if !known {
			return nil, &usageError{fmt.Sprintf("a link has no setting %q; there are %s", key, linkKeys())}
		}
		if seen[key] {
			return nil, &usageError{key + " is given twice"}
		}
		seen[key] = true
	}
	return p, nil
}

func newLinkCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "link",
		Short:   "Change settings of a link while the lab runs",
		Example: "  labctl link set r1--r2 delay=20ms loss=1% --for 30s",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLinkSetCommand(a))
	return cmd
}

func newLinkSetCommand(a *app) *cobra.Command {
	duration := ""
	cmd := &cobra.Command{
		Use:   "set LINK KEY=VALUE...",
		Short: "Patch a link's settings, or those of one direction, for good or for a while",
		Long: `Patch a link's settings, or those of one direction ('r1->r2'), for good or for a while; what is not named stays.
Keys: ` + linkKeys() + `; rate=unlimited takes a limit off.
Later settings lie over earlier ones, faults over all of them; an apply of the lab's file takes those for good back.`,
		Example: `  labctl link set r1--r2 delay=20ms loss=1%
  labctl link set 'r1->r2' rate=1mbit queue=10p --for 30s`,
		Args: arguments(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return setLink(cmd.Context(), a, args[0], args[1:], duration)
		},
	}
	cmd.Flags().StringVar(&duration, "for", "", "how long: 30s (default: for good)")
	return cmd
}

func setLink(ctx context.Context, a *app, link string, settings []string, duration string) error {
	patch, err := parseLinkSettings(settings)
	if err != nil {
		return err
	}
	set := &labv1.LinkSet{Link: link, Patch: patch}
	if duration != "" {
		if set.DurationNs, err = schema.ParseDuration(duration); err != nil {
			return &usageError{"--for: " + err.Error()}
		}
		if set.DurationNs <= 0 {
			return &usageError{"--for: must be longer than 0s"}
		}
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Links.SetLink(ctx, &labv1.SetLinkRequest{RequestId: client.RequestID(), Lab: a.labName(), Set: set})
	if err != nil {
		return err
	}
	return a.stamped("link", link, r.Stamp, r)
}

// linkSetText names the settings that an input changes: "r1--r2 delay=20ms loss=1% for 30s".
func linkSetText(s *labv1.LinkSet) string {
	p, text := s.GetPatch(), s.GetLink()
	if p == nil {
		return text
	}
	for _, c := range []struct {
		has        bool
		key, value string
	}{
		{p.DelayNs != nil, "delay", output.Duration(p.GetDelayNs())},
		{p.GetLoss() != nil, "loss", lossText(p.GetLoss())},
		{p.RateBps != nil, "rate", output.Rate(p.GetRateBps())},
		{p.GetJitter() != nil, "jitter", output.Duration(p.GetJitter().GetAmountNs())},
		{p.GetDuplicate() != nil, "duplicate", output.Chance(p.GetDuplicate().GetChance())},
		{p.Corrupt != nil, "corrupt", output.Chance(p.GetCorrupt())},
		{p.MtuBytes != nil, "mtu", output.Size(uint64(p.GetMtuBytes()))},
		{p.GetQueue() != nil, "queue", queueText(p.GetQueue())},
		{p.Down != nil, "down", map[bool]string{true: "on", false: "off"}[p.GetDown()]},
	} {
		if c.has {
			text += " " + c.key + "=" + c.value
		}
	}
	if s.GetDurationNs() > 0 {
		text += " for " + output.Duration(s.GetDurationNs())
	}
	return text
}
