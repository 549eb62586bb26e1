package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

type auditOptions struct {
	*app
	req          labv1.ListAuditRequest
	since, until string
}

func newAuditCommand(a *app) *cobra.Command {
	o := &auditOptions{app: a}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Tell who changed what, when and from where, and who was refused",
		Long: `Tell who changed what, when, from where, and what came of it; refusals too. Students are told what they did themselves,
instructors what students did, administrators all. --lab picks a lab, NAME or OWNER/NAME, or a run.

labd keeps the newest 100,000 changes and 20,000 refusals. To keep more, write them out now and then: with -o jsonl each
entry is a line, and --after goes on behind the last one's index.`,
		Example: `  labctl audit --user bob --since 24h
  labctl audit --lab bob/arena --since 2026-11-20T08:00:00Z -o jsonl > audit.jsonl
  labctl audit --refused --newest 20`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("lab") { // not the one that is meant elsewhere
				o.req.Lab = o.lab
			}
			return o.run(cmd.Context(), time.Now())
		},
	}
	cmd.Flags().StringVar(&o.req.User, "user", "", "only what this person did")
	cmd.Flags().StringVar(&o.since, "since", "", "only from this time on: RFC 3339, or as long ago as 24h or 7d")
	cmd.Flags().StringVar(&o.until, "until", "", "only before this time")
	cmd.Flags().Uint64Var(&o.req.AfterIndex, "after", 0, "only entries with greater indexes")
	cmd.Flags().Uint32Var(&o.req.Newest, "newest", 0, "at most so many, the newest; 0: all")
	cmd.Flags().BoolVar(&o.req.Refused, "refused", false, "only refusals")
	a.completesFlag(cmd, "user", userNames)
	return cmd
}

func (o *auditOptions) run(ctx context.Context, now time.Time) (err error) {
	if o.req.Since, err = momentOf("--since", o.since, now); err != nil {
		return err
	}
	if o.req.Until, err = momentOf("--until", o.until, now); err != nil {
		return err
	}
	return o.with(ctx, func(ctx context.Context, c *client.Client) error {
		stream, err := c.Audit.ListAudit(ctx, &o.req)
		if err != nil {
			return err
		}
		l := &output.List{Columns: []string{"INDEX", "TIME", "USER", "FROM", "WHAT", "LAB", "OBJECT", "RESULT", "TOKEN", "DETAIL"},
			Brief: &output.Brief{Columns: []string{"TIME", "USER", "WHAT", "ON", "RESULT"}}}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return o.format.Write(o.out, l)
			}
			if err != nil {
				return err
			}
			for _, e := range m.GetEntries() {
				l.Add(e, fmt.Sprint(e.GetIndex()), dateOf(e.GetAt()), e.GetUser(), e.GetFrom(), e.GetMethod(), e.GetLab(), e.GetObject(), e.GetResult(), e.GetToken(), e.GetDetail())
				_, what, _ := strings.Cut(e.GetMethod(), ".") // no two services have a method of the same name
				l.Brief.Add(e.GetDetail(), e.GetAt().AsTime().UTC().Format("01-02 15:04:05"), e.GetUser(), what, strings.TrimSpace(e.GetLab()+" "+e.GetObject()), e.GetResult())
			}
		}
	})
}

// momentOf reads a time, or how long ago it is; nil: none is given.
func momentOf(flag, s string, now time.Time) (*timestamppb.Timestamp, error) {
	if s == "" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return timestamppb.New(t), nil
	}
	var ago lifetime
	if err := ago.Set(s); err != nil {
		return nil, &usageError{fmt.Sprintf("%s: %q is neither a time, as 2026-11-20T08:00:00Z, nor how long ago, as 24h or 7d", flag, s)}
	}
	return timestamppb.New(now.Add(-time.Duration(ago))), nil
}
