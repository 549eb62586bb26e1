package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

func newClassCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "class list|status|scores|regrade|delete",
		Short: "Labs that are published for a class: who is how far, and marks",
		Long: `Labs that are published for a class. An instructor publishes one (labctl lab publish); students start an own one of it
(labctl lab start), try it (labctl check) and hand it in (labctl submit). See docs/instructor.md.`,
		Example: "  labctl class list\n  labctl class status lab1\n  labctl class scores lab1 -o csv",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newClassListCommand(a), newClassStatusCommand(a), newScoresCommand(a), newRegradeCommand(a), newTemplateDeleteCommand(a))
	return cmd
}

func newClassListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the labs that are published for you", Example: "  labctl class list", Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.ListTemplates(ctx, &labv1.ListTemplatesRequest{})
				if err != nil {
					return err
				}
				return a.format.Write(a.out, templateList(r.GetTemplates()))
			})
		},
	}
}

func templateList(templates []*labv1.Template) *output.List {
	l := &output.List{Columns: []string{"NAME", "REVISION", "DUE", "LATE DAYS", "POINTS", "SECTIONS", "LABS", "SUBMITTED", "BY"},
		Brief: &output.Brief{Columns: []string{"NAME", "REVISION", "DUE", "POINTS", "LABS", "SUBMITTED"}}}
	for _, t := range templates {
		revision, points := fmt.Sprint(t.GetRevision()), number(t.GetMaxPoints())
		labs, submitted := fmt.Sprint(t.GetInstances()), fmt.Sprint(t.GetSubmissions())
		l.Add(t, t.GetName(), revision, dueText(t), fmt.Sprint(t.GetLateDays()), points, joined(t.GetSections(), "all"), labs, submitted, t.GetPublisher())
		l.Brief.Add("", t.GetName(), revision, dueText(t), points, labs, submitted)
	}
	return l
}

func dueText(t *labv1.Template) string {
	if t.GetDueAt() == nil {
		return "-"
	}
	return t.GetDueAt().AsTime().Local().Format(dueLayouts[0])
}

// number writes points: as few digits as they need.
func number(points float64) string { return fmt.Sprintf("%.6g", points) }

func joined(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	text := list[0]
	for _, s := range list[1:] {
		text += "," + s
	}
	return text
}

func newClassStatusCommand(a *app) *cobra.Command {
	var section string
	cmd := &cobra.Command{
		Use: "status LAB", Short: "Tell how far each student is",
		Example: "  labctl class status lab1\n  labctl class status lab1 --section tue -o csv", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.GetClassStatus(ctx, &labv1.GetClassStatusRequest{Template: args[0], Section: section})
				if err != nil {
					return err
				}
				return a.format.Write(a.out, statusList(r))
			})
		},
	}
	cmd.Flags().StringVar(&section, "section", "", "only this section")
	return cmd
}

func statusList(r *labv1.GetClassStatusResponse) *output.List {
	l := &output.List{Columns: []string{"STUDENT", "SECTION", "LAB", "INPUTS", "RESETS", "STARTED", "ATTEMPT", "SUBMITTED", "LATE", "GRADE", "SCORE", "OF", "ERROR"},
		Brief: &output.Brief{Columns: []string{"STUDENT", "SECTION", "LAB", "INPUTS", "SUBMITTED", "LATE", "GRADE", "SCORE", "OF"}}}
	for _, s := range r.GetStudents() {
		lab, started, submitted, attempt, late, grade, score := "-", "-", "-", "-", "-", "-", "-"
		if s.GetStartedAt() != nil {
			started, lab = wallText(s.GetStartedAt().AsTime()), "gone"
		}
		if s.GetLabState() != labv1.LabState_LAB_STATE_UNSPECIFIED {
			lab = output.EnumText(s.GetLabState())
		}
		if sub := s.GetSubmission(); sub != nil {
			submitted, attempt = wallText(sub.GetSubmittedAt().AsTime()), fmt.Sprint(sub.GetAttempt())
			late, grade, score = daysLate(sub.GetDaysLate()), output.EnumText(sub.GetState()), number(sub.GetScore())
		}
		of, inputs := number(r.GetTemplate().GetMaxPoints()), fmt.Sprint(s.GetInputs())
		l.Add(s, s.GetPerson(), s.GetSection(), lab, inputs, fmt.Sprint(s.GetResets()), started, attempt, submitted, late, grade, score, of, s.GetSubmission().GetError())
		l.Brief.Add(s.GetSubmission().GetError(), s.GetPerson(), s.GetSection(), lab, inputs, submitted, late, grade, score, of)
	}
	return l
}

func daysLate(days uint32) string {
	switch days {
	case 0:
		return "-"
	case 1:
		return "1 day"
	}
	return fmt.Sprintf("%d days", days)
}

func wallText(t time.Time) string { return t.Local().Format("01-02 15:04:05") }

func newRegradeCommand(a *app) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "regrade LAB", Short: "Grade all submissions anew, by the checks as they are published now",
		Long: `Grade all submissions anew: each is replayed once more, from what was submitted, and judged by the checks of the newest
revision. To change checks, publish the lab again with --revision.`,
		Example: "  labctl class regrade lab1 --wait", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.RegradeTemplate(ctx, &labv1.RegradeTemplateRequest{RequestId: client.RequestID(), Template: args[0]})
				if err != nil {
					return err
				}
				if !wait {
					return a.told(r, "submissions that are graded anew: %d; see: labctl class status %s", r.GetSubmissions(), args[0])
				}
				if err := allGraded(ctx, c, args[0]); err != nil {
					return err
				}
				return a.told(r, "submissions graded anew: %d", r.GetSubmissions())
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until all are")
	return cmd
}

// allGraded waits until no submission that counts is to be graded.
func allGraded(ctx context.Context, c *client.Client, lab string) error {
	for {
		r, err := c.Classes.GetScores(ctx, &labv1.GetScoresRequest{Template: lab})
		if err != nil {
			return err
		}
		pending := func(s *labv1.Submission) bool { return s.GetState() == labv1.Submission_STATE_PENDING }
		if !slices.ContainsFunc(r.GetSubmissions(), pending) {
			return nil
		}
		select {
		case <-time.After(gradePoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newTemplateDeleteCommand(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete LAB", Short: "Withdraw a published lab, with what was submitted of it",
		Long: `Withdraw a published lab. If students have started it or handed it in, that needs --force: its submissions and marks are
gone then, so save them before (labctl class scores). Students' own labs stay, as labs like any other.`,
		Example: "  labctl class delete lab1", Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Classes.DeleteTemplate(ctx, &labv1.DeleteTemplateRequest{RequestId: client.RequestID(), Template: args[0], Force: force})
				if err != nil {
					return err
				}
				return a.told(r, "%s is withdrawn", args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if there are labs or submissions of it")
	return cmd
}

// told prints what came of a call: a sentence for people, else the answer.
func (a *app) told(response any, format string, args ...any) error {
	if a.format.ForPeople() {
		_, err := fmt.Fprintf(a.out, format+"\n", args...)
		return err
	}
	return a.format.WriteOne(a.out, &output.List{Objects: []any{response}})
}
