package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	"labd.dev/labfile"
	labv1 "labd.dev/proto/lab/v1"
)

// applyOptions are apply's flags.
type applyOptions struct {
	*app
	file   string
	dryRun bool
	clock  clockFlag
}

func newApplyCommand(a *app) *cobra.Command {
	o := &applyOptions{app: a}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make a lab be as its file says, also while it runs",
		Example: `  labctl apply -f examples/download/lab.yaml
  labctl apply -f examples/download/lab.yaml --dry-run
  labctl apply -f arena.yaml --lab alice/arena          # a lab that alice owns with you`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "lab file")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only print the differences")
	cmd.Flags().Var(&o.clock, "clock", "real or virtual (default: the file's, else real)")
	return cmd
}

func (o *applyOptions) run(ctx context.Context) error {
	if o.file == "" {
		return &usageError{"which lab file is missing; usage: labctl apply -f FILE"}
	}
	f, err := labfile.Load(o.file)
	if err != nil {
		return fileError(err)
	}
	switch {
	case o.clock.value != labv1.Clock_CLOCK_UNSPECIFIED:
		f.Spec.Clock = o.clock.value
	case f.Spec.Clock == labv1.Clock_CLOCK_UNSPECIFIED:
		f.Spec.Clock = labv1.Clock_CLOCK_REAL
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	if !o.dryRun {
		if err := upload(ctx, c, f.Uploads); err != nil {
			return err
		}
	}
	req := &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: f.Spec, DryRun: o.dryRun, Lab: o.somebodys(f.Spec.Name)}
	r, err := c.Labs.ApplyLab(ctx, req)
	if err != nil {
		return err
	}
	return o.print(cmp.Or(req.Lab, f.Spec.Name), r)
}

// somebodys is the lab of that name which --lab says to be somebody else's; empty: the caller's own is meant.
func (o *applyOptions) somebodys(name string) string {
	if owner, own, ok := strings.Cut(o.labName(), "/"); ok && own == name && owner != "" {
		return o.labName()
	}
	return ""
}

func (o *applyOptions) print(name string, r *labv1.ApplyLabResponse) error {
	if !o.format.ForPeople() {
		l := &output.List{Columns: []string{"lab", "outcome", "differences"}}
		l.Add(r, name, output.EnumText(r.Outcome), fmt.Sprint(len(r.Differences)))
		return o.format.WriteOne(o.out, l)
	}
	differences := r.Differences
	if r.Outcome == labv1.ApplyLabResponse_OUTCOME_CREATED {
		differences = nil // from nothing: that is the file itself
	}
	for _, d := range differences {
		switch d.Change {
		case labv1.Difference_CHANGE_ADDED:
			fmt.Fprintf(o.out, "+ %s: %s\n", d.Path, d.NewValue)
		case labv1.Difference_CHANGE_REMOVED:
			fmt.Fprintf(o.out, "- %s: %s\n", d.Path, d.OldValue)
		default:
			fmt.Fprintf(o.out, "~ %s: %s -> %s\n", d.Path, d.OldValue, d.NewValue)
		}
	}
	would := ""
	if o.dryRun {
		would = "would be "
	}
	at := ""
	if r.Stamp != nil {
		at = ", " + stampText(r.Stamp)
	}
	_, err := fmt.Fprintf(o.out, "lab %s: %s%s%s\n", name, would, output.EnumText(r.Outcome), at)
	return err
}

// clockFlag is the value of --clock.
type clockFlag struct{ value labv1.Clock }

func (c *clockFlag) Set(s string) error {
	switch s {
	case "real":
		c.value = labv1.Clock_CLOCK_REAL
	case "virtual":
		c.value = labv1.Clock_CLOCK_VIRTUAL
	default:
		return errors.New("must be real or virtual")
	}
	return nil
}

func (c *clockFlag) String() string {
	if c.value == labv1.Clock_CLOCK_UNSPECIFIED {
		return ""
	}
	return output.EnumText(c.value)
}

func (c *clockFlag) Type() string { return "clock" }

// fileError makes an error of a file that cannot be read a usage error.
func fileError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return &usageError{err.Error()}
	}
	return err
}

// upload gives a labd the contents that a file names.
func upload(ctx context.Context, c *client.Client, uploads map[string]string) error {
	var files []*client.LocalFile
	for sum, path := range uploads {
		f, err := client.HashFile(path, "content")
		if err != nil {
			return err
		}
		if f.Ref.Sha256 != sum {
			return &usageError{path + " has changed while it was read"}
		}
		files = append(files, f)
	}
	return c.Upload(ctx, files)
}
