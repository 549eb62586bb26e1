package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

// gradePoll is how often labctl submit asks whether a submission is graded.
const gradePoll = 200 * time.Millisecond

// answersFlag reads "--answer ID=VALUE".
func answersFlag(given []string) (map[string]string, error) {
	answers := map[string]string{}
	for _, text := range given {
		id, value, ok := strings.Cut(text, "=")
		if !ok || id == "" {
			return nil, &usageError{fmt.Sprintf("--answer: %q: write ID=VALUE, with the id of the check", text)}
		}
		if _, twice := answers[id]; twice {
			return nil, &usageError{fmt.Sprintf("--answer: %s is given twice", id)}
		}
		answers[id] = value
	}
	return answers, nil
}

func newCheckCommand(a *app) *cobra.Command {
	var given []string
	var person string
	cmd := &cobra.Command{
		Use:   "check [LAB]",
		Short: "Try your lab by the checks that you may see",
		Long: `Replay your lab of a class as it is now, and judge it by the checks that you may see. Nothing is handed in: try as often as
you like. A check that fails says where to look. Exits with 1 if one does.`,
		Example: "  labctl check\n  labctl check lab1 --answer client-iss=305419896", Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			answers, err := answersFlag(given)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.CheckInstance(ctx, &labv1.CheckInstanceRequest{Template: strings.Join(args, ""), Answers: answers, Person: person})
				if err != nil {
					return err
				}
				if err := a.checked(r); err != nil {
					return err
				}
				return failedChecks(r.GetResults())
			})
		},
	}
	cmd.Flags().StringArrayVar(&given, "answer", nil, "an answer, by the id of its check: ID=VALUE")
	cmd.Flags().StringVar(&person, "user", "", "for instructors: this student's lab")
	return cmd
}

// failedChecks is an error if one of them does not hold.
func failedChecks(results []*labv1.CheckResult) error {
	for _, r := range results {
		if !r.GetOk() {
			return &failedError{exitFailed}
		}
	}
	return nil
}

func (a *app) checked(r *labv1.CheckInstanceResponse) error {
	if !a.format.ForPeople() {
		return a.format.WriteOne(a.out, &output.List{Objects: []any{r}})
	}
	var b strings.Builder
	a.writeResults(&b, r.GetResults())
	fmt.Fprintf(&b, "\n%s of %s points, at %s of lab time", number(r.GetPoints()), number(r.GetMaxPoints()), output.Seconds(r.GetEndNs()))
	if n := r.GetHiddenChecks(); n > 0 {
		fmt.Fprintf(&b, "; %s after the deadline", hiddenText(n))
	}
	if r.GetError() != "" {
		fmt.Fprintf(&b, "\nthe lab ended by an error: %s", r.GetError())
	}
	_, err := fmt.Fprintln(a.out, b.String())
	return err
}

// writeResults prints what checks came to, and where to look where they failed.
func (a *app) writeResults(b *strings.Builder, results []*labv1.CheckResult) {
	l := &output.List{Columns: []string{"CHECK", "RESULT", "POINTS", "GOT"}}
	for _, c := range results {
		result := "ok"
		if !c.GetOk() {
			result = "FAILED"
		}
		l.Add(c, c.GetId(), result, number(c.GetPoints()), c.GetGot())
	}
	_ = a.format.Write(b, l) // a strings.Builder takes all
	more := "\n"
	for _, c := range results {
		if len(c.GetLook()) > 0 {
			fmt.Fprintf(b, "%s%s: see %s\n", more, c.GetId(), strings.Join(c.GetLook(), "; "))
			more = ""
		}
		if c.GetHint() != "" {
			fmt.Fprintf(b, "%s  %s\n", more, c.GetHint())
			more = ""
		}
	}
}

func hiddenText(n uint32) string {
	if n == 1 {
		return "one hidden check is asked"
	}
	return fmt.Sprintf("%d hidden checks are asked", n)
}

func newSubmitCommand(a *app) *cobra.Command {
	var given []string
	var noWait bool
	cmd := &cobra.Command{
		Use:   "submit [LAB]",
		Short: "Hand in your lab of a class as it is now",
		Long: `Hand in your lab of a class as it is now. It is replayed and judged at labd; what you see are the checks that are not hidden.
You may hand in again: what counts is the last submission in time, or the last late one if that is worth more.`,
		Example: "  labctl submit\n  labctl submit lab1 --answer client-iss=305419896", Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			answers, err := answersFlag(given)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.SubmitInstance(ctx, &labv1.SubmitInstanceRequest{RequestId: client.RequestID(), Template: strings.Join(args, ""), Answers: answers})
				if err != nil {
					return err
				}
				s := r.GetSubmission()
				if !noWait {
					if s, err = graded(ctx, c, s); err != nil {
						return err
					}
				}
				return a.submitted(s)
			})
		},
	}
	cmd.Flags().StringArrayVar(&given, "answer", nil, "an answer, by the id of its check: ID=VALUE")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until the visible checks are judged")
	return cmd
}

// graded waits until a submission has been judged. Another that has taken its place meanwhile does as well.
func graded(ctx context.Context, c *client.Client, s *labv1.Submission) (*labv1.Submission, error) {
	for s.GetState() == labv1.Submission_STATE_PENDING {
		select {
		case <-time.After(gradePoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		r, err := c.Classes.GetSubmission(ctx, &labv1.GetSubmissionRequest{Template: s.GetTemplate(), Attempt: s.GetAttempt()})
		if e, ok := errors.AsType[*client.Error](err); ok && e.Reason == "NOT_SUBMITTED" {
			r, err = c.Classes.GetSubmission(ctx, &labv1.GetSubmissionRequest{Template: s.GetTemplate()})
		}
		if err != nil {
			return nil, err
		}
		s = r.GetSubmission()
	}
	return s, nil
}

// pointsOf is what checks are worth together.
func pointsOf(results []*labv1.CheckResult) (sum float64) {
	for _, r := range results {
		sum += r.GetPoints()
	}
	return sum
}

func (a *app) submitted(s *labv1.Submission) error {
	if !a.format.ForPeople() {
		return a.format.WriteOne(a.out, &output.List{Objects: []any{s}})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is submitted, attempt %d, at %s of lab time", s.GetTemplate(), s.GetAttempt(), output.Seconds(s.GetEndNs()))
	if s.GetDaysLate() > 0 {
		fmt.Fprintf(&b, ", %s late", daysLate(s.GetDaysLate()))
	}
	switch s.GetState() {
	case labv1.Submission_STATE_FAILED:
		fmt.Fprintf(&b, "\nit could not be judged: %s", s.GetError())
	case labv1.Submission_STATE_PENDING:
	default:
		b.WriteString("\n\n")
		a.writeResults(&b, s.GetResults())
		what := "points"
		if s.GetState() == labv1.Submission_STATE_VISIBLE && pointsOf(s.GetResults()) < s.GetMaxPoints() {
			what = "points so far; the hidden checks are asked after the deadline"
		}
		fmt.Fprintf(&b, "\n%s of %s %s", number(s.GetScore()), number(s.GetMaxPoints()), what)
	}
	_, err := fmt.Fprintln(a.out, b.String())
	return err
}
