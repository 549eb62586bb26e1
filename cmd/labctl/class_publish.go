package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/client"
	"labd.dev/experiment"
	"labd.dev/labfile"
	labv1 "labd.dev/proto/lab/v1"
)

// publishOptions are publish's flags.
type publishOptions struct {
	*app
	checks   string
	as       string
	due      string
	lateDays uint32
	penalty  string
	sections []string
	revision uint64
	changes  bool
}

func newPublishCommand(a *app) *cobra.Command {
	o := &publishOptions{app: a}
	cmd := &cobra.Command{
		Use:   "publish FILE --checks FILE --as NAME",
		Short: "Publish a lab for a class, with the checks that a submission is marked by",
		Long: `Publish a lab for a class. Each student starts an own one of it, with an own seed, and submits it; a submission is replayed
from its file, seed and inputs, and marked by the checks (docs/checks.md). Hidden checks are asked after the deadline.

What counts is the last submission in time, or the last late one if that is worth more. Publishing a lab that is there needs
its --revision: so nobody overwrites what somebody else has published meanwhile. Labs that were started stay as they are.`,
		Example: `  labctl lab publish handshake.yaml --checks checks.yaml --as lab1 --due 2026-12-01T18:00
  labctl lab publish handshake.yaml --checks checks.yaml --as lab1 --due 2026-12-01T18:00 --late-days 2 --late-penalty 25% --revision 1`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&o.checks, "checks", "", "file of checks")
	f.StringVar(&o.as, "as", "", "what it is called (default: the lab file's name)")
	f.StringVar(&o.due, "due", "", "deadline: 2026-12-01T18:00 in this machine's time zone, or with one: 2026-12-01T18:00:00Z")
	f.Uint32Var(&o.lateDays, "late-days", 0, "take submissions so many days after the deadline")
	f.StringVar(&o.penalty, "late-penalty", "0%", "part of the points taken off a day that is begun")
	f.StringSliceVar(&o.sections, "section", nil, "only for this section, and others named so")
	f.Uint64Var(&o.revision, "revision", 0, "replace this revision")
	f.BoolVar(&o.changes, "changes", false, "let students change what their lab is made of (labctl apply)")
	return cmd
}

// dueLayouts are how a deadline may be written.
var dueLayouts = []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04"}

// dueTime reads a deadline; without a zone it is of this machine's.
func dueTime(text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	for _, layout := range dueLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return timestamppb.New(t), nil
		}
	}
	return nil, &usageError{fmt.Sprintf("--due: %q is no time; write 2026-12-01T18:00, or with a zone 2026-12-01T18:00:00Z", text)}
}

// part reads "25%" or "0.25".
func part(flag, text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, &usageError{fmt.Sprintf("--%s: %q is no part: write 25%%, from 0%% to 100%%", flag, text)}
	}
	return v, nil
}

func (o *publishOptions) run(ctx context.Context, path string) error {
	if o.checks == "" {
		return &usageError{"which checks is missing: --checks FILE; see docs/checks.md"}
	}
	due, err := dueTime(o.due)
	if err != nil {
		return err
	}
	penalty, err := part("late-penalty", o.penalty)
	if err != nil {
		return err
	}
	f, err := labfile.Load(path)
	if err != nil {
		return fileError(err)
	}
	list, err := experiment.LoadChecks(o.checks)
	if err != nil {
		return fileError(err)
	}
	if f.Spec.Clock == labv1.Clock_CLOCK_UNSPECIFIED {
		f.Spec.Clock = labv1.Clock_CLOCK_REAL
	}
	if o.as == "" {
		o.as = f.Spec.GetName()
	}
	return o.with(ctx, func(ctx context.Context, c *client.Client) error {
		if err := upload(ctx, c, f.Uploads); err != nil {
			return err
		}
		r, err := c.Classes.PublishTemplate(ctx, &labv1.PublishTemplateRequest{
			RequestId: client.RequestID(), Name: o.as, Spec: f.Spec, LabYaml: f.Source, Checks: list, DueAt: due, LateDays: o.lateDays, LatePenalty: penalty,
			Sections: o.sections, IfRevision: o.revision, Changes: o.changes})
		if err != nil {
			return err
		}
		t := r.GetTemplate()
		until := "no deadline"
		if t.GetDueAt() != nil {
			until = "due " + t.GetDueAt().AsTime().Local().Format("2006-01-02 15:04 MST")
		}
		return o.told(r, "%s is published, revision %d: %d checks (%d hidden), %s points, %s\nstudents: labctl lab start %[1]s", t.GetName(), t.GetRevision(),
			len(list), t.GetHiddenChecks(), number(t.GetMaxPoints()), until)
	})
}

func newStartCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "start NAME", Short: "Start your own lab of one that is published",
		Long:    "Start your own lab of one that is published for you. It has a seed of its own: sequence numbers, losses and times are yours alone.",
		Example: "  labctl class list\n  labctl lab start lab1\n  labctl get nodes --lab lab1", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.StartInstance(ctx, &labv1.StartInstanceRequest{RequestId: client.RequestID(), Template: args[0]})
				if err != nil {
					return err
				}
				return a.instance(r, r.GetInstance(), "is there")
			})
		},
	}
}

func newResetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "reset [NAME]", Short: "Make your own lab anew, with the same seed",
		Long:    "Make your own lab of one that is published anew, with the same seed. What you have submitted stays submitted.",
		Example: "  labctl lab reset lab1", Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.ResetInstance(ctx, &labv1.ResetInstanceRequest{RequestId: client.RequestID(), Template: strings.Join(args, "")})
				if err != nil {
					return err
				}
				return a.instance(r, r.GetInstance(), "is as new")
			})
		},
	}
}

func (a *app) instance(response any, i *labv1.Instance, what string) error {
	return a.told(response, "lab %s %s: %d nodes, seed %d\nwhen it is as it should be: labctl check %[1]s; labctl submit %[1]s",
		i.GetTemplate(), what, len(i.GetLab().GetSpec().GetNodes()), i.GetSeed())
}
