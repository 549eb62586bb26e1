package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// The verbs for a standing lab's clock. They are no inputs: what they do is not journaled and changes no result.

func newPauseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "pause [LAB]",
		Short: "Stop a lab's clock: nothing happens in it until it is resumed or stepped",
		Long: `Stop a lab's clock where it is. What the lab is told meanwhile (a transfer, a fault) is taken and waits. It changes
nothing in what the lab does, only when by the wall it does it.`,
		Example: `  labctl pause
  labctl step --for 10ms`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.controlClock(cmd.Context(), args, &labv1.ControlClockRequest{
				Action: &labv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}}, "paused")
		},
	}
}

func newResumeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "resume [LAB]",
		Short:   "Let a paused lab go on from where it is",
		Example: "  labctl resume",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.controlClock(cmd.Context(), args, &labv1.ControlClockRequest{
				Action: &labv1.ControlClockRequest_Resume{Resume: &labv1.ResumeClock{}}}, "resumed")
		},
	}
}

func newStepCommand(a *app) *cobra.Command {
	var duration string
	var events uint64
	cmd := &cobra.Command{
		Use:   "step [LAB] [--for DURATION | --events N]",
		Short: "Let some lab time pass, as fast as possible, and stop again",
		Long: `Let some lab time pass, or some events happen, as fast as possible, and stop again: a lab that is not paused is
paused first. Events of one instant stay together, so that a step may be of more events than were asked for. Without a
flag it is a step of one event.`,
		Example: `  labctl step --for 10ms
  labctl step --events 20`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			step := &labv1.StepClock{Size: &labv1.StepClock_Events{Events: events}}
			switch {
			case duration != "" && cmd.Flags().Changed("events"):
				return &usageError{"--for and --events: a step is of one or the other"}
			case duration != "":
				ns, err := schema.ParseDuration(duration)
				if err != nil {
					return &usageError{"--for: " + err.Error()}
				}
				if ns <= 0 {
					return &usageError{"--for: must be longer than 0s"}
				}
				step.Size = &labv1.StepClock_ForNs{ForNs: ns}
			case events == 0:
				return &usageError{"--events: must be 1 or more"}
			}
			return a.controlClock(cmd.Context(), args, &labv1.ControlClockRequest{
				Action: &labv1.ControlClockRequest_Step{Step: step}}, "stepped")
		},
	}
	cmd.Flags().StringVar(&duration, "for", "", "lab time that passes: 10ms")
	cmd.Flags().Uint64Var(&events, "events", 1, "events that happen")
	return cmd
}

func newPaceCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "pace PACE [LAB]",
		Short: "Set how fast a lab's real clock goes: 1 as the wall's, 0.1 in slow motion",
		Long: `Set how many lab seconds pass in a wall second, on a lab with the real clock. It holds until it is set again or labd
is started anew, which goes by the lab file.`,
		Example: `  labctl pace 0.1          # ten times slower than the wall
  labctl pace 1`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			pace, err := strconv.ParseFloat(args[0], 64)
			if err != nil || !(pace > 0) {
				return &usageError{fmt.Sprintf("%q is no pace: lab seconds in a wall second, 0.1 is slow motion, 1 as the wall's clock; to stop: labctl pause", args[0])}
			}
			return a.controlClock(cmd.Context(), args[1:], &labv1.ControlClockRequest{
				Action: &labv1.ControlClockRequest_Pace{Pace: &labv1.PaceClock{Pace: pace}}}, "paced")
		},
	}
}

// controlClock gives a lab's clock an order and tells where the lab stands. args is the lab's name, if it is given.
func (a *app) controlClock(ctx context.Context, args []string, req *labv1.ControlClockRequest, done string) error {
	req.RequestId, req.Lab = client.RequestID(), a.labName()
	if len(args) > 0 {
		req.Lab = args[0]
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Clocks.ControlClock(ctx, req)
	if err != nil {
		return err
	}
	if a.format.ForPeople() {
		_, err := fmt.Fprintln(a.out, clockText(r, done))
		return err
	}
	p := r.Progress
	l := &output.List{Columns: []string{"LAB", "NOW NS", "PAUSED", "PACE", "EVENTS"}}
	l.Add(r, r.Lab, fmt.Sprint(p.GetNowNs()), fmt.Sprint(p.GetPaused()), fmt.Sprint(p.GetPace()), fmt.Sprint(r.Events))
	return a.format.WriteOne(a.out, l)
}

func clockText(r *labv1.ControlClockResponse, done string) string {
	at := output.Seconds(r.Progress.GetNowNs())
	switch done {
	case "stepped":
		return fmt.Sprintf("lab %s: stepped over %s to %s", r.Lab, counted(r.Events, "event"), at)
	case "paced":
		return fmt.Sprintf("lab %s: %g lab seconds in a second, from %s on", r.Lab, r.Progress.GetPace(), at)
	}
	return fmt.Sprintf("lab %s: %s at %s", r.Lab, done, at)
}

func counted(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
