package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// getOptions are get's flags.
type getOptions struct {
	*app
	runDir string
	watch  bool
}

// kinds of things that get lists.
var getKinds = []struct {
	name  string
	short string
	list  func(o *getOptions, ctx context.Context, c *client.Client) (*output.List, error)
}{
	{"labs", "Standing labs", (*getOptions).labs},
	{"nodes", "A lab's nodes", (*getOptions).nodes},
	{"links", "A lab's links, with the round-trip time and bandwidth-delay product that follow", (*getOptions).links},
	{"conns", "Ends of TCP connections", (*getOptions).conns},
	{"transfers", "A lab's transfers", (*getOptions).transfers},
	{"faults", "A lab's faults", (*getOptions).faults},
	{"inputs", "A lab's journal", (*getOptions).inputs},
	{"execs", "Pings, traceroutes and sends of a lab", (*getOptions).execs},
	{"runs", "Runs that a labd holds", (*getOptions).runs},
	{"workers", "Workers that host labs", (*getOptions).workers},
}

func newGetCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get labs|nodes|links|conns|transfers|faults|inputs|execs|runs|workers",
		Short: "List things of a kind",
		Example: `  labctl get links
  labctl get transfers --watch
  labctl get conns --run labd-runs/download-1 -o csv`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, k := range getKinds {
		o := &getOptions{app: a}
		sub := &cobra.Command{
			Use: k.name, Aliases: []string{k.name[:len(k.name)-1]}, Short: k.short, Example: "  labctl get " + k.name,
			Args: arguments(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				if o.watch {
					return o.watchList(cmd.Context(), k.name)
				}
				if o.runDir != "" {
					return o.runConns()
				}
				c, err := o.connect()
				if err != nil {
					return err
				}
				defer c.Close()
				l, err := k.list(o, cmd.Context(), c)
				if err != nil {
					return err
				}
				return o.format.Write(o.out, l)
			},
		}
		if watched(k.name) {
			sub.Flags().BoolVarP(&o.watch, "watch", "w", false, "print what changes from now on, until Ctrl-C")
		}
		if k.name == "conns" {
			sub.Flags().StringVar(&o.runDir, "run", "", "read this run directory instead of a lab")
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

func (o *getOptions) labs(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Labs.ListLabs(ctx, &labv1.ListLabsRequest{})
	return labList(r.GetLabs()), err
}

func labList(labs []*labv1.Lab) *output.List {
	l := &output.List{Columns: []string{"NAME", "STATE", "NODES", "LINKS", "CLOCK", "TIME", "LAG", "SLIP", "INPUTS", "WORKER", "ERROR"},
		Brief: &output.Brief{Columns: []string{"NAME", "STATE", "NODES", "LINKS", "CLOCK", "TIME", "LAG", "INPUTS"}}}
	for _, lab := range labs {
		p := lab.GetProgress()
		l.Add(lab, lab.Name, labStateText(lab), fmt.Sprint(len(lab.Spec.GetNodes())), fmt.Sprint(len(lab.Spec.GetLinks())),
			output.EnumText(lab.Spec.GetClock()), output.Seconds(p.GetNowNs()), output.Duration(p.GetLagNs()), output.Duration(p.GetSlipNs()),
			fmt.Sprint(p.GetJournalEntries()), lab.GetWorker(), cmp.Or(p.GetError(), lab.GetReason(), p.GetHeld(), lab.GetNotice()))
		l.Brief.Add(cmp.Or(p.GetError(), lab.GetReason(), p.GetHeld(), lab.GetNotice()), lab.Name, labStateText(lab), fmt.Sprint(len(lab.Spec.GetNodes())), fmt.Sprint(len(lab.Spec.GetLinks())),
			output.EnumText(lab.Spec.GetClock()), output.ShortSeconds(p.GetNowNs()), output.ShortDuration(p.GetLagNs()), fmt.Sprint(p.GetJournalEntries()))
	}
	return l
}

// labStateText says also that a running lab's clock is stopped, or the lab held back, and how far one is that recovers.
func labStateText(lab *labv1.Lab) string {
	if p := lab.GetProgress(); lab.State == labv1.LabState_LAB_STATE_RECOVERING && p.GetRecoverToNs() > 0 {
		return fmt.Sprintf("recovering %.0f%% at %.0fx", 100*float64(p.GetNowNs())/float64(p.GetRecoverToNs()), p.GetRecoverSpeed())
	}
	if lab.State == labv1.LabState_LAB_STATE_RUNNING && lab.GetProgress().GetPaused() {
		return "paused"
	}
	if lab.State == labv1.LabState_LAB_STATE_RUNNING && lab.GetProgress().GetHeld() != "" {
		return "held"
	}
	return output.EnumText(lab.State)
}

func (o *getOptions) nodes(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Nodes.ListNodes(ctx, &labv1.ListNodesRequest{Lab: o.labName()})
	return nodeList(r.GetNodes()), err
}

func nodeList(nodes []*labv1.NodeStatus) *output.List {
	l := &output.List{Columns: []string{"NAME", "KIND", "UP", "BOOTS", "INTERFACES", "APPS"},
		Brief: &output.Brief{Columns: []string{"NAME", "KIND", "UP", "INTERFACES", "APPS"}}}
	for _, n := range nodes {
		var ifcs, apps string
		for _, i := range n.Interfaces {
			ifcs = listed(ifcs, strings.TrimSpace(i.Name+" "+i.Address))
		}
		for _, app := range n.Apps {
			apps = listed(apps, app)
		}
		l.Add(n, n.Name, output.EnumText(n.Kind), yes(n.Up), fmt.Sprint(n.Boots), ifcs, apps)
		l.Brief.Add("", n.Name, output.EnumText(n.Kind), yes(n.Up), ifcs, apps)
	}
	return l
}

func listed(list, word string) string {
	if list == "" {
		return word
	}
	return list + ", " + word
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (o *getOptions) links(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Links.ListLinks(ctx, &labv1.ListLinksRequest{Lab: o.labName()})
	return linkList(r.GetLinks()), err
}

func linkList(links []*labv1.LinkStatus) *output.List {
	l := &output.List{Columns: []string{"LINK", "DIRECTION", "RATE", "DELAY", "RTT", "BDP", "LOSS", "QUEUE", "QUEUED", "SENT", "DROPPED", "UP"},
		Brief: &output.Brief{Columns: []string{"DIRECTION", "RATE", "DELAY", "LOSS", "QUEUE", "SENT", "DROP", "UP"}}}
	for _, k := range links {
		for _, d := range []*labv1.DirectionStatus{k.Forward, k.Reverse} {
			spec, up := d.GetSpec(), yes(!d.GetSpec().GetDown())
			l.Brief.Add("", d.GetName(), output.Rate(spec.GetRateBps()), output.ShortDuration(spec.GetDelayNs()), lossText(spec.GetLoss()),
				fmt.Sprintf("%d/%s", d.GetQueuePackets(), queueText(spec.GetQueue())), fmt.Sprint(d.GetSentPackets()), fmt.Sprint(d.GetDroppedPackets()), up)
			l.Add(d, k.Name, d.GetName(), output.Rate(spec.GetRateBps()), output.Duration(spec.GetDelayNs()), output.Duration(linkRTT(k)),
				bandwidthDelay(k, d), lossText(spec.GetLoss()), queueText(spec.GetQueue()), fmt.Sprintf("%dp", d.GetQueuePackets()),
				fmt.Sprint(d.GetSentPackets()), fmt.Sprint(d.GetDroppedPackets()), up)
		}
	}
	return l
}

// linkRTT is the propagation delay there and back.
func linkRTT(k *labv1.LinkStatus) int64 {
	return k.GetForward().GetSpec().GetDelayNs() + k.GetReverse().GetSpec().GetDelayNs()
}

// bandwidthDelay is how many bytes fill a direction for a round trip.
func bandwidthDelay(k *labv1.LinkStatus, d *labv1.DirectionStatus) string {
	rate := d.GetSpec().GetRateBps()
	if rate == 0 {
		return ""
	}
	return output.Size(uint64(float64(rate) * float64(linkRTT(k)) / 8e9))
}

func lossText(l *labv1.Loss) string {
	switch m := l.GetModel().(type) {
	case *labv1.Loss_Random:
		return output.Chance(m.Random)
	case *labv1.Loss_GilbertElliott:
		return fmt.Sprintf("bursts p=%s r=%s", output.Chance(m.GilbertElliott.P), output.Chance(m.GilbertElliott.R))
	case *labv1.Loss_Every:
		return fmt.Sprintf("each %dth", m.Every)
	case *labv1.Loss_Frames:
		return fmt.Sprintf("%d frames", len(m.Frames.GetFrames()))
	}
	return ""
}

// defaultQueue is the limit of a queue that was given none.
const defaultQueue = 1000

func queueText(q *labv1.Queue) string {
	packets, bytes := q.GetLimitPackets(), q.GetLimitBytes()
	switch {
	case packets == 0 && bytes == 0:
		return fmt.Sprintf("%dp", defaultQueue)
	case bytes == 0:
		return fmt.Sprintf("%dp", packets)
	case packets == 0:
		return output.Size(bytes)
	}
	return fmt.Sprintf("%dp/%s", packets, output.Size(bytes))
}

func (o *getOptions) conns(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Nodes.ListConns(ctx, &labv1.ListConnsRequest{Lab: o.labName()})
	return connList(r.GetConns()), err
}

// runConns lists the connections that a run's trace tells of.
func (o *getOptions) runConns() error {
	r, err := trace.Open(o.runDir)
	if err != nil {
		return err
	}
	t, err := r.Trace()
	if err != nil {
		return err
	}
	l := &output.List{Columns: []string{"CONN", "FROM", "TO", "LOCAL", "REMOTE", "START", "END", "STATE", "SENT", "RECEIVED", "SEGMENTS", "RETRANS", "LOST", "CLOSED"},
		Brief: &output.Brief{Columns: []string{"CONN", "TO", "START", "STATE", "SENT", "RECEIVED", "RTX", "LOST"}}}
	for _, c := range trace.Conns(t.Events()) {
		l.Add(c, c.Conn, c.Initiator, c.Responder, c.Local, c.Remote, output.Seconds(c.StartNs), output.Seconds(c.EndNs), c.State,
			fmt.Sprint(c.BytesSent), fmt.Sprint(c.BytesReceived), fmt.Sprint(c.Segments), fmt.Sprint(c.Retransmits), fmt.Sprint(c.Lost), c.EndReason)
		l.Brief.Add("", c.Conn, c.Responder, output.ShortSeconds(c.StartNs), cmp.Or(c.EndReason, c.State), fmt.Sprint(c.BytesSent),
			fmt.Sprint(c.BytesReceived), fmt.Sprint(c.Retransmits), fmt.Sprint(c.Lost))
	}
	return o.format.Write(o.out, l)
}

func (o *getOptions) transfers(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Transfers.ListTransfers(ctx, &labv1.ListTransfersRequest{Lab: o.labName()})
	return transferList(r.GetTransfers()), err
}

func (o *getOptions) faults(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Faults.ListFaults(ctx, &labv1.ListFaultsRequest{Lab: o.labName()})
	return faultList(r.GetFaults()), err
}

func faultList(faults []*labv1.FaultStatus) *output.List {
	l := &output.List{Columns: []string{"ID", "ON", "EFFECT", "START", "END", "ACTIVE"},
		Brief: &output.Brief{Columns: []string{"ID", "ON", "EFFECT", "START", "END", "ACTIVE"}}}
	for _, f := range faults {
		end, shortEnd := "", ""
		if f.EndNs > 0 {
			end, shortEnd = output.Seconds(f.EndNs), output.ShortSeconds(f.EndNs)
		}
		on := f.Fault.GetLink()
		if on == "" {
			on = f.Fault.GetNode()
		}
		l.Add(f, f.Id, on, effectText(f.Fault), output.Seconds(f.StartNs), end, yes(f.Active))
		l.Brief.Add("", f.Id, on, effectText(f.Fault), output.ShortSeconds(f.StartNs), shortEnd, yes(f.Active))
	}
	return l
}

func effectText(f *labv1.Fault) string {
	switch e := f.GetEffect().(type) {
	case *labv1.Fault_Down:
		return "down"
	case *labv1.Fault_Loss:
		return "loss " + lossText(e.Loss)
	case *labv1.Fault_DelayNs:
		return "delay " + output.Duration(e.DelayNs)
	case *labv1.Fault_Jitter:
		return "jitter " + output.Duration(e.Jitter.GetAmountNs())
	case *labv1.Fault_RateBps:
		return "rate " + output.Rate(e.RateBps)
	case *labv1.Fault_Duplicate:
		return "duplicate " + output.Chance(e.Duplicate.GetChance())
	case *labv1.Fault_Corrupt:
		return "corrupt " + output.Chance(e.Corrupt)
	case *labv1.Fault_MtuBytes:
		return fmt.Sprintf("mtu %d", e.MtuBytes)
	case *labv1.Fault_Queue:
		return "queue " + queueText(e.Queue)
	case *labv1.Fault_Crash:
		return "crash"
	case *labv1.Fault_Reboot:
		return "reboot"
	}
	return ""
}

func (o *getOptions) inputs(ctx context.Context, c *client.Client) (*output.List, error) {
	l := &output.List{Columns: []string{"INPUT", "TIME", "KIND", "WHAT"}}
	after, authors := uint64(0), []string(nil)
	for {
		r, err := c.Labs.ListInputs(ctx, &labv1.ListInputsRequest{Lab: o.labName(), AfterIndex: after})
		if err != nil {
			return nil, err
		}
		for i, e := range r.Entries {
			kind, what := inputText(e.Input)
			authors = append(authors, r.Authors[i].GetBy())
			l.Add(&givenInput{e, r.Authors[i]}, fmt.Sprint(e.Index), output.Seconds(e.TNs), kind, what)
			after = e.Index
		}
		if !r.More || len(r.Entries) == 0 {
			return withAuthors(l, authors), nil
		}
	}
}

// givenInput is an entry of the journal with who gave it, and when, beside what the journal has.
type givenInput struct {
	entry  *labv1.JournalEntry
	author *labv1.InputAuthor
}

// MarshalJSON puts who gave it behind what the journal has.
func (g *givenInput) MarshalJSON() ([]byte, error) {
	entry, err := output.Marshal(g.entry)
	if err != nil || g.author.GetBy() == "" {
		return entry, err
	}
	given := struct {
		By string     `json:"by"`
		At *time.Time `json:"at,omitempty"`
	}{By: g.author.GetBy()}
	if g.author.GetAt() != nil {
		at := g.author.GetAt().AsTime()
		given.At = &at
	}
	author, err := json.Marshal(given)
	return append(append(entry[:len(entry)-1], ','), author[1:]...), err
}

// withAuthors puts before the last column of a list of inputs who gave them, where labd asks people who they are.
func withAuthors(l *output.List, authors []string) *output.List {
	if strings.Join(authors, "") == "" {
		return l
	}
	last := len(l.Columns) - 1
	l.Columns = slices.Insert(l.Columns, last, "BY")
	for i := range l.Rows {
		l.Rows[i] = slices.Insert(l.Rows[i], last, authors[i])
	}
	return l
}

func inputText(in *labv1.Input) (kind, what string) {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		return "transfer", fmt.Sprintf("%s %s -> %s", k.Transfer.Id, k.Transfer.From, k.Transfer.To)
	case *labv1.Input_HttpGet:
		return "http", fmt.Sprintf("%s %s %s", k.HttpGet.Id, k.HttpGet.From, k.HttpGet.Url)
	case *labv1.Input_Udp:
		return "udp", fmt.Sprintf("%s %s -> %s", k.Udp.Id, k.Udp.From, k.Udp.To)
	case *labv1.Input_Ping:
		return "ping", fmt.Sprintf("%s %s -> %s", k.Ping.Id, k.Ping.From, k.Ping.To)
	case *labv1.Input_Traceroute:
		return "traceroute", fmt.Sprintf("%s %s -> %s", k.Traceroute.Id, k.Traceroute.From, k.Traceroute.To)
	case *labv1.Input_Send:
		return "send", k.Send.Id + " from " + k.Send.From
	case *labv1.Input_Fault:
		return "fault", fmt.Sprintf("%s %s%s %s", k.Fault.Id, k.Fault.Link, k.Fault.Node, effectText(k.Fault))
	case *labv1.Input_ClearFault:
		return "clear", k.ClearFault.Id
	case *labv1.Input_Apply:
		return "apply", fmt.Sprintf("%d nodes, %d links, SHA-256 %.12s", len(k.Apply.Spec.GetNodes()), len(k.Apply.Spec.GetLinks()), k.Apply.Sha256)
	case *labv1.Input_LinkSet:
		return "link_set", linkSetText(k.LinkSet)
	case *labv1.Input_Interrupt:
		return "interrupt", ""
	}
	return "unknown", ""
}

func (o *getOptions) execs(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Execs.ListExecs(ctx, &labv1.ListExecsRequest{Lab: o.labName()})
	l := &output.List{Columns: []string{"ID", "NODE", "COMMAND", "DONE", "EXIT CODE"}}
	for _, e := range r.GetExecs() {
		l.Add(e, e.Id, e.Node, e.Command, yes(e.Done), fmt.Sprint(e.ExitCode))
	}
	return l, err
}

func (o *getOptions) runs(ctx context.Context, c *client.Client) (*output.List, error) {
	r, err := c.Runs.ListRuns(ctx, &labv1.ListRunsRequest{})
	l := &output.List{Columns: []string{"ID", "NAME", "STATE", "TIME", "EVENTS", "ERROR"},
		Brief: &output.Brief{Columns: []string{"ID", "NAME", "STATE", "TIME", "EVENTS"}}}
	for _, run := range r.GetRuns() {
		l.Add(run, run.Id, run.Name, output.EnumText(run.State), output.Seconds(run.Progress.GetNowNs()), fmt.Sprint(run.Progress.GetEvents()), run.Progress.GetError())
		l.Brief.Add(run.Progress.GetError(), run.Id, run.Name, output.EnumText(run.State), output.ShortSeconds(run.Progress.GetNowNs()), fmt.Sprint(run.Progress.GetEvents()))
	}
	return l, err
}
