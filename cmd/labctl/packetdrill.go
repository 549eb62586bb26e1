package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	"labd.dev/tcpstack/packetdrill"
)

// maxScript bounds a script's file, bytes: the longest that people write are some dozens of KiB.
const maxScript = 1 << 20

// packetdrillOptions are packetdrill's flags.
type packetdrillOptions struct {
	*app
	personality string
	laxPSH      bool
	tolerance   time.Duration
	lines       []string
	defines     map[string]string
}

func newPacketdrillCommand(a *app) *cobra.Command {
	o := &packetdrillOptions{app: a}
	cmd := &cobra.Command{
		Use:   "packetdrill FILE|DIR...",
		Short: "Run packetdrill scripts against the stack",
		Long: `Run packetdrill scripts (.pkt) against labd's TCP/IP stack, in virtual time: without root, a server, or waiting. Of
a directory every script below it runs, in the order of the paths.

A script passes, fails, or is skipped with a reason: what a script asks for and the stack or the runner has not is
named, and never a pass. docs/packetdrill.md says what is understood. Exit code 1: a script failed.`,
		Example: `  labctl packetdrill tcpstack/packetdrill/testdata/sockets
  labctl packetdrill --tolerance 0 -o json handshake.pkt`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(args, cmd.Flags().Changed("tolerance"))
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{"pkt"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	cmd.Flags().StringVar(&o.personality, "personality", "linux", "whose constants the stack has: linux or freebsd")
	cmd.Flags().BoolVar(&o.laxPSH, "lax-psh", false, "do not compare the PSH flag of segments with data")
	cmd.Flags().DurationVar(&o.tolerance, "tolerance", packetdrill.DefaultTolerance, "how far from its time an event may be; 0: at its microsecond (default: the script's, else 4ms)")
	cmd.Flags().StringArrayVar(&o.lines, "option", nil, "a line of the script's head, such as ip_version=ipv6 or mtu=1400; the script's own win")
	cmd.Flags().StringToStringVarP(&o.defines, "define", "D", nil, "a symbol of the script and its value, name=value")
	if err := cmd.RegisterFlagCompletionFunc("personality", cobra.FixedCompletions([]cobra.Completion{"linux", "freebsd"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("labctl: " + err.Error())
	}
	return cmd
}

// packetdrillReport is what packetdrill -o json prints.
type packetdrillReport struct {
	Results []packetdrill.Result `json:"results"`
	Pass    int                  `json:"pass"`
	Fail    int                  `json:"fail"`
	Skip    int                  `json:"skip"`
}

func (o *packetdrillOptions) run(args []string, tolerance bool) error {
	opts := packetdrill.Options{LaxPSH: o.laxPSH, Defines: o.defines}
	for _, text := range o.lines {
		line, err := packetdrill.ParseLine(text)
		if err != nil {
			return &usageError{"--option " + err.Error()}
		}
		opts.Lines = append(opts.Lines, line)
	}
	switch o.personality {
	case "linux", "freebsd":
		opts.TCP.Personality = o.personality
	default:
		return &usageError{fmt.Sprintf("--personality must be linux or freebsd, not %q", o.personality)}
	}
	if o.tolerance < 0 {
		return &usageError{fmt.Sprintf("--tolerance %v is negative", o.tolerance)}
	}
	if tolerance {
		opts.Tolerance = &o.tolerance
	}
	files, err := findScripts(args)
	if err != nil {
		return err
	}
	r := packetdrillReport{Results: []packetdrill.Result{}}
	for _, path := range files {
		res, err := runScript(path, opts)
		if err != nil {
			return err
		}
		r.add(res)
		if o.format.ForPeople() {
			printResult(o.out, res)
		}
	}
	if err := o.print(&r); err != nil {
		return err
	}
	if r.Fail > 0 {
		return &failedError{exitFailed}
	}
	return nil
}

func (r *packetdrillReport) add(res packetdrill.Result) {
	r.Results = append(r.Results, res)
	switch res.Status {
	case packetdrill.Pass:
		r.Pass++
	case packetdrill.Fail:
		r.Fail++
	case packetdrill.Skip:
		r.Skip++
	}
}

// findScripts lists the files named, and the scripts below the directories named.
func findScripts(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, &usageError{err.Error()}
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		before := len(files)
		err = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(path) == ".pkt" {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, &usageError{err.Error()}
		}
		if len(files) == before {
			return nil, &usageError{fmt.Sprintf("%s: no script (*.pkt) in it", arg)}
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// runScript runs one script.
func runScript(path string, opts packetdrill.Options) (packetdrill.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return packetdrill.Result{}, &usageError{err.Error()}
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err != nil {
		return packetdrill.Result{}, &usageError{err.Error()}
	}
	if len(src) > maxScript {
		return packetdrill.Result{File: path, Status: packetdrill.Skip, Line: 1,
			Reason: fmt.Sprintf("the script is larger than %d bytes", maxScript)}, nil
	}
	return packetdrill.Run(path, src, opts), nil
}

// printResult prints what came of a script, for people: what a failure expected and got stands below its line.
func printResult(w io.Writer, r packetdrill.Result) {
	if r.Status == packetdrill.Pass {
		fmt.Fprintf(w, "pass  %s\n", r.File)
		return
	}
	fmt.Fprintf(w, "%s  %s:%d: %s\n", r.Status, r.File, r.Line, strings.ReplaceAll(strings.TrimRight(r.Reason, "\n"), "\n", "\n      "))
}

func (o *packetdrillOptions) print(r *packetdrillReport) error {
	switch {
	case o.format.ForPeople():
		_, err := fmt.Fprintf(o.out, "%d passed, %d failed, %d skipped\n", r.Pass, r.Fail, r.Skip)
		return err
	case o.format == output.JSON:
		enc := json.NewEncoder(o.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	l := &output.List{Columns: []string{"file", "status", "line", "reason"}}
	for _, res := range r.Results {
		l.Add(res, res.File, string(res.Status), fmt.Sprint(res.Line), res.Reason)
	}
	return o.format.Write(o.out, l)
}
