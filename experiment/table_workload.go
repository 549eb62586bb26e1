package experiment

import (
	"labd.dev/labfile"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

func newTCP(t **labv1.TcpSettings) *labv1.TcpSettings {
	if *t == nil {
		*t = &labv1.TcpSettings{}
	}
	return *t
}

func newReader(r **labv1.Reader) *labv1.Reader { *r = &labv1.Reader{}; return *r }

var transfer = &schema.Object[labv1.Transfer]{
	Name: "transfer",
	Doc:  "Moves bytes from one host to another and compares their SHA-256 at both ends.",
	Keys: []schema.Key[labv1.Transfer]{
		schema.Text("id", "id", "Its name in the results; absent: `t1`, `t2`, ...", func(t *labv1.Transfer, s string) { t.Id = s }),
		schema.Text("from", "from", "The host that opens the connection and sends.", func(t *labv1.Transfer, s string) { t.From = s }).Must(),
		schema.Text("to", "to", "The host that receives, by name or address.", func(t *labv1.Transfer, s string) { t.To = s }).Must(),
		schema.Size("bytes", "generated_bytes", "So many bytes, made from the seed and the id.", func(t *labv1.Transfer, n uint64) {
			t.Content = &labv1.Transfer_GeneratedBytes{GeneratedBytes: n}
		}),
		schema.FileOf("file", "file", "A file of this machine.", func(t *labv1.Transfer, f schema.File) {
			t.Content = &labv1.Transfer_File{File: labfile.FileRef(f)}
		}),
		schema.Enum("protocol", "protocol", "Absent: `tcp`.", []string{"tcp", "udp"}, []labv1.Protocol{labv1.Protocol_PROTOCOL_TCP, labv1.Protocol_PROTOCOL_UDP},
			func(t *labv1.Transfer, p labv1.Protocol) { t.Protocol = p }),
		schema.Enum("family", "family", "Which of the target's addresses; absent: IPv4, or IPv6 where either end has no IPv4.", []string{"ipv4", "ipv6"}, []labv1.Family{labv1.Family_FAMILY_IPV4, labv1.Family_FAMILY_IPV6},
			func(t *labv1.Transfer, f labv1.Family) { t.Family = f }),
		schema.Whole("port", "port", "Of the receiver; absent: its transfer server's, 5001.", 16, func(t *labv1.Transfer, n uint64) { t.Port = uint32(n) }),
		schema.Whole("localPort", "local_port", "Of the sender; absent: an ephemeral one.", 16, func(t *labv1.Transfer, n uint64) { t.LocalPort = uint32(n) }),
		schema.Nested("tcp", "tcp", "TCP settings of the sender's connection.", labfile.TCP, func(t *labv1.Transfer) *labv1.TcpSettings { return newTCP(&t.Tcp) }),
		schema.Enum("congestion", "tcp.congestion", "Short for `tcp: {congestion: ...}`.", []string{"reno", "cubic", "bbr", "bbr3", "dctcp"}, []string{"reno", "cubic", "bbr", "bbr3", "dctcp"},
			func(t *labv1.Transfer, s string) { newTCP(&t.Tcp).Congestion = &s }),
		schema.Nested("reader", "reader", "How the receiving application reads.", labfile.Reader, func(t *labv1.Transfer) *labv1.Reader { return newReader(&t.Reader) }),
		schema.Rate("rate", "rate_bps", "The sending application writes at most this fast; absent: unlimited.", func(t *labv1.Transfer, n uint64) { t.RateBps = n }),
		schema.Size("writeSize", "write_size_bytes", "Bytes a write, or a datagram; absent: `64KiB`, over UDP `1400B`.", func(t *labv1.Transfer, n uint64) { t.WriteSizeBytes = uint32(min(n, 1<<32-1)) }),
		schema.Size("reply", "reply_bytes", "The receiver sends so many bytes back once it has all.", func(t *labv1.Transfer, n uint64) { t.ReplyBytes = n }),
		schema.Duration("replyDelay", "reply_delay_ns", "The receiver waits so long before it replies.", func(t *labv1.Transfer, ns int64) { t.ReplyDelayNs = ns }),
		schema.Switch("shutdownBeforeReply", "shutdown_before_reply", "The sender sends its FIN first, so that the reply goes to a half-closed end.", func(t *labv1.Transfer, on bool) { t.ShutdownBeforeReply = on }),
		schema.Enum("close", "close", "How the sender ends: an orderly close, never, or a reset. Absent: `graceful`.", []string{"graceful", "never", "abort"},
			[]labv1.CloseMode{labv1.CloseMode_CLOSE_MODE_GRACEFUL, labv1.CloseMode_CLOSE_MODE_NEVER, labv1.CloseMode_CLOSE_MODE_ABORT}, func(t *labv1.Transfer, c labv1.CloseMode) { t.Close = c }),
		schema.Duration("hold", "hold_ns", "The sender waits so long before it closes.", func(t *labv1.Transfer, ns int64) { t.HoldNs = ns }),
		schema.Switch("save", "save", "Keep what arrived.", func(t *labv1.Transfer, on bool) { t.Save = on }),
	},
	Choices:    [][]string{{"bytes"}, {"file"}},
	MustChoose: true,
}

var httpGet = &schema.Object[labv1.HttpGet]{
	Name: "http",
	Doc:  "Downloads a file from a host's web server.",
	Keys: []schema.Key[labv1.HttpGet]{
		schema.Text("id", "id", "Its name in the results.", func(g *labv1.HttpGet, s string) { g.Id = s }),
		schema.Text("from", "from", "The host that asks.", func(g *labv1.HttpGet, s string) { g.From = s }).Must(),
		schema.Text("url", "url", "`http://NODE[:port]/path`; an IPv6 address stands in brackets.", func(g *labv1.HttpGet, s string) { g.Url = s }).Must(),
		schema.Enum("family", "family", "Which of the target's addresses; absent: IPv4, or IPv6 where either end has no IPv4.", []string{"ipv4", "ipv6"}, []labv1.Family{labv1.Family_FAMILY_IPV4, labv1.Family_FAMILY_IPV6},
			func(g *labv1.HttpGet, f labv1.Family) { g.Family = f }),
		schema.Nested("tcp", "tcp", "TCP settings of the asking end.", labfile.TCP, func(g *labv1.HttpGet) *labv1.TcpSettings { return newTCP(&g.Tcp) }),
		schema.Nested("reader", "reader", "How the asking application reads.", labfile.Reader, func(g *labv1.HttpGet) *labv1.Reader { return newReader(&g.Reader) }),
		schema.Whole("localPort", "local_port", "Absent: an ephemeral one.", 16, func(g *labv1.HttpGet, n uint64) { g.LocalPort = uint32(n) }),
		schema.Switch("save", "save", "Keep what arrived.", func(g *labv1.HttpGet, on bool) { g.Save = on }),
	},
}

var udpBlast = &schema.Object[labv1.UdpBlast]{
	Name: "udp",
	Doc:  "Sends datagrams at a rate to a UDP sink.",
	Keys: []schema.Key[labv1.UdpBlast]{
		schema.Text("id", "id", "Its name in the results.", func(u *labv1.UdpBlast, s string) { u.Id = s }),
		schema.Text("from", "from", "The sending host.", func(u *labv1.UdpBlast, s string) { u.From = s }).Must(),
		schema.Text("to", "to", "The host with a `udpSink` app.", func(u *labv1.UdpBlast, s string) { u.To = s }).Must(),
		schema.Enum("family", "family", "Which of the target's addresses; absent: IPv4, or IPv6 where either end has no IPv4.", []string{"ipv4", "ipv6"}, []labv1.Family{labv1.Family_FAMILY_IPV4, labv1.Family_FAMILY_IPV6},
			func(u *labv1.UdpBlast, f labv1.Family) { u.Family = f }),
		schema.Whole("port", "port", "Absent: 9.", 16, func(u *labv1.UdpBlast, n uint64) { u.Port = uint32(n) }),
		schema.Whole("count", "count", "Datagrams.", 64, func(u *labv1.UdpBlast, n uint64) { u.Count = n }).Must(),
		schema.Size("size", "size_bytes", "Payload of each, at least `16B`; absent: `1400B`.", func(u *labv1.UdpBlast, n uint64) { u.SizeBytes = uint32(min(n, 1<<32-1)) }),
		schema.Rate("rate", "rate_bps", "Of payload; absent: all at once.", func(u *labv1.UdpBlast, n uint64) { u.RateBps = n }),
	},
}

var ping = &schema.Object[labv1.Ping]{
	Name: "ping",
	Keys: []schema.Key[labv1.Ping]{
		schema.Text("id", "id", "Its name in the results.", func(p *labv1.Ping, s string) { p.Id = s }),
		schema.Text("from", "from", "The node that asks.", func(p *labv1.Ping, s string) { p.From = s }).Must(),
		schema.Text("to", "to", "A node or an address.", func(p *labv1.Ping, s string) { p.To = s }).Must(),
		schema.Enum("family", "family", "Which of the target's addresses; absent: IPv4, or IPv6 where either end has no IPv4.", []string{"ipv4", "ipv6"}, []labv1.Family{labv1.Family_FAMILY_IPV4, labv1.Family_FAMILY_IPV6},
			func(p *labv1.Ping, f labv1.Family) { p.Family = f }),
		schema.Whole("count", "count", "Absent: 4.", 32, func(p *labv1.Ping, n uint64) { p.Count = uint32(n) }),
		schema.Duration("interval", "interval_ns", "Absent: `1s`.", func(p *labv1.Ping, ns int64) { p.IntervalNs = ns }),
		schema.Size("size", "size_bytes", "Payload; absent: `56B`.", func(p *labv1.Ping, n uint64) { p.SizeBytes = uint32(min(n, 1<<32-1)) }),
		schema.Whole("ttl", "ttl", "Absent: the node's.", 8, func(p *labv1.Ping, n uint64) { p.Ttl = uint32(n) }),
		schema.Duration("timeout", "timeout_ns", "For a reply; absent: `1s`.", func(p *labv1.Ping, ns int64) { p.TimeoutNs = ns }),
		schema.Switch("dontFragment", "dont_fragment", "Set the DF bit.", func(p *labv1.Ping, on bool) { p.DontFragment = on }),
	},
}

var traceroute = &schema.Object[labv1.Traceroute]{
	Name: "traceroute",
	Keys: []schema.Key[labv1.Traceroute]{
		schema.Text("id", "id", "Its name in the results.", func(t *labv1.Traceroute, s string) { t.Id = s }),
		schema.Text("from", "from", "The node that asks.", func(t *labv1.Traceroute, s string) { t.From = s }).Must(),
		schema.Text("to", "to", "A node or an address.", func(t *labv1.Traceroute, s string) { t.To = s }).Must(),
		schema.Enum("family", "family", "Which of the target's addresses; absent: IPv4, or IPv6 where either end has no IPv4.", []string{"ipv4", "ipv6"}, []labv1.Family{labv1.Family_FAMILY_IPV4, labv1.Family_FAMILY_IPV6},
			func(t *labv1.Traceroute, f labv1.Family) { t.Family = f }),
		schema.Whole("maxHops", "max_hops", "Absent: 30.", 8, func(t *labv1.Traceroute, n uint64) { t.MaxHops = uint32(n) }),
		schema.Whole("probes", "probes", "Per hop; absent: 3.", 8, func(t *labv1.Traceroute, n uint64) { t.Probes = uint32(n) }),
		schema.Duration("timeout", "timeout_ns", "For an answer; absent: `1s`.", func(t *labv1.Traceroute, ns int64) { t.TimeoutNs = ns }),
	},
}

// step is a workload item while its file is being read.
type step struct {
	*labv1.TimedInput
	path string // of the lab file that an apply names
}

var item = &schema.Object[step]{
	Name: "workload item",
	Doc:  "One thing that happens at a time: a node does something, or the lab is changed.",
	Keys: []schema.Key[step]{
		schema.Duration("at", "at_ns", "Lab time; absent: `0s`.", func(i *step, ns int64) { i.AtNs = ns }),
		schema.Nested("transfer", "input.transfer", "Moves bytes from host to host.", transfer, func(i *step) *labv1.Transfer {
			v := &labv1.Input_Transfer{Transfer: &labv1.Transfer{}}
			i.Input = &labv1.Input{Kind: v}
			return v.Transfer
		}),
		schema.Nested("http", "input.http_get", "Downloads from a web server.", httpGet, func(i *step) *labv1.HttpGet {
			v := &labv1.Input_HttpGet{HttpGet: &labv1.HttpGet{}}
			i.Input = &labv1.Input{Kind: v}
			return v.HttpGet
		}),
		schema.Nested("udp", "input.udp", "Sends datagrams.", udpBlast, func(i *step) *labv1.UdpBlast {
			v := &labv1.Input_Udp{Udp: &labv1.UdpBlast{}}
			i.Input = &labv1.Input{Kind: v}
			return v.Udp
		}),
		schema.Nested("ping", "input.ping", "Pings.", ping, func(i *step) *labv1.Ping {
			v := &labv1.Input_Ping{Ping: &labv1.Ping{}}
			i.Input = &labv1.Input{Kind: v}
			return v.Ping
		}),
		schema.Nested("traceroute", "input.traceroute", "Finds the routers on the way.", traceroute, func(i *step) *labv1.Traceroute {
			v := &labv1.Input_Traceroute{Traceroute: &labv1.Traceroute{}}
			i.Input = &labv1.Input{Kind: v}
			return v.Traceroute
		}),
		schema.Nested("send", "input.send", "Sends packets of any kind.", send, func(i *step) *labv1.RawSend {
			v := &labv1.Input_Send{Send: &labv1.RawSend{}}
			i.Input = &labv1.Input{Kind: v}
			return v.Send
		}),
		schema.Text("apply", "input.apply.spec", "Changes the lab to the one of this lab file, named relative to the experiment's, as `labctl apply` does.", func(i *step, path string) {
			i.Input = &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{}}}
			i.path = path
		}),
		schema.Nested("link", "input.link_set", "Changes settings of a link, as `labctl link set` does.", linkSet, func(i *step) *labv1.LinkSet {
			v := &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Patch: &labv1.DirectionPatch{}}}
			i.Input = &labv1.Input{Kind: v}
			return v.LinkSet
		}),
	},
	Choices:    [][]string{{"transfer"}, {"http"}, {"udp"}, {"ping"}, {"traceroute"}, {"send"}, {"apply"}, {"link"}},
	MustChoose: true,
}
