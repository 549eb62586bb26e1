package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	"labd.dev/internal/tlsfiles"
)

// app is what all verbs share: where input and output are, and the flags that every verb has.
type app struct {
	out, err io.Writer
	server   string // the flag

	tokenFile string // the flag
	shown     string // token that says who calls; may be empty
	address   string // of the labd that is meant
	stale     bool
	tls       tlsfiles.Files
	lab       string
	format    output.Format
}

// connect makes a client of the labd that is meant.
func (a *app) connect() (*client.Client, error) {
	c, err := a.dial()
	if err != nil {
		return nil, err
	}
	c.Waiting(func(text string) {
		if text != "" {
			fmt.Fprintln(a.err, "labctl:", text)
		}
	})
	var mu sync.Mutex // guards told: a command may make several calls at once
	told := make(map[string]bool)
	c.Notices(func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if !told[text] {
			told[text] = true
			fmt.Fprintln(a.err, "labctl:", text)
		}
	})
	return c, nil
}

// dial makes a client that waits silently.
func (a *app) dial() (*client.Client, error) {
	o := client.Options{Servers: strings.Split(a.address, ","), Stale: a.stale, Token: a.shown}
	if a.tls != (tlsfiles.Files{}) {
		o.TLS = &a.tls
	}
	return client.Open(o)
}

// labName is the lab that is meant; empty: the only one.
func (a *app) labName() string { return a.lab }

// execute runs one command line and returns its exit code.
func execute(args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{out: out, err: errOut, format: output.Table}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(context.Background())
	if err != nil {
		report(errOut, err)
	}
	return exitCode(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "labctl",
		Short: "Networks of hosts and routers with their own TCP/IP stacks",
		Long: `labctl builds labs of hosts and routers, each with its own userspace TCP/IP stack, moves files through them,
breaks them, and shows what every connection did. It needs no root.

Exit codes: 0 ok, 1 a check or transfer failed, 2 usage or a bad file, 3 not found, 4 refused, 5 no labd answers,
130 interrupted (what there is was kept).`,
		Example: `  labctl run examples/download/experiment.yaml          # needs no server
  labctl apply -f examples/download/lab.yaml            # needs labd`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRunE: func(*cobra.Command, []string) error { return a.settle() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Sprintf("%s; see %s --help", flagText(err), cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "", "address of the labd, or of a cluster's servers, with commas (default $LABD_SERVER, else the context file's, else "+client.DefaultAddress+")")
	flags.StringVar(&a.lab, "lab", "", "which lab (default $LABD_LAB, else the context file's, else the only one)")
	flags.BoolVar(&a.stale, "stale", false, "read what the server that answers knows, however old")
	flags.StringVar(&a.tokenFile, "token-file", "", "file with the token that says who calls (default $LABD_TOKEN, which holds the token itself, else the context file's)")
	flags.StringVar(&a.tls.CA, "tls-ca", "", "PEM file of labd's CA (default $LABD_TLS_CA, else the context file's)")
	flags.StringVar(&a.tls.Cert, "tls-cert", "", "PEM file of this client's certificate (default $LABD_TLS_CERT, else the context file's)")
	flags.StringVar(&a.tls.Key, "tls-key", "", "PEM file of its key (default $LABD_TLS_KEY, else the context file's)")
	flags.VarP(&a.format, "output", "o", "how to print: table (80 columns), wide (all columns), json, jsonl or csv")
	if err := root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(output.Formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("labctl: " + err.Error())
	}
	a.completesFlag(root, "lab", labNames)
	root.AddCommand(
		newRunCommand(a), newApplyCommand(a), newTransferCommand(a), newFaultCommand(a), newLinkCommand(a), newSSCommand(a), newExecCommand(a),
		newLadderCommand(a), newEventsCommand(a), newCaptureCommand(a), newBuffersCommand(a), newReplayCommand(a), newPauseCommand(a), newResumeCommand(a), newStepCommand(a),
		newPaceCommand(a), newDecodeCommand(a), newTraceCommand(a), newGetCommand(a), newDescribeCommand(a),
		newDeleteCommand(a), newLabCommand(a), newDrainCommand(a), newUndrainCommand(a), newClusterCommand(a), newClassCommand(a), newCheckCommand(a), newSubmitCommand(a), newTLSCommand(a),
		newLoginCommand(a), newLogoutCommand(a), newWhoAmICommand(a), newUserCommand(a), newTokenCommand(a), newQuotaCommand(a), newAuditCommand(a),
		newPacketdrillCommand(a), newVersionCommand(a),
	)
	return root
}

// arguments wraps a check of positional arguments so that a wrong number is a usage error that shows the right one.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{fmt.Sprintf("%v; usage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}
