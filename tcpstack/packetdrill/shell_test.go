package packetdrill

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// newMachine makes a machine on a stack of its own.
func newMachine(t *testing.T) *machine {
	t.Helper()
	s, err := Parse("test.pkt", []byte("0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newSettings(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHost(g, Options{}, func([]byte) {})
	if err != nil {
		t.Fatal(err)
	}
	h.under = func(socketEvent) {}
	return newSystem(h).(*machine)
}

// Shell lines and what the stack's configuration is after them.
func TestShellLines(t *testing.T) {
	for _, c := range []struct {
		line string
		ok   func(c tcpstack.Config) bool
	}{
		{"sysctl -q net.ipv4.tcp_sack=0", func(c tcpstack.Config) bool { return !*c.TCP.SACK }},
		{"sysctl -w net/ipv4/tcp_sack=0", func(c tcpstack.Config) bool { return !*c.TCP.SACK }},
		{"/sbin/sysctl -q -w net.ipv4.tcp_timestamps=0 net.ipv4.tcp_ecn=1 >/dev/null 2>&1", func(c tcpstack.Config) bool {
			return !*c.TCP.Timestamps && c.TCP.ECN == "on"
		}},
		{"sysctl -q net.ipv4.tcp_syn_retries=3; sysctl -q net.ipv4.tcp_retries2=7", func(c tcpstack.Config) bool {
			return *c.TCP.SYNRetries == 3 && *c.TCP.DataRetries == 7
		}},
		{"false || sysctl net.ipv4.tcp_frto=0 && true", func(c tcpstack.Config) bool { return !*c.TCP.FRTO }},
		{"# nothing\necho 0 > /proc/sys/net/ipv4/tcp_early_retrans\n", func(c tcpstack.Config) bool { return !*c.TCP.TLP }},
		{"echo \"reno\" >/proc/sys/net/ipv4/tcp_congestion_control", func(c tcpstack.Config) bool { return c.TCP.Congestion == "reno" }},
		{`sysctl -q net.ipv4.tcp_rmem="4096 $((2*65536)) $((15*1024*1024))"`, func(c tcpstack.Config) bool {
			return *c.TCP.MaxRecvBuffer == 15<<20 && *c.TCP.StartRecvBuffer == 131072
		}},
		{"sysctl -q net.ipv4.tcp_wmem='4096 16384 2097152'", func(c tcpstack.Config) bool { return *c.TCP.MaxSendBuffer == 2<<20 }},
		{"../common/defaults.sh", func(c tcpstack.Config) bool {
			return *c.TCP.SYNRetries == 5 && !*c.TCP.SlowStartAfterIdle && c.TCP.ECN == "off" &&
				c.TCP.FastOpenKey == "a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4" && c.TCP.FastOpen == "client"
		}},
		{"../../common/defaults.sh", func(c tcpstack.Config) bool { return *c.TCP.SYNLinearTimeouts == 0 }},
		{"./defaults.sh", func(c tcpstack.Config) bool { return c.TCP.SYNLinearTimeouts == nil }},
		{"../../common/defaults.sh\nsysctl -q net.ipv4.tcp_ecn=2", func(c tcpstack.Config) bool { return c.TCP.ECN == "passive" }},
		{"../../common/set_sysctls.py /proc/sys/net/ipv4/tcp_fastopen=0x5 /proc/sys/net/ipv4/tcp_recovery=0", func(c tcpstack.Config) bool {
			return c.TCP.FastOpen == "client" && *c.TCP.FastOpenNoCookie && !*c.TCP.RACK
		}},
		{"./set_sysctls.py /proc/sys/net/ipv4/tcp_sack=1 && /tmp/sysctl_restore_${PPID}.sh", func(c tcpstack.Config) bool { return *c.TCP.SACK }},
		{"sysctl -q net.ipv4.tcp_fastopen_key=00010203-04050607-08090a0b-0c0d0e0f", func(c tcpstack.Config) bool {
			return c.TCP.FastOpenKey == "0302010007060504"+"0b0a09080f0e0d0c"
		}},
		{"tc qdisc add dev tun0 root pfifo", func(c tcpstack.Config) bool { return c.TCP.Pacing == nil }},
		{"tc qdisc replace dev tun0 root fq", func(c tcpstack.Config) bool { return *c.TCP.Pacing }},
		{"ip tcp_metrics flush all > /dev/null 2>&1", func(tcpstack.Config) bool { return true }},
		{"ip route change 192.0.2.0/24 via 192.168.0.1 dev tun0 initcwnd 4 rto_min 50ms", func(c tcpstack.Config) bool {
			return c.TCP.InitialWindow == 4 && c.TCP.MinRTO == 50*sim.Millisecond
		}},
		{"[ \"$(sysctl -n net.ipv4.tcp_sack)\" = 1 ] && test $(cat /proc/sys/net/ipv4/tcp_reordering) -le 3", func(tcpstack.Config) bool { return true }},
		{"sysctl net.ipv4.tcp_sack | true", nil},
		{"ethtool -K tun0 tso off gso off", func(tcpstack.Config) bool { return true }},
		{"sysctl -q net.mptcp.enabled=1 net.ipv4.conf.all.rp_filter=0", func(tcpstack.Config) bool { return true }},
	} {
		m := newMachine(t)
		err := m.Command(&Command{Line: 1, Text: c.line})
		switch {
		case c.ok == nil:
			if !errors.As(err, new(*skipError)) {
				t.Errorf("%q: %v, want a skip", c.line, err)
			}
		case err != nil:
			t.Errorf("%q: %v", c.line, err)
		case !c.ok(m.h.config):
			t.Errorf("%q: the configuration is %+v", c.line, m.h.config)
		}
	}
}

// What the table lacks is a skip with its text; what Linux refuses, or a command that fails, is a failure.
func TestShellLinesThatDoNotPass(t *testing.T) {
	for _, c := range []struct {
		line, why string
		skip      bool
	}{
		{"sysctl -q net.ipv4.tcp_of_tomorrow=1", "net.ipv4.tcp_of_tomorrow is not in the table", true},
		{"nstat --json", "`nstat --json`", true},
		{"nstat | grep TcpExtTCPHPHits", "`grep TcpExtTCPHPHits`", true},
		{"nstat | awk 1", "`awk 1`", true},
		{"ss -tin | grep cwnd", "`ss -tin`", true},
		{"nstat -n | grep -q Tcp", "fails", false},
		{"true; iptables -F; false", "`iptables -F`", true},
		{"echo $HOME", "`echo $HOME`", true},
		{"tc qdisc add dev tun0 root netem delay 10ms", "netem", true},
		{"sleep 1h", "`sleep 1h`", true},
		{"sysctl net.ipv4.tcp_ecn=3", "the value 3", true},
		{"sysctl net.ipv4.tcp_congestion_control=vegas", "vegas", true},
		{"for i in 1 2; do true; done", "for i in", true},
		{"x=1", "`x=1`", true},
		{"'unclosed", "unclosed", true},
		{"echo $((1/0))", "1/0", true},
		{"sysctl net.ipv4.tcp_syn_retries=lots", `"lots" is not within`, false},
		{"false", "`false` fails", false},
		{"[ 1 = 2 ]", "fails", false},
	} {
		err := newMachine(t).Command(&Command{Line: 1, Text: c.line})
		var skip *skipError
		if err == nil || errors.As(err, &skip) != c.skip || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%q: %v, want %q, a skip: %v", c.line, err, c.why, c.skip)
		}
	}
}

func FuzzShell(f *testing.F) {
	for _, s := range []string{"sysctl -q a=1 && true", "echo \"$((1+2*3))\" > /proc/sys/x", "ip route add 1.2.3.4 mtu lock 5", "tc qdisc add dev tun0 root fq", "[ 1 -eq 1 ] || false"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) { _ = newMachine(t).Command(&Command{Line: 1, Text: line}) })
}

// Every symbol that the socket layer decides by has the value of the table.
func TestConstantsAgree(t *testing.T) {
	for name, v := range map[string]int64{"AF_INET6": afInet6, "SOCK_NONBLOCK": sockNonblock, "SOL_IPV6": solIPv6, "MSG_FASTOPEN": msgFastopen,
		"MSG_ZEROCOPY": msgZerocopy, "MSG_ERRQUEUE": msgErrqueue, "MSG_EOR": msgEOR, "MSG_WAITALL": msgWaitall, "MSG_MORE": msgMore,
		"EPOLLRDHUP": epollRdhup, "EPOLLET": epollEdge, "EPOLLONESHOT": epollOneshot, "POLLNVAL": epollNval, "EPOLLWRNORM": epollWrnorm,
		"SIOCINQ": ioctlInq, "SIOCOUTQ": ioctlOutq, "SIOCOUTQNSD": ioctlOutqUnsent, "SIOCATMARK": ioctlAtMark, "FIONBIO": ioctlFIONBIO,
		"SCM_TIMESTAMPING": scmTimestamping, "TCP_CM_INQ": tcpInq, "IP_RECVERR": ipRecverr, "IPV6_RECVERR": ipv6Recverr,
		"IP_PMTUDISC_DO": pmtudiscDo, "SO_EE_ORIGIN_ZEROCOPY": originZerocopy, "ECONNREFUSED": int64(ECONNREFUSED)} {
		if symbolValues[name] != v {
			t.Errorf("%s is %d in the table, %d in the code", name, symbolValues[name], v)
		}
	}
	for _, o := range socketOptions {
		if _, ok := symbolValues[o.symbol]; !ok {
			t.Errorf("option %s is no symbol", o.symbol)
		}
	}
	if netip.MustParseAddr(defaultLocal4).Is6() {
		t.Error("the default address is not IPv4")
	}
}
