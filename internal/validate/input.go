package validate

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

// scene is what an input may name.
type scene struct {
	*found
	kinds map[string]labv1.NodeKind
	names []string
	links []string // "r1--r2"
}

func newScene(spec *labv1.LabSpec) *scene {
	s := &scene{found: &found{}, kinds: map[string]labv1.NodeKind{}}
	for _, n := range spec.GetNodes() {
		s.kinds[n.GetName()] = n.GetKind()
		s.names = append(s.names, n.GetName())
	}
	s.links = LinkNames(spec)
	return s
}

// Input checks an input against the lab that it is for.
func Input(spec *labv1.LabSpec, in *labv1.Input) []Violation {
	s := newScene(spec)
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		s.transfer("transfer", k.Transfer)
	case *labv1.Input_HttpGet:
		s.httpGet("http_get", k.HttpGet)
	case *labv1.Input_Udp:
		s.udp("udp", k.Udp)
	case *labv1.Input_Ping:
		s.ping("ping", k.Ping)
	case *labv1.Input_Traceroute:
		s.traceroute("traceroute", k.Traceroute)
	case *labv1.Input_Send:
		s.send("send", k.Send)
	case *labv1.Input_Fault:
		s.fault("fault", k.Fault)
	case *labv1.Input_ClearFault:
		if k.ClearFault.GetId() == "" {
			s.add("clear_fault.id", "which fault is missing")
		}
	case *labv1.Input_Apply:
		s.list = append(s.list, Change(spec, k.Apply.GetSpec())...)
	case *labv1.Input_LinkSet:
		s.linkSet("link_set", k.LinkSet)
	case *labv1.Input_Interrupt:
	default:
		s.add("", "an input needs a kind")
	}
	return s.list
}

// LinkNames are the names of a lab's links, in the order of the spec: "r1--r2", with interfaces where two nodes share
// more than one.
func LinkNames(spec *labv1.LabSpec) []string {
	shared := map[[2]string]int{}
	for _, k := range spec.GetLinks() {
		shared[pairOf(k)]++
	}
	var names []string
	for _, k := range spec.GetLinks() {
		a, b := k.GetA().GetNode(), k.GetB().GetNode()
		if shared[pairOf(k)] > 1 {
			a, b = a+":"+k.GetA().GetInterface(), b+":"+k.GetB().GetInterface()
		}
		names = append(names, a+"--"+b)
	}
	return names
}

func pairOf(k *labv1.LinkSpec) [2]string {
	a, b := k.GetA().GetNode(), k.GetB().GetNode()
	return [2]string{min(a, b), max(a, b)}
}

func (s *scene) id(path, id string) {
	if id != "" && (len(id) > maxName || !itemID.MatchString(id)) {
		s.add(path, "%q is not an id: letters, digits, _ . -, at most %d", clip(id), maxName)
	}
}

// node checks the name of a node; host also that applications run on it.
func (s *scene) node(path, name string, host bool) {
	kind, ok := s.kinds[name]
	switch {
	case name == "":
		s.add(path, "which node is missing")
	case !ok:
		s.suggest(path, Nearest(name, s.names), "no node %q", clip(name))
	case kind == labv1.NodeKind_NODE_KIND_SWITCH:
		s.add(path, "%q is a switch: it has no address and runs nothing", name)
	case host && kind == labv1.NodeKind_NODE_KIND_ROUTER:
		s.add(path, "%q is a router; only hosts run applications", name)
	}
}

// target checks a node's name or an address.
func (s *scene) target(path, name string) {
	if a, err := netip.ParseAddr(name); err == nil && !a.Is4In6() && a.Zone() == "" {
		return
	}
	s.node(path, name, false)
}

func (s *scene) pair(path, from, to string) {
	s.node(path+".from", from, true)
	if a, err := netip.ParseAddr(to); err == nil && !a.Is4In6() && a.Zone() == "" {
		return
	}
	s.node(path+".to", to, true)
	if from == to && from != "" {
		s.add(path+".to", "from and to are the same node")
	}
}

func (s *scene) transfer(path string, t *labv1.Transfer) {
	s.id(path+".id", t.GetId())
	s.pair(path, t.GetFrom(), t.GetTo())
	switch c := t.GetContent().(type) {
	case *labv1.Transfer_File:
		s.fileRef(path+".file", c.File)
	case *labv1.Transfer_GeneratedBytes:
		if c.GeneratedBytes > maxContent {
			s.add(path+".generated_bytes", "must be at most %d B", uint64(maxContent))
		}
	default:
		s.add(path, "what to send is missing: a file or a number of bytes")
	}
	udp := t.GetProtocol() == labv1.Protocol_PROTOCOL_UDP
	if unknown(t.GetProtocol(), labv1.Protocol_name) {
		s.add(path+".protocol", "unknown value %d", t.GetProtocol())
	}
	if unknown(t.GetClose(), labv1.CloseMode_name) {
		s.add(path+".close", "unknown value %d", t.GetClose())
	}
	s.port(path+".port", t.GetPort())
	s.port(path+".local_port", t.GetLocalPort())
	s.tcp(path+".tcp", t.GetTcp())
	s.reader(path+".reader", t.GetReader())
	s.span(path+".hold_ns", t.GetHoldNs(), maxLabNs)
	s.span(path+".reply_delay_ns", t.GetReplyDelayNs(), maxLabNs)
	s.rate(path+".rate_bps", t.GetRateBps())
	if t.GetReplyBytes() > maxContent {
		s.add(path+".reply_bytes", "must be at most %d B", uint64(maxContent))
	}
	if n := t.GetWriteSizeBytes(); udp && n != 0 {
		s.within(path+".write_size_bytes", uint64(n), minDatagram, maxDatagram, " B")
	} else if n > maxBuffer {
		s.add(path+".write_size_bytes", "must be at most %d B", maxBuffer)
	}
	if udp && (t.GetReplyBytes() != 0 || t.GetShutdownBeforeReply()) {
		s.add(path+".reply_bytes", "a transfer over UDP has no reply")
	}
}

func (s *scene) rate(path string, bps uint64) {
	if bps > maxRateBps {
		s.add(path, "must be at most %d bit", uint64(maxRateBps))
	}
}

func (s *scene) httpGet(path string, g *labv1.HttpGet) {
	s.id(path+".id", g.GetId())
	s.node(path+".from", g.GetFrom(), true)
	s.tcp(path+".tcp", g.GetTcp())
	s.reader(path+".reader", g.GetReader())
	s.port(path+".local_port", g.GetLocalPort())
	u, err := url.Parse(g.GetUrl())
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || len(g.GetUrl()) > maxPath || !strings.HasPrefix(u.Path, "/") {
		s.add(path+".url", "%q is not a URL like http://server/file.txt", clip(g.GetUrl()))
		return
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65_535 {
			s.add(path+".url", "port %q is not from 1 to 65535", clip(p))
		}
	}
	s.target(path+".url", u.Hostname())
}

func (s *scene) udp(path string, u *labv1.UdpBlast) {
	s.id(path+".id", u.GetId())
	s.pair(path, u.GetFrom(), u.GetTo())
	s.port(path+".port", u.GetPort())
	s.rate(path+".rate_bps", u.GetRateBps())
	if n := u.GetSizeBytes(); n != 0 {
		s.within(path+".size_bytes", uint64(n), minDatagram, maxDatagram, " B")
	}
	if u.GetCount() == 0 || u.GetCount() > maxContent {
		s.add(path+".count", "must be from 1 to %d datagrams", uint64(maxContent))
	}
}

func (s *scene) ping(path string, p *labv1.Ping) {
	s.id(path+".id", p.GetId())
	s.node(path+".from", p.GetFrom(), false)
	s.target(path+".to", p.GetTo())
	s.span(path+".interval_ns", p.GetIntervalNs(), maxTimerNs)
	s.span(path+".timeout_ns", p.GetTimeoutNs(), maxTimerNs)
	if p.GetCount() > maxPings {
		s.add(path+".count", "must be at most %d", maxPings)
	}
	if p.GetSizeBytes() > maxDatagram {
		s.add(path+".size_bytes", "must be at most %d B", maxDatagram)
	}
	if p.GetTtl() > 255 {
		s.add(path+".ttl", "must be from 1 to 255")
	}
}

func (s *scene) traceroute(path string, t *labv1.Traceroute) {
	s.id(path+".id", t.GetId())
	s.node(path+".from", t.GetFrom(), false)
	s.target(path+".to", t.GetTo())
	s.span(path+".timeout_ns", t.GetTimeoutNs(), maxTimerNs)
	if t.GetMaxHops() > 255 {
		s.add(path+".max_hops", "must be from 1 to 255")
	}
	if t.GetProbes() > maxProbes {
		s.add(path+".probes", "must be at most %d", maxProbes)
	}
}
