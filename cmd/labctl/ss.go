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
	var info, watch, listening bool
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
			if watch {
				return a.watchSockets(cmd.Context(), c, strings.Join(args, ""), info, listening)
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
			return printSockets(a.out, r.Conns, info, a.format)
		},
	}
	cmd.Flags().BoolVarP(&info, "info", "i", false, "show the internals of each connection")
	cmd.Flags().BoolVarP(&listening, "listening", "l", false, "show only the sockets that listen")
	// What ss's users type out of habit and what holds here anyway.
	for _, f := range []struct{ name, short, what string }{
		{"tcp", "t", "TCP, as always"}, {"all", "a", "listening sockets too, as always"}, {"numeric", "n", "no names for ports, as always"},
	} {
		cmd.Flags().BoolP(f.name, f.short, false, f.what)
	}
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

// printSockets prints what ss prints: in the wide format in its own columns, else in columns as narrow as can be, with
// what a line does not hold on the next.
func printSockets(w io.Writer, conns []*labv1.ConnStatus, info bool, format output.Format) error {
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
		switch {
		case !info || c.Info == nil:
		case format == output.Wide:
			fmt.Fprintf(&b, "\t %s\n", socketInfo(c.Info))
		default:
			b.WriteString(output.Hanging("    "+socketInfo(c.Info)+"\n", 4))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// noSSThresh is what ssthresh is while it was not set; ss does not print it.
const noSSThresh = 1<<31 - 1

// socketInfo prints what ss -tin prints, in its order and its words. What is zero there is left out here too.
func socketInfo(i *labv1.TcpInfo) string {
	var words []string
	word := func(show bool, format string, args ...any) {
		if show {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	word(i.TsOk, "ts")
	word(i.SackOk, "sack")
	word(i.CaName != "", "%s", i.CaName)
	word(i.WscaleOk, "wscale:%d,%d", i.SndWscale, i.RcvWscale)
	word(i.RtoUs > 0, "rto:%s", ms(i.RtoUs))
	word(i.Backoff > 0, "backoff:%d", i.Backoff)
	word(i.RttUs > 0, "rtt:%s/%s", ms(i.RttUs), ms(i.RttvarUs))
	word(i.AtoUs > 0, "ato:%s", ms(i.AtoUs))
	word(i.SndMss > 0, "mss:%d", i.SndMss)
	word(i.Pmtu > 0, "pmtu:%d", i.Pmtu)
	word(i.RcvMss > 0, "rcvmss:%d", i.RcvMss)
	word(i.Advmss > 0, "advmss:%d", i.Advmss)
	word(i.SndCwnd > 0, "cwnd:%d", i.SndCwnd)
	word(i.SndSsthresh > 0 && i.SndSsthresh < noSSThresh, "ssthresh:%d", i.SndSsthresh)
	word(i.BytesSent > 0, "bytes_sent:%d", i.BytesSent)
	word(i.BytesRetrans > 0, "bytes_retrans:%d", i.BytesRetrans)
	word(i.BytesAcked > 0, "bytes_acked:%d", i.BytesAcked)
	word(i.BytesReceived > 0, "bytes_received:%d", i.BytesReceived)
	word(i.SegsOut > 0, "segs_out:%d", i.SegsOut)
	word(i.SegsIn > 0, "segs_in:%d", i.SegsIn)
	word(i.DataSegsOut > 0, "data_segs_out:%d", i.DataSegsOut)
	word(i.DataSegsIn > 0, "data_segs_in:%d", i.DataSegsIn)
	if i.RttUs > 0 && i.SndMss > 0 && i.SndCwnd > 0 {
		word(true, "send %sbps", rateWord(uint64(float64(i.SndCwnd)*float64(i.SndMss)*1e6/float64(i.RttUs))))
	}
	word(i.LastDataSentMs > 0, "lastsnd:%d", i.LastDataSentMs)
	word(i.LastDataRecvMs > 0, "lastrcv:%d", i.LastDataRecvMs)
	word(i.LastAckRecvMs > 0, "lastack:%d", i.LastAckRecvMs)
	word(i.PacingRate > 0, "pacing_rate %sbps", rateWord(i.PacingRate))
	word(i.DeliveryRate > 0, "delivery_rate %sbps", rateWord(i.DeliveryRate))
	word(i.Unacked > 0, "unacked:%d", i.Unacked)
	word(i.Retrans > 0 || i.TotalRetrans > 0, "retrans:%d/%d", i.Retrans, i.TotalRetrans)
	word(i.Lost > 0, "lost:%d", i.Lost)
	word(i.Sacked > 0, "sacked:%d", i.Sacked)
	word(i.RcvSpace > 0, "rcv_space:%d", i.RcvSpace)
	word(i.NotsentBytes > 0, "notsent:%d", i.NotsentBytes)
	word(i.MinRttUs > 0, "minrtt:%s", ms(i.MinRttUs))
	word(i.SndWnd > 0, "snd_wnd:%d", i.SndWnd)
	word(i.RcvWnd > 0, "rcv_wnd:%d", i.RcvWnd)
	return strings.Join(words, " ")
}

// ms prints microseconds as ss prints milliseconds: "204", "3.125".
func ms(us uint64) string {
	s := fmt.Sprintf("%d.%03d", us/1000, us%1000)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// rateWord prints bytes a second as ss prints bits a second: "14.3M".
func rateWord(bytesPerSecond uint64) string {
	return strings.TrimSuffix(strings.ReplaceAll(output.Goodput(float64(bytesPerSecond)*8), " ", ""), "bit/s")
}
