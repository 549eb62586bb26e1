package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

func newSSCommand(a *app) *cobra.Command {
	var info, watch, listening, numeric bool
	cmd := &cobra.Command{
		Use:   "ss [-il] [NODE]",
		Short: "Show the TCP sockets of nodes, as ss -tan does",
		Example: `  labctl ss client
  labctl ss -tin client          # with what ss -i shows
  labctl ss -ltn                 # who listens: half open connections, and the backlog
  labctl ss -i client --watch`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			defer c.Close()
			show := socketDetail{info: info, numeric: numeric}
			if watch {
				return a.watchSockets(cmd.Context(), c, strings.Join(args, ""), show, listening)
			}
			r, err := c.Nodes.ListConns(cmd.Context(), &labv1.ListConnsRequest{Lab: a.labName(), Node: strings.Join(args, ""), Listening: true})
			if err != nil {
				return err
			}
			if listening {
				r.Conns = slices.DeleteFunc(r.Conns, connected)
			}
			if !a.format.ForPeople() {
				return a.format.Write(a.out, connList(r.Conns))
			}
			return printSockets(a.out, r.Conns, show, a.format)
		},
	}
	cmd.Flags().BoolVarP(&info, "info", "i", false, "show the internals of each connection")
	cmd.Flags().BoolVarP(&listening, "listening", "l", false, "show only the sockets that listen")
	// What ss's users type out of habit and what holds here anyway.
	for _, f := range []struct{ name, short, what string }{
		{"tcp", "t", "TCP, as always"}, {"all", "a", "listening sockets too, as always"},
	} {
		cmd.Flags().BoolP(f.name, f.short, false, f.what)
	}
	cmd.Flags().BoolVarP(&numeric, "numeric", "n", false, "exact rates, in bits a second; ports have no names anyway")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show them again whenever they have changed, until Ctrl-C")
	return a.completes(cmd, nodeNames)
}

// ssStates are the states in ss's words.
var ssStates = map[string]string{
	"ESTABLISHED": "ESTAB", "SYN_SENT": "SYN-SENT", "SYN_RCVD": "SYN-RECV", "FIN_WAIT_1": "FIN-WAIT-1", "FIN_WAIT_2": "FIN-WAIT-2",
	"TIME_WAIT": "TIME-WAIT", "CLOSED": "UNCONN", "CLOSE_WAIT": "CLOSE-WAIT", "LAST_ACK": "LAST-ACK", "LISTEN": "LISTEN", "CLOSING": "CLOSING",
}

func ssState(s string) string {
	if short, ok := ssStates[s]; ok {
		return short
	}
	return s
}

// connected says that a socket is a connection's, and does not listen.
func connected(c *labv1.ConnStatus) bool { return c.Conn != "" }

// ssName is which end of which connection it is, or just whose socket listens.
func ssName(c *labv1.ConnStatus) string {
	if c.Conn == "" {
		return c.Node
	}
	return c.Conn + "@" + c.Node
}

func connList(conns []*labv1.ConnStatus) *output.List {
	l := &output.List{Columns: []string{"CONN", "NODE", "STATE", "LOCAL", "REMOTE", "RECV-Q", "SEND-Q"},
		Brief: &output.Brief{Columns: []string{"CONN", "NODE", "STATE", "REMOTE", "RECV-Q", "SEND-Q"}}}
	for _, c := range conns {
		l.Add(c, c.Conn, c.Node, c.State, c.Local, c.Remote, fmt.Sprint(c.RecvQ), fmt.Sprint(c.SendQ))
		l.Brief.Add("", c.Conn, c.Node, c.State, c.Remote, fmt.Sprint(c.RecvQ), fmt.Sprint(c.SendQ))
	}
	return l
}

// socketDetail is what ss shows of a connection beside its addresses.
type socketDetail struct{ info, numeric bool }

// printSockets prints what ss prints: in the wide format in its own columns, else in columns as narrow as can be, with
// what a line does not hold on the next. The line of internals stays whole, as ss has it: programs read it.
func printSockets(w io.Writer, conns []*labv1.ConnStatus, show socketDetail, format output.Format) error {
	heads := []string{"State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port"}
	widths := []int{11, 6, 6, 21, 21}
	if format != output.Wide {
		heads[3], heads[4] = "Local:Port", "Peer:Port"
		widths = []int{len(heads[0]), len(heads[1]), len(heads[2]), len(heads[3]), len(heads[4])}
		for _, c := range conns {
			widths[0] = max(widths[0], len(ssState(c.State)))
			widths[3], widths[4] = max(widths[3], len(c.Local)), max(widths[4], len(c.Remote))
		}
	}
	var b strings.Builder
	row := func(state string, recv, send any, local, remote, name string) {
		line := fmt.Sprintf("%-*s %-*v %-*v %*s %*s  %s\n", widths[0], state, widths[1], recv, widths[2], send, widths[3], local, widths[4], remote, name)
		if format != output.Wide {
			line = output.Hanging(line, 4)
		}
		b.WriteString(line)
	}
	row(heads[0], heads[1], heads[2], heads[3], heads[4], "Connection")
	for _, c := range conns {
		row(ssState(c.State), c.RecvQ, c.SendQ, c.Local, c.Remote, ssName(c))
		if show.info && c.Info != nil {
			fmt.Fprintf(&b, "\t %s\n", socketInfo(c.Info, show.numeric))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
