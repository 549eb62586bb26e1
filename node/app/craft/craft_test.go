package craft

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"labd.dev/tcpstack/wire"
)

var addresses = map[string]string{"client": "10.0.0.1", "server": "10.0.0.2", "mallory": "10.0.0.66", "six": "fd00::1", "seven": "fd00::2"}

var addresses6 = map[string]string{"client": "fd00::a", "server": "fd00::b"}

// lab is a place to make packets in, at mallory.
func lab() *Env {
	n := uint64(0)
	return &Env{
		Resolve: func(name string, six bool) (netip.Addr, bool) {
			if a, ok := addresses6[name]; ok && six {
				name = a
			} else if a, ok := addresses[name]; ok {
				name = a
			}
			a, err := netip.ParseAddr(name)
			return a, err == nil
		},
		Source: func(dst netip.Addr) (netip.Addr, bool) {
			if dst.Is6() {
				return netip.MustParseAddr("fd00::66"), true
			}
			return netip.MustParseAddr(addresses["mallory"]), true
		},
		Draw: func() uint64 { n++; return n * 0x9e3779b97f4a7c15 },
	}
}

func fields(words ...string) (list []Field) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		list = append(list, Field{name, value})
	}
	return list
}

func build(t *testing.T, env *Env, words ...string) []byte {
	t.Helper()
	p, err := Compile(fields(words...))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := p.Build(env)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is left out is as an honest sender would have it; the bytes were worked out by hand.
func TestHonestPackets(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"ip.src=client", "ip.dst=server", "tcp.sport=40000", "tcp.dport=80", "tcp.flags=S", "tcp.seq=1000", "tcp.options=mss=1460,sackok,ts=7:0,nop,wscale=7"},
			"4500003c 00000000 40060000 0a000001 0a000002 9c400050 000003e8 00000000 a002ffff 00000000 020405b4 0402080a 00000007 00000000 01030307"},
		{[]string{"ip.dst=server", "udp.sport=1", "udp.dport=9", "data=hi"}, "4500001e 00000000 40110000 0a000042 0a000002 00010009 000a0000 6869"},
		{[]string{"ip.dst=server", "icmp.id=1", "icmp.seq=2"}, "4500001c 00000000 40010000 0a000042 0a000002 08000000 00010002"},
		{[]string{"ip.dst=seven", "udp.dport=9", "hex=ff00"}, "60000000 000a1140 fd000000000000000000000000000066 fd000000000000000000000000000002 00000009 000a0000 ff00"},
	} {
		got := build(t, lab(), c.words...)
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !checksumsHold(t, got) {
			t.Errorf("%v: a checksum is wrong", c.words)
		}
		clearChecksums(got)
		if hex.EncodeToString(got) != hex.EncodeToString(want) {
			t.Errorf("%v:\n%x\nwant\n%x", c.words, got, want)
		}
	}
}

// parts are a packet's IP header and what follows it, with the place of the checksum there.
func parts(b []byte) (header, body []byte, proto, at int) {
	n, proto := int(b[0]&15)*4, int(b[9])
	if b[0]>>4 == 6 {
		n, proto = 40, int(b[6])
	}
	return b[:n], b[n:], proto, map[int]int{6: 16, 17: 6, 1: 2, 58: 2}[proto]
}

func checksumsHold(t *testing.T, b []byte) bool {
	t.Helper()
	header, body, proto, _ := parts(b)
	if header[0]>>4 == 4 && wire.Sum(header) != 0xffff {
		return false
	}
	var pseudo []byte
	if proto != 1 {
		n := 4
		if header[0]>>4 == 6 {
			n = 16
		}
		pseudo = append(pseudo, header[len(header)-2*n:]...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
		pseudo = append(pseudo, 0, 0, 0, byte(proto))
	}
	return wire.Sum(append(pseudo, body...)) == 0xffff
}

func clearChecksums(b []byte) {
	header, body, _, at := parts(b)
	if header[0]>>4 == 4 {
		header[10], header[11] = 0, 0
	}
	body[at], body[at+1] = 0, 0
}

// What is given goes on the wire as it is, however wrong.
func TestWhatIsGivenIsNotMended(t *testing.T) {
	b := build(t, lab(), "ip.dst=server", "ip.version=5", "ip.ihl=15", "ip.length=9", "ip.id=7", "ip.df=1", "ip.mf=1", "ip.offset=3",
		"ip.checksum=1", "ip.ttl=1", "ip.tos=3", "tcp.offset=3", "tcp.checksum=2", "tcp.urg=4", "tcp.flags=0x29", "size=3", "data=ab")
	want := "5f030009000760030106" + "0001" + "0a0000420a000002" + "0000000000000000000000003029ffff" + "00020004" + "616261"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestFieldsOfThePacketWaitedFor(t *testing.T) {
	env := lab()
	seen := build(t, env, "ip.src=server", "ip.dst=client", "ip.ttl=9", "tcp.sport=80", "tcp.dport=40000", "tcp.seq=0xffffffff", "tcp.ack=100",
		"tcp.flags=PA", "tcp.win=50", "tcp.options=nop,nop,ts=11:22", "data=12345")
	env.Seen = Look(seen, len(seen))
	env.I = 2
	got := build(t, env, "ip.src=seen.dst", "ip.dst=seen.src", "tcp.sport=seen.dport", "tcp.dport=seen.sport", "tcp.flags=.",
		"tcp.seq=seen.ack+i*3", "tcp.ack=seen.seq + seen.len", "tcp.win=seen.win - 1", "tcp.options=nop,nop,ts=seen.tsecr+1:seen.tsval")
	if text, want := Describe(got), "10.0.0.1:40000 > 10.0.0.2:80 [A] seq 106 ack 4 win 49 length 0"; text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	var o wire.TCPOptions
	if err := wire.ParseTCPOptions(got[40:], &o); err != nil || o.TSVal != 23 || o.TSEcr != 11 {
		t.Errorf("timestamps %d %d, %v", o.TSVal, o.TSEcr, err)
	}
}

// RFC 792: an error quotes "the internet header plus the first 64 bits of the original datagram's data".
func TestQuotes(t *testing.T) {
	env := lab()
	seen := build(t, env, "ip.src=server", "ip.dst=client", "tcp.sport=80", "tcp.dport=40000", "tcp.seq=77")
	env.Seen = Look(seen, len(seen))
	whole := build(t, env, "ip.dst=server", "icmp.type=3", "icmp.code=4", "icmp.mtu=576", "quote.seen=1")
	if hex.EncodeToString(whole[28:]) != hex.EncodeToString(seen[:28]) || whole[26] != 2 || whole[27] != 0x40 {
		t.Errorf("%x does not quote %x with an MTU of 576", whole, seen)
	}
	made := build(t, env, "ip.src=10.9.9.9", "ip.dst=server", "icmp.type=3", "icmp.code=4", "quote.dst=client", "quote.sport=80", "quote.dport=40000", "quote.seq=77")
	if q := Look(made[28:], len(made)-28); q.Src.String() != "10.0.0.2" || q.Dst.String() != "10.0.0.1" {
		t.Errorf("quotes a packet from %v to %v", q.Src, q.Dst)
	}
	if hex.EncodeToString(made[48:56]) != "00509c400000004d" {
		t.Errorf("quotes %x", made[48:])
	}
}

func TestPrefixesAndDice(t *testing.T) {
	env := lab()
	p, err := Compile(fields("ip.src=198.51.100.0/24", "ip.dst=server", "udp.sport=rand"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 50 {
		b, _, err := p.Build(env)
		if err != nil {
			t.Fatal(err)
		}
		s := Look(b, len(b))
		if !netip.MustParsePrefix("198.51.100.0/24").Contains(s.Src) {
			t.Fatalf("source %v", s.Src)
		}
		seen[Describe(b)] = true
	}
	if len(seen) < 45 {
		t.Errorf("%d of 50 drawn packets differ", len(seen))
	}
}

func TestMistakes(t *testing.T) {
	for words, want := range map[string]string{
		"tcp.flag=S":                                          "tcp.flag: is no field of a packet; did you mean tcp.flags?",
		"ip.dst=server tcp.seq=1 tcp.seq=2":                   "tcp.seq: is given twice",
		"tcp.seq=1":                                           "ip.dst: says where the packet goes, and is missing",
		"ip.dst=server tcp.sport=65536":                       "tcp.sport: 65536 does not fit into 16 bits",
		"ip.dst=server tcp.sport=x":                           `tcp.sport: "x" is neither a number nor i, rand or seen.FIELD`,
		"ip.dst=server tcp.sport=seen.flags":                  `tcp.sport: "seen.flags" is no number of a packet: seen. goes with seq, ack, len, win, sport, dport, urg, tsval, tsecr, ttl, id`,
		"ip.dst=server tcp.flags=SX":                          `tcp.flags: "SX": flags are letters of C E U A P R S F`,
		"ip.dst=server tcp.seq=1 udp.dport=2":                 "udp.dport: the packet has tcp fields already: it carries one of them",
		"ip.dst=server ip.id=1 ip6.flow=2":                    "ip6.flow: a packet is of IPv4 or of IPv6, and has fields of both",
		"ip.dst=server tcp.seq=i*x":                           `tcp.seq: "i*x": after * a number is expected`,
		"ip.dst=server hex=0g":                                `hex: "0g" is not hex`,
		"ip.dst=server hex=00 data=x":                         "hex: data is given already",
		"ip.dst=server tcp.options=mss":                       "tcp.options: mss: a number is missing",
		"ip.dst=server tcp.options=sack=1:2:3:4:5:6:7:8:9:10": "tcp.options: the options take 44 bytes; a header has room for 40",
		"ip.dst=server/99":                                    `ip.dst: "server/99" is no prefix`,
	} {
		_, err := Compile(fields(strings.Fields(words)...))
		var e *Error
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("%s: %v, want %s", words, err, want)
		}
	}
	for words, want := range map[string]string{
		"ip.dst=nowhere":                "ip.dst: nowhere: neither a node nor an address",
		"ip.dst=server ip.src=six":      "ip.src: fd00::1 to 10.0.0.2: both addresses and all fields are of IPv4, or of IPv6",
		"ip.dst=server tcp.seq=seen.id": "ip.dst: the packet has fields of one that is waited for, and nothing is waited for",
		"ip.dst=server size=65535":      "size: the packet has 65555 bytes; the longest has 65535",
	} {
		p, err := Compile(fields(strings.Fields(words)...))
		if err != nil {
			t.Fatal(words, err)
		}
		if _, _, err = p.Build(lab()); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", words, err, want)
		}
	}
}

// Whatever fields a file has, and whatever passes, making a packet ends in a packet or an error.
func FuzzCraft(f *testing.F) {
	f.Add("ip.dst=server tcp.seq=seen.ack+1 tcp.options=ts=rand:i,sack=1:2,fo=0011 size=40 data=x", []byte{0x45, 0, 0, 40})
	f.Add("ip.dst=fd00::2 ip6.ext=0600 icmp.type=2 quote.seen=1 icmp.mtu=-1", []byte{0x60})
	f.Add("ip.src=10.0.0.0/8 ip.dst=seen.src ip.options=01020304 udp.checksum=0 hex=00", make([]byte, 80))
	f.Fuzz(func(t *testing.T, words string, seen []byte) {
		p, err := Compile(fields(strings.Fields(words)...))
		if err != nil {
			return
		}
		env := lab()
		env.Seen = Look(seen, len(seen))
		if b, _, err := p.Build(env); err == nil {
			if len(b) > MaxData {
				t.Errorf("%d bytes", len(b))
			}
			Describe(b)
			Look(b, len(b))
		}
	})
}

// A packet is of IPv6 if a field of its own or an address says so; the names in it then stand for IPv6 addresses.
func TestNamesFollowTheVersion(t *testing.T) {
	for _, c := range []struct{ words, want string }{
		{"ip.src=client ip.dst=server udp.dport=9", "10.0.0.1:0 > 10.0.0.2:9 UDP length 0"},
		{"ip6.flow=1 ip.src=client ip.dst=server udp.dport=9", "[fd00::a]:0 > [fd00::b]:9 UDP length 0"},
		{"ip.src=client ip.dst=fd00::9 udp.dport=9", "[fd00::a]:0 > [fd00::9]:9 UDP length 0"},
		{"ip.src=fd00:1::/127 ip.dst=server icmp.type=134", "fd00:1:: > fd00::b ICMP type 134 code 0 0x00000000"},
		{"ip.src=client ip.dst=seven udp.dport=9", "[fd00::a]:0 > [fd00::2]:9 UDP length 0"}, // who has no IPv4
	} {
		env := lab()
		env.Draw = func() uint64 { return 0 }
		if got := Describe(build(t, env, strings.Fields(c.words)...)); got != c.want {
			t.Errorf("%s: %s, want %s", c.words, got, c.want)
		}
	}
	env := lab()
	seen := build(t, env, "ip.src=seven", "ip.dst=six", "udp.sport=1", "udp.dport=2")
	env.Seen = Look(seen, len(seen))
	if got, want := Describe(build(t, env, "ip.src=client", "ip.dst=seen.src", "udp.dport=seen.sport")), "[fd00::a]:0 > [fd00::2]:1 UDP length 0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
