package packetdrill

import "testing"

// Options that a script sets reach the machine, or make the script a skip with their line.
func TestScriptOptions(t *testing.T) {
	for _, opts := range []string{
		"--local_ip=192.168.7.7", "--remote_ip=198.51.100.9/24", "--gateway_ip=192.168.0.9", "--netmask_ip=255.255.255.0",
		"--remote_ip=192.168.0.9", "--bind_port=99", "--connect_port=7", "--mtu=1000", "--is_anyip", "--send_omit_free", "--speed=5",
		"--ip_version=ipv6", "--ip_version=ipv4-mapped-ipv6", "--define=A=B", "--code_sockopt=TCP_INFO", "--verbose",
		"--ip_version=ipv6 --local_ip=fd00::1 --remote_ip=2001:db8::7",
	} {
		wantResult(t, opts+"\n"+accepted+"+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n", Options{}, Pass, 0, "")
	}
	for opts, why := range map[string]string{
		"--so_filename=x.so":              "--so_filename: this host has no such option",
		"--wire_client":                   "--wire_client: this host has no such option",
		"--mtu=1":                         "--mtu: 1 is not within 68 and 65535",
		"--mtu=x":                         `--mtu: "x" is no number`,
		"--bind_port=0":                   "--bind_port: 0 is not within 1 and 65535",
		"--netmask_ip=255.0.255.0":        `--netmask_ip: no netmask "255.0.255.0"`,
		"--netmask_ip=0.0.0.0":            "no netmask",
		"--tolerance_usecs=0":             "--tolerance_usecs: 0 is not within 1",
		"--tolerance_percent=101":         "--tolerance_percent: 101 is not within 0 and 100",
		"--tcp_ts_tick_usecs=-1":          "--tcp_ts_tick_usecs: -1 is not within",
		"--local_ip=1.2.3":                "--local_ip: ",
		"--ip_version=ipv6 --mtu=1000":    "an MTU of 1000 is too small for IPv6",
		"--local_ip=fd00::1":              "addresses fd00::1 and 192.0.2.1 are not of the script's --ip_version",
		"--local_ip=192.0.2.1":            "the host and its peer have one address",
		"--local_ip=::ffff:192.168.0.2":   "not of the script's --ip_version",
		"--remote_ip=0.0.0.0":             "0.0.0.0 is not the address of a host",
		"--gateway_ip=224.0.0.1":          "224.0.0.1 is not the address of a host",
		"--ip_version=ipv6 --local_ip=::": ":: is not the address of a host",
	} {
		wantResult(t, opts+"\n"+accepted, Options{}, Skip, 1, why)
	}
}

// Lines stand at the script's head; the script's own win.
func TestLines(t *testing.T) {
	const script = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n" +
		"+0 < S 0:0(0) win 1000 <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss MSS>\n"
	line := func(text string) Option {
		o, err := ParseLine(text)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, c := range []struct {
		head, mss string
		lines     []Option
	}{
		{"", "1460", nil},
		{"", "1360", []Option{line("mtu=1400")}},
		{"--mtu=1300\n", "1260", []Option{line("mtu=1400")}},
		{"", "1340", []Option{line("ip_version=ipv6"), line("mtu=1400")}},
		{"", "1400", []Option{line("init_scripts=/x/defaults.sh,../y/true"), line("mtu=1440")}},
	} {
		o := Options{Lines: c.lines, Defines: map[string]string{"MSS": c.mss}}
		if r := Run("lines.pkt", []byte(c.head+script), o); r.Status != Pass {
			t.Errorf("%q, %v: %+v", c.head, c.lines, r)
		}
	}
	for _, bad := range []string{"mtu", "mtu=1", "ip_version=ipv5", "no_such=1", ""} {
		if o, err := ParseLine(bad); err == nil {
			t.Errorf("%q is %+v", bad, o)
		}
	}
}
