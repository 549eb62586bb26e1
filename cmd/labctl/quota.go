package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/auth"
	"labd.dev/internal/output"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

func newQuotaCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quota get|set",
		Short: "See and change how much each person may have at once",
		Long: `See and change how much each person may have at once: standing labs, the nodes and links in them and in runs that have not
ended, runs at a time and runs kept, files and their bytes, events a second, connections in a lab, bytes of what is recorded, and
how long a lab may stand unused. A person's own bound goes before that of the role, and the role's before what is built in:

                     student  instructor      admin
  labs                     5          50  unlimited
  nodes                  200       5 000  unlimited
  links                  400      10 000  unlimited
  concurrent-runs          2          10  unlimited
  runs                    50       1 000  unlimited
  files                  200       2 000  unlimited
  file-bytes           1 GiB       4 GiB  unlimited
  event-rate       unlimited   unlimited  unlimited
  connections         10 000     100 000  unlimited
  trace-bytes          2 GiB      20 GiB  unlimited
  idle-lifetime    unlimited   unlimited  unlimited

Most of these refuse what would be too much. event-rate holds back: labs of who would run more events in a second are slowed
down until they do not, say "held" in labctl get labs, and come to the same. connections is of each lab by itself; a lab that
has more at once ends with that reason. It keeps the bound that it was made under. trace-bytes is what runs and labs have
recorded and saved: at the bound new ones are refused, and a run that records is held back until something is deleted.
idle-lifetime is for how long a lab may stand that is given no input and that nobody who is in it asks for anything: at its end
it is stopped, of which its owner is warned when four fifths have passed. It keeps its file and its journal, and goes on where
it was with labctl resume.

A labd that serves its own machine only asks nobody who they are, and nobody has a quota there.`,
		Example: "  labctl quota get\n  labctl quota set --user bob --labs 8",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newQuotaGetCommand(a), newQuotaSetCommand(a))
	return cmd
}

// quotaHolder is whose quota a command is about.
type quotaHolder struct{ user, role string }

func (h *quotaHolder) flags(a *app, cmd *cobra.Command, user string) {
	cmd.Flags().StringVar(&h.user, "user", "", user)
	cmd.Flags().StringVar(&h.role, "role", "", "of all who have this role and no bound of their own: student, instructor or admin")
	cmd.MarkFlagsMutuallyExclusive("user", "role")
	a.completesFlag(cmd, "user", userNames)
}

func (h *quotaHolder) roleNumber() (labv1.Role, error) {
	if h.role == "" {
		return labv1.Role_ROLE_UNSPECIFIED, nil
	}
	role, err := auth.ParseRole(h.role)
	if err != nil {
		return role, &usageError{"--role: " + err.Error()}
	}
	return role, nil
}

func newQuotaGetCommand(a *app) *cobra.Command {
	var of quotaHolder
	cmd := &cobra.Command{
		Use: "get", Short: "Tell how much a person may have, and has",
		Long:    "Tell how much a person may have, and has. Instructors and administrators are told of others and of roles, too.",
		Example: "  labctl quota get\n  labctl quota get --user bob\n  labctl quota get --role student",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			role, err := of.roleNumber()
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Quotas.GetQuota(ctx, &labv1.GetQuotaRequest{User: of.user, Role: role})
				if err != nil {
					return err
				}
				return a.format.Write(a.out, quotaList(r.GetUses(), role != labv1.Role_ROLE_UNSPECIFIED))
			})
		},
	}
	of.flags(a, cmd, "of this person; without it and --role, of whoever asks")
	return cmd
}

// quotaList is a quota as a table; a role has nothing in use.
func quotaList(uses []*labv1.QuotaUse, ofRole bool) *output.List {
	l := &output.List{Columns: []string{"SUBJECT", "IN USE", "AT MOST", "SET"}}
	origins := map[labv1.QuotaUse_Origin]string{labv1.QuotaUse_ORIGIN_BUILT_IN: "built in",
		labv1.QuotaUse_ORIGIN_ROLE: "for the role", labv1.QuotaUse_ORIGIN_USER: "for the person"}
	for _, u := range uses {
		inUse, most := strconv.FormatUint(u.GetInUse(), 10), "unlimited"
		if ofRole {
			inUse = ""
		}
		if u.AtMost != nil {
			most = strconv.FormatUint(u.GetAtMost(), 10)
		}
		if u.GetSubject() == labv1.QuotaSubject_QUOTA_SUBJECT_IDLE_LIFETIME && u.AtMost != nil {
			most = lifetimeText(u.GetAtMost())
		}
		l.Add(u, quotaSubjectText(u.GetSubject()), inUse, most, origins[u.GetOrigin()])
	}
	return l
}

// lifetimeText is a number of seconds as it is given on a command line: "72h".
func lifetimeText(seconds uint64) string {
	switch {
	case seconds%3600 == 0:
		return fmt.Sprintf("%dh", seconds/3600)
	case seconds%60 == 0:
		return fmt.Sprintf("%dmin", seconds/60)
	}
	return fmt.Sprintf("%ds", seconds)
}

// quotaSubjectText is a subject as its flag is called: "concurrent-runs".
func quotaSubjectText(s labv1.QuotaSubject) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s.String(), "QUOTA_SUBJECT_")), "_", "-")
}

// limitFlag is a flag for a bound: a number or a size, "unlimited" or "usual".
type limitFlag struct {
	limit *labv1.QuotaLimit
	text  string
}

func (f *limitFlag) Set(s string) error {
	f.text = s
	switch s {
	case "unlimited":
		f.limit.Bound = &labv1.QuotaLimit_Unlimited{Unlimited: true}
		return nil
	case "usual":
		f.limit.Bound = &labv1.QuotaLimit_Usual{Usual: true}
		return nil
	}
	if f.limit.GetSubject() == labv1.QuotaSubject_QUOTA_SUBJECT_IDLE_LIFETIME {
		ns, err := schema.ParseDuration(s)
		if err == nil && ns%int64(time.Second) != 0 {
			err = fmt.Errorf("%q is not a whole number of seconds", s)
		}
		f.limit.Bound = &labv1.QuotaLimit_AtMost{AtMost: uint64(max(0, ns)) / uint64(time.Second)}
		return err
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil && strings.HasSuffix(quotaSubjectText(f.limit.GetSubject()), "-bytes") {
		n, err = schema.ParseSize(s)
	} else if err != nil {
		err = fmt.Errorf("%q is no number, nor unlimited, nor usual", s)
	}
	f.limit.Bound = &labv1.QuotaLimit_AtMost{AtMost: n}
	return err
}

func (f *limitFlag) String() string { return f.text }

func (f *limitFlag) Type() string { return "bound" }

func newQuotaSetCommand(a *app) *cobra.Command {
	var of quotaHolder
	var limits []*limitFlag
	cmd := &cobra.Command{
		Use: "set --user NAME|--role ROLE", Short: "Bound how much a person, or all of a role, may have",
		Long: `Bound how much a person, or all of a role, may have: a number, unlimited, or usual, which is for a person what the role
has, and for a role what is built in. What is not named stays as it is.

A bound below what is in use takes nothing away: more is refused until there is less. Instructors set what students may
have, and no more of it than they may have themselves.`,
		Example: "  labctl quota set --user bob --labs 3 --nodes 100\n  labctl quota set --role student --file-bytes 256MiB\n  labctl quota set --user bob --labs usual",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			role, err := of.roleNumber()
			if err != nil {
				return err
			}
			req := &labv1.SetQuotaRequest{RequestId: client.RequestID(), User: of.user, Role: role}
			for _, f := range limits {
				if f.text != "" {
					req.Limits = append(req.Limits, f.limit)
				}
			}
			switch {
			case of.user == "" && of.role == "":
				return &usageError{"say whose quota: --user NAME or --role ROLE"}
			case len(req.GetLimits()) == 0:
				return &usageError{"say what is bounded: --labs 3"}
			}
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Quotas.SetQuota(ctx, req)
				if err != nil {
					return err
				}
				if len(r.GetOver()) > 0 {
					fmt.Fprintf(a.err, "labctl: there is more in use already by: %s; nothing is taken away, and more is refused until there is less\n",
						strings.Join(r.GetOver(), ", "))
				}
				return a.format.Write(a.out, quotaList(r.GetUses(), of.user == ""))
			})
		},
	}
	of.flags(a, cmd, "of this person")
	for _, s := range []struct {
		subject labv1.QuotaSubject
		help    string
	}{
		{labv1.QuotaSubject_QUOTA_SUBJECT_LABS, "standing labs"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_NODES, "nodes of standing labs, and of runs that have not ended"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_LINKS, "links of standing labs, and of runs that have not ended"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_CONCURRENT_RUNS, "runs that have not ended"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_RUNS, "runs that are kept, those included"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_FILES, "uploaded files"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_FILE_BYTES, "bytes of uploaded files: 256MiB"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_EVENT_RATE, "events a second of wall time, of all labs and runs together"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_CONNECTIONS, "TCP connections at once, in each lab or run that is made from now on"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_TRACE_BYTES, "bytes of what labs and runs have recorded and saved: 2GiB"},
		{labv1.QuotaSubject_QUOTA_SUBJECT_IDLE_LIFETIME, "how long a lab may stand that nobody uses: 72h"},
	} {
		f := &limitFlag{limit: &labv1.QuotaLimit{Subject: s.subject}}
		limits = append(limits, f)
		cmd.Flags().Var(f, quotaSubjectText(s.subject), s.help)
	}
	return cmd
}
