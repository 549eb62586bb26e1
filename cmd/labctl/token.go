package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/auth"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

const day = 24 * time.Hour

// lifetime is a flag for a time of days or less.
type lifetime time.Duration

// Set reads "12h", "180d" or 0.
func (l *lifetime) Set(s string) error {
	if days, found := strings.CutSuffix(s, "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/int64(day)) {
			return fmt.Errorf("%q is no number of days", s)
		}
		*l = lifetime(time.Duration(n) * day)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 0 && d < time.Second {
		return fmt.Errorf("%q is no time: 90m, 12h or 180d", s)
	}
	*l = lifetime(d)
	return nil
}

func (l *lifetime) String() string {
	if d := time.Duration(*l); d%day == 0 && d > 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return time.Duration(*l).String()
}

// Type is what help calls it.
func (l *lifetime) Type() string { return "time" }

func (l *lifetime) seconds() int64 { return int64(time.Duration(*l) / time.Second) }

func newTokenCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token create|list|rotate|revoke",
		Short: "See and change tokens, which say who calls",
		Long: `See and change tokens. A token is shown with every call and says who calls; labd keeps its hash only, so that it is shown
here once and never again. Everybody has their own tokens, instructors their students' as well, administrators everybody's.
A token makes none that may do more, or for longer, than itself.`,
		Example: "  labctl token create --label laptop --ttl 30d\n  labctl token rotate",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreateCommand(a), newTokenListCommand(a), newTokenRotateCommand(a), newTokenRevokeCommand(a))
	return cmd
}

type tokenCreateOptions struct {
	*app
	user, label, most, only, out string
	ttl                          lifetime
}

func newTokenCreateCommand(a *app) *cobra.Command {
	o := &tokenCreateOptions{app: a, ttl: lifetime(90 * day)}
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token",
		Example: `  labctl token create --label laptop
  labctl token create --user bob --token-out bob.token
  labctl token create --most viewer --only ann/arena --ttl 12h`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.user, "user", "", "whose; default: one's own")
	cmd.Flags().StringVar(&o.label, "label", "", "what it is for")
	cmd.Flags().Var(&o.ttl, "ttl", "how long it is valid: 12h, 90d; 0: without end")
	cmd.Flags().StringVar(&o.most, "most", "", "the most that it allows: person, viewer, operator, owner, instructor or admin; default: all that its person may")
	cmd.Flags().StringVar(&o.only, "only", "", "the only lab that it is for, OWNER/NAME; default: all")
	cmd.Flags().StringVar(&o.out, "token-out", "", "write it to this file, which only this user can read, instead of printing it")
	completeWords(cmd, "most", "person", "viewer", "operator", "owner", "instructor", "admin")
	a.completesFlag(cmd, "user", userNames)
	return cmd
}

func completeWords(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("labctl: " + err.Error())
	}
}

func (o *tokenCreateOptions) run(ctx context.Context) error {
	t := auth.NewToken()
	req := &labv1.CreateTokenRequest{RequestId: client.RequestID(), User: o.user,
		Token: &labv1.NewToken{Id: t.ID, Sha256: t.Hash(), LifetimeS: o.ttl.seconds(), Label: o.label}}
	if o.most != "" || o.only != "" {
		most := labv1.Permission(labv1.Permission_value["PERMISSION_"+strings.ToUpper(o.most)])
		if o.most != "" && (most < labv1.Permission_PERMISSION_PERSON || most > labv1.Permission_PERMISSION_ADMIN) {
			return &usageError{fmt.Sprintf("--most: %q is none of person, viewer, operator, owner, instructor, admin", o.most)}
		}
		req.Token.Scope = &labv1.TokenScope{Most: most, Lab: o.only}
	}
	return o.with(ctx, func(ctx context.Context, c *client.Client) error {
		r, err := c.Tokens.CreateToken(ctx, req)
		if err != nil {
			return err
		}
		return o.tellToken(t, r.GetToken(), o.out)
	})
}

// tellToken shows a token, this once, or writes it to a file.
func (a *app) tellToken(t auth.Token, info *labv1.TokenInfo, file string) error {
	if file != "" {
		if err := writeOwn(file, t.Text()+"\n"); err != nil {
			return fmt.Errorf("%w; the token %s is of no use: labctl token revoke %s", err, t.ID, t.ID)
		}
	}
	l := &output.List{Columns: []string{"ID", "USER", "EXPIRES", "TOKEN"}}
	l.Add(madeToken{ID: t.ID, User: info.GetUser(), Expires: dateOf(info.GetExpiresAt()), Token: textUnless(t, file), File: file},
		t.ID, info.GetUser(), cmp.Or(dateOf(info.GetExpiresAt()), "never"), cmp.Or(file, t.Text()))
	return a.format.Write(a.out, l)
}

// madeToken is a token that was made, for programs.
type madeToken struct {
	ID      string `json:"id"`
	User    string `json:"user"`
	Expires string `json:"expires,omitempty"`
	Token   string `json:"token,omitempty"`
	File    string `json:"file,omitempty"`
}

func textUnless(t auth.Token, file string) string {
	if file != "" {
		return ""
	}
	return t.Text()
}

func newTokenListCommand(a *app) *cobra.Command {
	req := &labv1.ListTokensRequest{}
	cmd := &cobra.Command{
		Use: "list", Short: "List tokens", Example: "  labctl token list --user bob",
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Tokens.ListTokens(ctx, req)
				if err != nil {
					return err
				}
				return a.format.Write(a.out, tokenList(r.GetTokens()))
			})
		},
	}
	cmd.Flags().StringVar(&req.User, "user", "", "whose; default: one's own")
	a.completesFlag(cmd, "user", userNames)
	return cmd
}

func tokenList(tokens []*labv1.TokenInfo) *output.List {
	l := &output.List{Columns: []string{"ID", "USER", "STATE", "EXPIRES", "MOST", "ONLY", "LABEL"}}
	for _, t := range tokens {
		most := ""
		if t.GetScope().GetMost() != 0 {
			most = auth.PermissionName(t.GetScope().GetMost())
		}
		l.Add(t, t.GetId(), t.GetUser(), tokenState(t, time.Now()), cmp.Or(dateOf(t.GetExpiresAt()), "never"), most, t.GetScope().GetLab(), t.GetLabel())
	}
	return l
}

func tokenState(t *labv1.TokenInfo, now time.Time) string {
	switch {
	case t.GetRevokedAt() != nil:
		return "revoked"
	case t.GetExpiresAt() != nil && now.After(t.GetExpiresAt().AsTime()):
		return "expired"
	}
	return "valid"
}

type tokenRotateOptions struct {
	*app
	out   string
	grace lifetime
}

func newTokenRotateCommand(a *app) *cobra.Command {
	o := &tokenRotateOptions{app: a, grace: lifetime(10 * time.Minute)}
	cmd := &cobra.Command{
		Use:   "rotate [ID]",
		Short: "Give a token a new secret",
		Long: `Give a token a new secret; default: the one that is shown. The old secret is valid for a while yet, so that what uses it
elsewhere can be changed. Where the context file has the token, it gets the new one.`,
		Example: "  labctl token rotate\n  labctl token rotate k7q2mzn4xa --grace 0 --token-out new.token",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return o.run(cmd.Context(), id)
		},
	}
	cmd.Flags().Var(&o.grace, "grace", "how long the old secret is valid yet, at most 7d; 0: no longer")
	cmd.Flags().StringVar(&o.out, "token-out", "", "write it to this file, which only this user can read, instead of printing it")
	return cmd
}

func (o *tokenRotateOptions) run(ctx context.Context, id string) error {
	shown, err := auth.ParseToken(o.shown)
	if err != nil && id == "" {
		return &usageError{"say which token: none is shown"}
	}
	if id == "" {
		id = shown.ID
	}
	t := auth.Rotated(id)
	return o.with(ctx, func(ctx context.Context, c *client.Client) error {
		r, err := c.Tokens.RotateToken(ctx, &labv1.RotateTokenRequest{RequestId: client.RequestID(), Id: id, Sha256: t.Hash(), GraceS: o.grace.seconds()})
		if err != nil {
			return err
		}
		if file, _ := readContext(contextPath()); o.out == "" && file.token != "" && strings.Contains(file.token, "_"+id+"_") {
			if err := changeContext(contextPath(), map[string]string{"token": t.Text()}); err == nil {
				_, err := fmt.Fprintf(o.app.out, "token %s has a new secret, kept in %s\n", id, contextPath())
				return err
			}
		}
		return o.tellToken(t, r.GetToken(), o.out)
	})
}

func newTokenRevokeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID...",
		Short: "Take tokens back, for good",
		Long: `Take tokens back, for good, and with each those of the same person that were made with it. Calls that show one are refused
at once; those that last end.`,
		Example: "  labctl token revoke k7q2mzn4xa",
		Args:    arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				for _, id := range args {
					r, err := c.Tokens.RevokeToken(ctx, &labv1.RevokeTokenRequest{RequestId: client.RequestID(), Id: id})
					if err != nil {
						return err
					}
					for _, gone := range r.GetIds() {
						fmt.Fprintf(a.out, "token %s revoked\n", gone)
					}
				}
				return nil
			})
		},
	}
}
