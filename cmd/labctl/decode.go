package main

import (
	"encoding/hex"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	"labd.dev/trace"
)

func newDecodeCommand(a *app) *cobra.Command {
	var dir string
	var opts trace.DecodeOptions
	cmd := &cobra.Command{
		Use:   "decode PKT",
		Short: "Draw a packet's headers field by field, and what each hop changed",
		Example: `  labctl decode client:1042
  labctl decode client:4 --run labd-runs/encapsulation-1`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			hops, err := a.packet(cmd.Context(), dir, args[0])
			if err != nil {
				return err
			}
			if a.format.ForPeople() {
				_, err := io.WriteString(a.out, output.Hanging(trace.Decode(args[0], hops, opts), 4))
				return err
			}
			l := &output.List{Columns: []string{"t_ns", "node", "interface", "out", "length", "state", "data"}}
			for _, h := range hops {
				l.Add(h, fmt.Sprint(h.TNs), h.Node, h.Interface, fmt.Sprint(h.Out), fmt.Sprint(h.Length), h.State, hex.EncodeToString(h.Data))
			}
			return a.format.Write(a.out, l)
		},
	}
	cmd.Flags().StringVar(&dir, "run", "", "read this run directory instead of a lab")
	cmd.Flags().BoolVar(&opts.ASCII, "ascii", false, "no box-drawing characters")
	return cmd
}
