package labfile

import (
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// TCP is the table of TCP settings.
var TCP = &schema.Object[labv1.TcpSettings]{
	Name: "tcp",
	Doc:  "Switches and settings of TCP, for a node or for one connection. What is absent is the next outer setting, at last current Linux's default.",
	Keys: []schema.Key[labv1.TcpSettings]{
		schema.Enum("congestion", "congestion", "Congestion control; absent: `cubic`.", []string{"reno", "cubic"}, []string{"reno", "cubic"}, func(t *labv1.TcpSettings, s string) { t.Congestion = &s }),
		schema.Switch("sack", "sack", "Selective acknowledgement (RFC 2018); absent: on (`tcp_sack`).", func(t *labv1.TcpSettings, on bool) { t.Sack = &on }),
		schema.Switch("timestamps", "timestamps", "Timestamps (RFC 7323); absent: on (`tcp_timestamps`).", func(t *labv1.TcpSettings, on bool) { t.Timestamps = &on }),
		schema.Switch("windowScaling", "window_scaling", "Window scale (RFC 7323); absent: on (`tcp_window_scaling`).", func(t *labv1.TcpSettings, on bool) { t.WindowScaling = &on }),
		schema.Whole("isn", "isn", "A fixed initial sequence number; absent: by RFC 6528.", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.Isn = &v }),
		schema.Duration("delayedAck", "delayed_ack_ns", "The longest an ACK is held; `0s`: never held; absent: `40ms`.", func(t *labv1.TcpSettings, ns int64) { t.DelayedAckNs = &ns }),
		schema.Switch("quickAck", "quick_ack", "ACK at once at a connection's start, as Linux does; absent: on.", func(t *labv1.TcpSettings, on bool) { t.QuickAck = &on }),
		schema.Switch("nagle", "nagle", "Nagle's algorithm (RFC 9293 3.7.4); absent: on.", func(t *labv1.TcpSettings, on bool) { t.Nagle = &on }),
		schema.Size("mss", "mss", "Upper bound of the MSS announced and used; absent: what the MTU allows.", func(t *labv1.TcpSettings, n uint64) { v := uint32(min(n, 1<<32-1)); t.Mss = &v }),
		schema.Size("sendBuffer", "send_buffer_bytes", "Bytes written and not yet acknowledged; absent: `128KiB`.", func(t *labv1.TcpSettings, n uint64) { t.SendBufferBytes = &n }),
		schema.Size("recvBuffer", "recv_buffer_bytes", "Bytes received and not yet read, the largest window; absent: `128KiB`.", func(t *labv1.TcpSettings, n uint64) { t.RecvBufferBytes = &n }),
		schema.Whole("initialWindow", "initial_window_segments", "Segments of the initial window (RFC 6928); absent: 10.", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.InitialWindowSegments = &v }),
		schema.Duration("minRto", "min_rto_ns", "Least retransmission timeout; absent: `200ms` (`TCP_RTO_MIN`).", func(t *labv1.TcpSettings, ns int64) { t.MinRtoNs = &ns }),
		schema.Duration("initialRto", "initial_rto_ns", "Timeout before there is an RTT (RFC 6298 2.1); absent: `1s`.", func(t *labv1.TcpSettings, ns int64) { t.InitialRtoNs = &ns }),
		schema.Duration("timeWait", "time_wait_ns", "2 MSL; absent: `60s` (`TCP_TIMEWAIT_LEN`).", func(t *labv1.TcpSettings, ns int64) { t.TimeWaitNs = &ns }),
		schema.Whole("synRetries", "syn_retries", "Retransmissions of a SYN; absent: 6 (`tcp_syn_retries`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.SynRetries = &v }),
		schema.Whole("dataRetries", "data_retries", "Retransmissions before a connection fails; absent: 15 (`tcp_retries2`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.DataRetries = &v }),
		schema.Switch("fastRetransmit", "fast_retransmit", "Fast retransmit and recovery (RFC 5681 3.2); off: only the timeout repairs loss; absent: on.", func(t *labv1.TcpSettings, on bool) { t.FastRetransmit = &on }),
		schema.Whole("backlog", "backlog", "Connections a listener holds that were not accepted; absent: 128.", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.Backlog = &v }),
	},
}

var ip = &schema.Object[labv1.IpSettings]{
	Name: "ip",
	Keys: []schema.Key[labv1.IpSettings]{
		schema.Whole("ttl", "ttl", "Of packets sent; absent: 64 (`ip_default_ttl`).", 8, func(s *labv1.IpSettings, n uint64) { s.Ttl = uint32(n) }),
		schema.Duration("reassemblyTimeout", "reassembly_timeout_ns", "Fragments are kept this long; absent: `30s` (`ipfrag_time`).", func(s *labv1.IpSettings, ns int64) { s.ReassemblyTimeoutNs = &ns }),
		schema.Duration("arpTimeout", "arp_timeout_ns", "An ARP entry is fresh this long; absent: `30s`.", func(s *labv1.IpSettings, ns int64) { s.ArpTimeoutNs = &ns }),
		schema.Duration("arpRetry", "arp_retry_ns", "Between ARP requests, three in all; absent: `1s`.", func(s *labv1.IpSettings, ns int64) { s.ArpRetryNs = &ns }),
	},
}

var iface = &schema.Object[labv1.InterfaceSpec]{
	Name: "interface",
	Doc:  "Fixes what would else be assigned.",
	Keys: []schema.Key[labv1.InterfaceSpec]{
		schema.Text("address", "address", "Address with prefix: `10.0.1.2/24`.", func(i *labv1.InterfaceSpec, s string) { i.Address = s }),
		schema.Text("mac", "mac", "`02:00:00:00:00:01`.", func(i *labv1.InterfaceSpec, s string) { i.Mac = s }),
	},
}

var route = &schema.Object[labv1.RouteSpec]{
	Name: "route",
	Keys: []schema.Key[labv1.RouteSpec]{
		schema.Text("to", "destination", "Prefix: `10.9.0.0/16`; `0.0.0.0/0` is the default route.", func(r *labv1.RouteSpec, s string) { r.Destination = s }).Must(),
		schema.Text("via", "via", "Address of the next hop.", func(r *labv1.RouteSpec, s string) { r.Via = s }).Must(),
	},
}

// Reader is the table of how an application reads.
var Reader = &schema.Object[labv1.Reader]{
	Name: "reader",
	Doc:  "Slows an application's reading down.",
	Keys: []schema.Key[labv1.Reader]{
		schema.Rate("rate", "rate_bps", "Reads at most this fast, payload; absent: unlimited.", func(r *labv1.Reader, v uint64) { r.RateBps = v }),
		schema.Size("readSize", "read_size_bytes", "Bytes a read asks for; absent: `64KiB`.", func(r *labv1.Reader, v uint64) { r.ReadSizeBytes = v }),
		schema.Duration("startDelay", "start_delay_ns", "Reads nothing for so long after the connection is open.", func(r *labv1.Reader, ns int64) { r.StartDelayNs = ns }),
		schema.Size("pauseAfter", "pause_after_bytes", "Stops once after so many bytes ...", func(r *labv1.Reader, v uint64) { r.PauseAfterBytes = int64(min(v, 1<<63-1)) }),
		schema.Duration("pause", "pause_ns", "... for so long.", func(r *labv1.Reader, ns int64) { r.PauseNs = ns }),
	},
}

func port[T any](doc string, set func(*T, uint32)) schema.Key[T] {
	return schema.Whole("port", "port", doc, 16, func(v *T, n uint64) { set(v, uint32(n)) })
}

func newReader(r **labv1.Reader) *labv1.Reader { *r = &labv1.Reader{}; return *r }

// FileRef is what a lab knows of a file.
func FileRef(f schema.File) *labv1.FileRef {
	return &labv1.FileRef{Path: f.Path, Sha256: f.SHA256, SizeBytes: f.Size}
}

var (
	httpApp = &schema.Object[labv1.HttpServerApp]{
		Name: "http server",
		Doc:  "Serves files over HTTP/1.1, reading them in blocks of 64 KiB.",
		Keys: []schema.Key[labv1.HttpServerApp]{
			port("Absent: 80.", func(a *labv1.HttpServerApp, p uint32) { a.Port = p }),
			schema.DirectoryOf("root", "files", "Its files are served. Symbolic links that lead out of it are refused.", func(a *labv1.HttpServerApp, files []schema.File) {
				for _, f := range files {
					a.Files = append(a.Files, FileRef(f))
				}
			}),
		},
	}
	echoApp = &schema.Object[labv1.EchoApp]{
		Name: "echo server",
		Doc:  "Sends back what it is sent, over TCP and UDP.",
		Keys: []schema.Key[labv1.EchoApp]{port("Absent: 7.", func(a *labv1.EchoApp, p uint32) { a.Port = p })},
	}
	sinkApp = &schema.Object[labv1.SinkApp]{
		Name: "sink",
		Doc:  "Accepts TCP connections and reads them.",
		Keys: []schema.Key[labv1.SinkApp]{
			port("Absent: 9.", func(a *labv1.SinkApp, p uint32) { a.Port = p }),
			schema.Nested("reader", "reader", "How it reads.", Reader, func(a *labv1.SinkApp) *labv1.Reader { return newReader(&a.Reader) }),
		},
	}
	udpSinkApp = &schema.Object[labv1.UdpSinkApp]{
		Name: "udp sink",
		Doc:  "Counts datagrams: received, lost, reordered, duplicated.",
		Keys: []schema.Key[labv1.UdpSinkApp]{port("Absent: 9.", func(a *labv1.UdpSinkApp, p uint32) { a.Port = p })},
	}
	transferApp = &schema.Object[labv1.TransferServerApp]{
		Name: "transfer server",
		Doc:  "The receiving end of transfers. Every host runs one without being told.",
		Keys: []schema.Key[labv1.TransferServerApp]{
			port("Absent: 5001.", func(a *labv1.TransferServerApp, p uint32) { a.Port = p }),
			schema.Nested("reader", "reader", "How it reads.", Reader, func(a *labv1.TransferServerApp) *labv1.Reader { return newReader(&a.Reader) }),
		},
	}
	app = &schema.Object[labv1.AppSpec]{
		Name: "app",
		Doc:  "An application that runs from each boot of its node on.",
		Keys: []schema.Key[labv1.AppSpec]{
			schema.Nested("http", "http", "A web server.", httpApp, func(a *labv1.AppSpec) *labv1.HttpServerApp {
				v := &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{}}
				a.App = v
				return v.Http
			}),
			schema.Nested("echo", "echo", "An echo server.", echoApp, func(a *labv1.AppSpec) *labv1.EchoApp {
				v := &labv1.AppSpec_Echo{Echo: &labv1.EchoApp{}}
				a.App = v
				return v.Echo
			}),
			schema.Nested("sink", "sink", "A TCP sink.", sinkApp, func(a *labv1.AppSpec) *labv1.SinkApp {
				v := &labv1.AppSpec_Sink{Sink: &labv1.SinkApp{}}
				a.App = v
				return v.Sink
			}),
			schema.Nested("udpSink", "udp_sink", "A UDP sink.", udpSinkApp, func(a *labv1.AppSpec) *labv1.UdpSinkApp {
				v := &labv1.AppSpec_UdpSink{UdpSink: &labv1.UdpSinkApp{}}
				a.App = v
				return v.UdpSink
			}),
			schema.Nested("transfer", "transfer", "Settings of the transfer server.", transferApp, func(a *labv1.AppSpec) *labv1.TransferServerApp {
				v := &labv1.AppSpec_Transfer{Transfer: &labv1.TransferServerApp{}}
				a.App = v
				return v.Transfer
			}),
		},
		Choices:    [][]string{{"http"}, {"echo"}, {"sink"}, {"udpSink"}, {"transfer"}},
		MustChoose: true,
	}
)

func nodeTCP(n *labv1.NodeSpec) *labv1.TcpSettings {
	if n.Tcp == nil {
		n.Tcp = &labv1.TcpSettings{}
	}
	return n.Tcp
}

func nodeIP(n *labv1.NodeSpec) *labv1.IpSettings {
	if n.Ip == nil {
		n.Ip = &labv1.IpSettings{}
	}
	return n.Ip
}

var nodeDefaults = &schema.Object[labv1.NodeSpec]{
	Name: "node defaults",
	Keys: []schema.Key[labv1.NodeSpec]{
		schema.Nested("tcp", "tcp", "TCP settings of every node, key by key.", TCP, nodeTCP),
		schema.Nested("ip", "ip", "IP settings of every node, key by key.", ip, nodeIP),
	},
}

var node = &schema.Object[labv1.NodeSpec]{
	Name: "node",
	Keys: []schema.Key[labv1.NodeSpec]{
		schema.Enum("kind", "kind", "Absent: `host`.", []string{"host", "router", "switch"},
			[]labv1.NodeKind{labv1.NodeKind_NODE_KIND_HOST, labv1.NodeKind_NODE_KIND_ROUTER, labv1.NodeKind_NODE_KIND_SWITCH},
			func(n *labv1.NodeSpec, k labv1.NodeKind) { n.Kind = k }),
		schema.Nested("tcp", "tcp", "TCP settings of its connections.", TCP, nodeTCP),
		schema.Nested("ip", "ip", "IP settings.", ip, nodeIP),
		schema.Map("interfaces", "interfaces", "name", "Addresses by interface (`eth0`); absent ones are assigned.", iface, func(n *labv1.NodeSpec, name string) *labv1.InterfaceSpec {
			i := &labv1.InterfaceSpec{Name: name}
			n.Interfaces = append(n.Interfaces, i)
			return i
		}),
		schema.List("routes", "routes", "Static routes; shortest paths fill in what they leave open.", route, func(n *labv1.NodeSpec) *labv1.RouteSpec {
			r := &labv1.RouteSpec{}
			n.Routes = append(n.Routes, r)
			return r
		}),
		schema.List("apps", "apps", "Applications that run from boot on.", app, func(n *labv1.NodeSpec) *labv1.AppSpec {
			a := &labv1.AppSpec{}
			n.Apps = append(n.Apps, a)
			return a
		}),
	},
}
