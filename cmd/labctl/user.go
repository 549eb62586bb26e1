package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/client"
	"labd.dev/internal/auth"
	"labd.dev/internal/output"
	"labd.dev/internal/roster"
	labv1 "labd.dev/proto/lab/v1"
)

func newUserCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user import|list|get|update|remove",
		Short: "See and change the people that a labd knows",
		Long: `See and change the people that a labd knows: administrators, instructors, students. Instructors have students,
administrators everybody. A labd that serves its own machine only needs none of this.`,
		Example: "  labctl user import roster.csv --tokens-dir tokens\n  labctl user list --section tue",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUserImportCommand(a), newUserListCommand(a), newUserGetCommand(a), newUserUpdateCommand(a), newUserRemoveCommand(a))
	return cmd
}

type userImportOptions struct {
	*app
	tokensDir, section        string
	ttl                       lifetime
	dryRun, missing, renewing bool
}

func newUserImportCommand(a *app) *cobra.Command {
	o := &userImportOptions{app: a, ttl: lifetime(180 * day)}
	cmd := &cobra.Command{
		Use:   "import ROSTER.csv",
		Short: "Take in the people of a roster, and make a token for each",
		Long: `Take in the people of a roster, all of them or none. A roster is a CSV file, as spreadsheets write it: commas, semicolons
or tabs, with or without a byte-order mark. Its first line names the columns: name (small letters, digits, . _ -), and
email, section, role (student, instructor, admin; default student) where there are. Other columns are left alone.

Who is new gets a token. It is printed here, once, or written to a file of its own with --tokens-dir; labd keeps its hash
only. Who is there already keeps the tokens there are. Importing a roster again changes what has changed in it.

With --remove-missing, students of the sections in the roster who are not in it are removed: their tokens are taken back,
their labs and runs stay and go on until an administrator deletes them. Taken in again, it is the same person.`,
		Example: `  labctl user import roster.csv --dry-run
  labctl user import roster.csv --tokens-dir tokens
  labctl user import roster.csv --section tue --ttl 120d -o csv > tokens.csv`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&o.tokensDir, "tokens-dir", "", "write each token to DIR/NAME.token, which only this user can read, instead of printing it")
	cmd.Flags().StringVar(&o.section, "section", "", "section of those whose line names none")
	cmd.Flags().Var(&o.ttl, "ttl", "how long the tokens are valid: 12h, 180d; 0: without end")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only tell what would be done")
	cmd.Flags().BoolVar(&o.missing, "remove-missing", false, "remove the students of the roster's sections who are not in it")
	cmd.Flags().BoolVar(&o.renewing, "new-tokens", false, "make a token for everybody, and take back those there are")
	return cmd
}

func (o *userImportOptions) run(ctx context.Context, path string) error {
	r, err := roster.ReadFile(path)
	if err != nil {
		return err
	}
	if len(r.Ignored) > 0 {
		fmt.Fprintf(o.err, "labctl: columns that mean nothing here: %s\n", strings.Join(r.Ignored, ", "))
	}
	req := &labv1.ImportUsersRequest{RequestId: client.RequestID(), DryRun: o.dryRun, RemoveMissing: o.missing, RenewTokens: o.renewing}
	tokens := make(map[string]auth.Token)
	for _, p := range r.People {
		t := auth.NewToken()
		tokens[p.Name] = t
		req.Users = append(req.Users, &labv1.NewUser{Name: p.Name, Role: p.Role, Section: cmp.Or(p.Section, o.section), Email: p.Email,
			Token: &labv1.NewToken{Id: t.ID, Sha256: t.Hash(), LifetimeS: o.ttl.seconds(), Label: "roster"}})
	}
	files, err := o.prepareFiles(r.People, tokens)
	if err != nil {
		return errors.Join(err, files.drop())
	}
	return o.with(ctx, func(ctx context.Context, c *client.Client) error {
		resp, err := c.Users.ImportUsers(ctx, req)
		if err != nil {
			return errors.Join(err, files.drop())
		}
		if err := files.keep(resp.GetUsers()); err != nil {
			return err
		}
		return o.print(resp.GetUsers(), tokens)
	})
}

// imported is what became of a person, for programs.
type imported struct {
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
	Token   string `json:"token,omitempty"`
	File    string `json:"file,omitempty"`
}

func (o *userImportOptions) print(users []*labv1.ImportedUser, tokens map[string]auth.Token) error {
	l := &output.List{Columns: []string{"NAME", "OUTCOME", "TOKEN"}}
	for _, u := range users {
		one := imported{Name: u.GetName(), Outcome: output.EnumText(u.GetOutcome())}
		if u.GetTokenGiven() && !o.dryRun {
			if o.tokensDir != "" {
				one.File = tokenPath(o.tokensDir, u.GetName())
			} else {
				one.Token = tokens[u.GetName()].Text()
			}
		}
		l.Add(one, one.Name, one.Outcome, cmp.Or(one.Token, one.File))
	}
	return o.format.Write(o.out, l)
}

func tokenPath(dir, name string) string { return filepath.Join(dir, name+".token") }

// tokenFiles are written before labd is asked: a disk that is full then costs nobody a token.
type tokenFiles struct {
	dir  string
	half map[string]string // by name of the person: where the token is meanwhile
}

func (o *userImportOptions) prepareFiles(people []roster.Person, tokens map[string]auth.Token) (*tokenFiles, error) {
	f := &tokenFiles{dir: o.tokensDir, half: make(map[string]string)}
	if o.tokensDir == "" || o.dryRun {
		return f, nil
	}
	if err := os.MkdirAll(o.tokensDir, 0o700); err != nil {
		return f, err
	}
	for _, p := range people {
		half, err := os.CreateTemp(o.tokensDir, "."+p.Name+"-*") // with mode 0600
		if err != nil {
			return f, err
		}
		f.half[p.Name] = half.Name()
		_, err = half.WriteString(tokens[p.Name].Text() + "\n")
		if err := errors.Join(err, half.Close()); err != nil {
			return f, err
		}
	}
	return f, nil
}

// keep gives the files of tokens that are valid their names, and removes the others.
func (f *tokenFiles) keep(users []*labv1.ImportedUser) error {
	var errs []error
	for _, u := range users {
		if half := f.half[u.GetName()]; half != "" && u.GetTokenGiven() {
			errs = append(errs, os.Rename(half, tokenPath(f.dir, u.GetName())))
			delete(f.half, u.GetName())
		}
	}
	return errors.Join(append(errs, f.drop())...)
}

// drop removes the files that are left.
func (f *tokenFiles) drop() error {
	var errs []error
	for _, half := range f.half {
		errs = append(errs, os.Remove(half))
	}
	return errors.Join(errs...)
}

func newUserListCommand(a *app) *cobra.Command {
	req := &labv1.ListUsersRequest{}
	cmd := &cobra.Command{
		Use: "list", Short: "List people", Example: "  labctl user list --section tue -o csv",
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Users.ListUsers(ctx, req)
				if err != nil {
					return err
				}
				return a.format.Write(a.out, userList(r.GetUsers()))
			})
		},
	}
	cmd.Flags().StringVar(&req.Section, "section", "", "of this section only")
	cmd.Flags().BoolVar(&req.Removed, "removed", false, "those who were removed, too")
	return cmd
}

func userList(users []*labv1.User) *output.List {
	l := &output.List{Columns: []string{"NAME", "ROLE", "SECTION", "EMAIL", "TOKENS", "SINCE", "REMOVED"},
		Brief: &output.Brief{Columns: []string{"NAME", "ROLE", "SECTION", "EMAIL", "TOKENS", "SINCE", "REMOVED"}}}
	for _, u := range users {
		l.Add(u, u.GetName(), auth.RoleName(u.GetRole()), u.GetSection(), u.GetEmail(), fmt.Sprint(u.GetTokens()), dateOf(u.GetCreatedAt()), dateOf(u.GetRemovedAt()))
		l.Brief.Add("", u.GetName(), auth.RoleName(u.GetRole()), u.GetSection(), u.GetEmail(), fmt.Sprint(u.GetTokens()), dayOf(u.GetCreatedAt()), dayOf(u.GetRemovedAt()))
	}
	return l
}

// dateOf is a wall time to the second; empty: none.
func dateOf(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// dayOf is the day of a wall time; empty: none.
func dayOf(t *timestamppb.Timestamp) string {
	day, _, _ := strings.Cut(dateOf(t), "T")
	return day
}

func newUserGetCommand(a *app) *cobra.Command {
	return a.completes(&cobra.Command{
		Use: "get NAME", Short: "Tell of a person, and of the person's tokens", Example: "  labctl user get bob",
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Users.GetUser(ctx, &labv1.GetUserRequest{User: args[0]})
				if err != nil {
					return err
				}
				if !a.format.ForPeople() {
					l := &output.List{Columns: []string{"NAME", "ROLE", "SECTION", "EMAIL", "TOKENS"}}
					l.Add(r, r.GetUser().GetName(), auth.RoleName(r.GetUser().GetRole()), r.GetUser().GetSection(), r.GetUser().GetEmail(), fmt.Sprint(r.GetUser().GetTokens()))
					return a.format.Write(a.out, l)
				}
				if err := a.format.Write(a.out, userList([]*labv1.User{r.GetUser()})); err != nil || len(r.GetTokens()) == 0 {
					return err
				}
				fmt.Fprintln(a.out)
				return a.format.Write(a.out, tokenList(r.GetTokens()))
			})
		},
	}, userNames)
}

func newUserUpdateCommand(a *app) *cobra.Command {
	var role, section, email string
	cmd := a.completes(&cobra.Command{
		Use:   "update NAME",
		Short: "Change a person's role, section or e-mail address",
		Long: `Change a person's role, section or e-mail address; what is not named stays. An empty section or address takes it away. The
person's tokens, labs and runs stay, and allow from the next call on what the role does. Instructors change students, administrators
everybody; the last administrator stays one.`,
		Example: "  labctl user update bob --section wed --email bob@example.org\n  labctl user update ann --role instructor",
		Args:    arguments(cobra.ExactArgs(1)),
	}, userNames)
	cmd.Flags().StringVar(&role, "role", "", "student, instructor or admin")
	cmd.Flags().StringVar(&section, "section", "", "section of the class")
	cmd.Flags().StringVar(&email, "email", "", "e-mail address")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req := &labv1.UpdateUserRequest{RequestId: client.RequestID(), User: args[0]}
		if cmd.Flags().Changed("section") {
			req.Section = &section
		}
		if cmd.Flags().Changed("email") {
			req.Email = &email
		}
		if cmd.Flags().Changed("role") {
			var err error
			if req.Role, err = auth.ParseRole(role); err != nil {
				return &usageError{"--role: " + err.Error()}
			}
		}
		if req.Section == nil && req.Email == nil && req.Role == labv1.Role_ROLE_UNSPECIFIED {
			return &usageError{"say what to change: --role, --section or --email"}
		}
		return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			r, err := c.Users.UpdateUser(ctx, req)
			if err != nil {
				return err
			}
			return a.format.Write(a.out, userList([]*labv1.User{r.GetUser()}))
		})
	}
	return cmd
}

func newUserRemoveCommand(a *app) *cobra.Command {
	return a.completes(&cobra.Command{
		Use:   "remove NAME...",
		Short: "Take people's tokens back, for good",
		Long: `Take people's tokens back, for good: they cannot do anything any more, at once. Their labs and runs stay as they are, and
go on: others may be in them. An administrator sees them, and deletes them. Taken in again under the same name, it is the same
person, with those labs, who needs a new token.`,
		Example: "  labctl user remove bob",
		Args:    arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				for _, name := range args {
					if _, err := c.Users.RemoveUser(ctx, &labv1.RemoveUserRequest{RequestId: client.RequestID(), User: name}); err != nil {
						return err
					}
					fmt.Fprintf(a.out, "user %s removed\n", name)
				}
				return nil
			})
		},
	}, userNames)
}

func userNames(_ *app, ctx context.Context, c *client.Client) (names []string) {
	r, _ := c.Users.ListUsers(ctx, &labv1.ListUsersRequest{})
	for _, u := range r.GetUsers() {
		names = append(names, u.GetName())
	}
	return names
}
