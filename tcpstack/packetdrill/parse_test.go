package packetdrill

import (
	"errors"
	"strings"
	"testing"

	"labd.dev/sim"
)

// parseOne parses a script of one event.
func parseOne(t *testing.T, src string) *Event {
	t.Helper()
	s, err := Parse("t.pkt", []byte(src), nil)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	if len(s.Events) != 1 {
		t.Fatalf("%s: %d events", src, len(s.Events))
	}
	return s.Events[0]
}

// Packets that a script writes are written again as they were.
func TestPacketsRoundTrip(t *testing.T) {
	for _, src := range []string{
		"> S 0:0(0) win 65535 <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 8>",
		"> S. 0:0(0) ack 1 <...>",
		"> P. 1:1001(1000) ack 1 win 257",
		"> U. 1001:1001(0) ack 1 win 0 urg 5",
		"> FPUEWA. 1:2(1) ack 1",
		"> - 7:7(0)",
		"> .5 1:1(0) ack 1",
		"> P.0 1:1(0) ack 1",
		"> R 4294967295:4294967295(0)",
		"> . 1:1(0) ack 4294967295 <nop,nop,sack 1001:2001 4294967000:5>",
		"> S 0:0(0) <mss 1460,nop,nop,FO de4f234f0f433a55>",
		"> S 0:0(0) <mss 1460,FOEXP,eol,eol,eol,eol>",
		"> S 0:0(0) <FO,nop,nop>",
		"> S 0:0(0) <md5 00112233445566778899aabbccddeeff,nop,eol>",
		"> . 1:1(0) ack 1 <ECN e1b 1 ceb 0 e0b 1,nop>",
		"> . 1:1(0) ack 1 <ECN e0b 1 ceb 2,nop,nop,nop,nop>",
		"> [ect0] . 1:1(0) ack 1",
		"> [noecn] . 1:1(0) ack 1",
		"> [ect01] . 1:1(0) ack 1",
		"> [ce, flowlabel 0x1] . 1:1(0) ack 1",
		"> [tos 0x48] . 1:1(0) ack 1",
		"> [ttl 64] . 1:1(0) ack 1",
		"> udp (1000)",
		"> icmp unreachable frag_needed mtu 1400",
	} {
		p := parseOne(t, "0 "+src).Packet
		if p == nil || p.notation(p) != src {
			t.Errorf("%s became %s", src, p.notation(p))
		}
	}
}

func TestTimes(t *testing.T) {
	const ms = sim.Millisecond
	for src, want := range map[string]Time{
		"0":          {TimeAbsolute, 0, 0},
		"1":          {TimeAbsolute, 1000 * ms, 0},
		".25":        {TimeAbsolute, 250 * ms, 0},
		"+0.001":     {TimeRelative, ms, 0},
		"*":          {TimeAny, 0, 0},
		"1.2~1.4":    {TimeAbsoluteRange, 1200 * ms, 1400 * ms},
		"+.2 ~ +.25": {TimeRelativeRange, 200 * ms, 250 * ms},
	} {
		if got := parseOne(t, src+" > . 1:1(0) ack 1").Time; got != want {
			t.Errorf("%s is %+v, want %+v", src, got, want)
		}
	}
	c := parseOne(t, "0.1...0.2 connect(3, ..., ...) = 0").Call
	if !c.Blocking || c.End != 200*ms {
		t.Errorf("%+v", c)
	}
	if c := parseOne(t, "+0...0.2 read(4, ..., 10) = 10").Call; c.End != 200*ms || c.Name != "read" || len(c.Args) != 3 {
		t.Errorf("%+v", c)
	}
}

func TestExpressions(t *testing.T) {
	c := parseOne(t, `0 call(3, ..., -1, 0x10, SOL_SOCKET, O_RDWR|O_NONBLOCK, "a\n" "b", "c"..., [1, [2]], {onoff=1, linger=5},
		{..., 1000}, {sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("192.0.2.1")},
		{msg_name(...)=..., msg_iov(2)=[{..., 1}, {..., 2}], msg_flags=0}) = -1 EAGAIN (Resource temporarily unavailable)`).Call
	if c.Errno != "EAGAIN" || c.Note != "Resource temporarily unavailable" || c.Result.Int != -1 {
		t.Errorf("result %+v", c)
	}
	kinds := []ExprKind{ExprInt, ExprEllipsis, ExprInt, ExprInt, ExprWord, ExprOr, ExprString, ExprString, ExprList, ExprStruct,
		ExprStruct, ExprStruct, ExprStruct}
	if len(c.Args) != len(kinds) {
		t.Fatalf("%d arguments", len(c.Args))
	}
	for i, k := range kinds {
		if c.Args[i].Kind != k {
			t.Errorf("argument %d is of kind %d, want %d", i, c.Args[i].Kind, k)
		}
	}
	if c.Args[3].Int != 16 || !c.Args[3].Hex || c.Args[6].Text != "a\nb" || !c.Args[7].More || len(c.Args[5].List) != 2 {
		t.Error("values of simple arguments")
	}
	if v := c.Args[8].List[1].List[0].Int; v != 2 {
		t.Errorf("list holds %d", v)
	}
	if c.Args[9].Field("linger").Value.Int != 5 || c.Args[10].Fields[1].Value.Int != 1000 {
		t.Error("fields of structs")
	}
	addr := c.Args[11]
	if f := addr.Field("sin_port").Value; f.Kind != ExprFunc || f.Text != "htons" || f.List[0].Int != 8080 {
		t.Errorf("port %+v", f)
	}
	if f := addr.Field("sin_addr").Value; f.Addr.String() != "192.0.2.1" {
		t.Errorf("address %+v", f)
	}
	msg := c.Args[12]
	if f := msg.Field("msg_iov"); f.Arg.Int != 2 || len(f.Value.List) != 2 {
		t.Errorf("msg_iov %+v", f)
	}
}

// Comments, blanks and line breaks stand wherever a token may begin; options come
// first, then a shell line, then events, then a shell line.
func TestScriptFrame(t *testing.T) {
	s, err := Parse("t.pkt", []byte(`// a comment
--ip_version=ipv4
--define=CC="reno"
--tcp_ts_ecr_scaled
# another
`+"`sysctl -q net.ipv4.tcp_sack=0\n sysctl a`"+`
 0 call(CC) = 0 /* over
 two lines */ +0 %{ assert x == 1, y }%
* > . 1:1(0)
  ack 5
`+"+0 `true`\n`cleanup`\n"), map[string]string{"UNUSED": "1"})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Options) != 3 || s.Options[0].Value != "ipv4" || s.Options[2].HasValue {
		t.Errorf("options %+v", s.Options)
	}
	if s.Init == nil || s.Init.Line != 6 || !strings.HasPrefix(s.Init.Text, "sysctl -q") || s.Cleanup.Text != "cleanup" {
		t.Errorf("commands %+v %+v", s.Init, s.Cleanup)
	}
	if len(s.Events) != 4 || s.Events[0].Call.Args[0].Kind != ExprString || s.Events[0].Call.Args[0].Text != "reno" {
		t.Fatalf("events %+v", s.Events)
	}
	if c := s.Events[1].Code; c.Text != "assert x == 1, y" || c.Line != 9 {
		t.Errorf("code %+v", c)
	}
	if e := s.Events[2]; e.Line != 10 || e.Packet.TCP.Ack != 5 || !e.Packet.TCP.HasAck || e.Packet.TCP.HasWin {
		t.Errorf("packet %+v", e.Packet)
	}
	if s.Events[3].Command.Text != "true" {
		t.Error("the timed shell line")
	}
}

// Each of these is refused with its reason and its line, never taken for another
// thing.
func TestSyntaxErrors(t *testing.T) {
	for src, why := range map[string]string{
		"":                                    "a script without events",
		"0 < S 0:0(0)":                        "an inbound packet needs a window",
		"0 < . 1:1(0) win 1 <...>":            "<...> for TCP options can only be used with outbound packets",
		"0 > . 1:1(0) <mss 1460,nop>":         "must be padded to a multiple of 4",
		"0 > . 1:2(0)":                        "sequence numbers 1:2 do not span 0 bytes",
		"0 > X 1:1(0)":                        `invalid TCP flag 'X' in "X"`,
		"0 > E5 1:1(0)":                       "conflicting TCP flag",
		"0 > . 1:1(0) win 65536":              "win 65536 is not within 0 and 65535",
		"0 > . 1:1(0) <wscale 256>":           "wscale 256 is not within 0 and 255",
		"0 > . 1:1(0) <foo>":                  `unknown TCP option "foo"`,
		"0 > . 1:1(0) <FO abc,nop,nop>":       "no even number of hexadecimal digits",
		"0 > . 1:1(0) <sack>":                 "expected a SACK block",
		"0 > gre : . 1:1(0)":                  "packets within gre need a tunnel",
		"0 > . 1:1(0) ack 1 {mut tcp 1-2}":    "damaged on purpose",
		"0 < [ect01] . 1:1(0) win 1":          "only outbound packets can be compared with",
		"* < . 1:1(0) win 1":                  "only an outbound packet may come at any time",
		"0~1 close(3) = 0":                    "only an outbound packet may come at any time or in a range",
		"1~0 > . 1:1(0)":                      "a range of times that runs backwards",
		"0.5...0.2 read(3, ..., 1) = 1":       "a system call that ends before it begins",
		"0 close(3) = 0\n\n /* ":              "a comment that does not end",
		"0 `sysctl":                           "a quotation (`) that does not end",
		"0 %{ x ":                             "a code block that does not end",
		"-1 close(3) = 0":                     "a negative time",
		"1000001 close(3) = 0":                "a time of more than 1000000 seconds",
		"0 f(99999999999999999999) = 0":       "does not fit 64 bits",
		"0 f(inet_addr(\"x\")) = 0":           `invalid address "x"`,
		"0 f(" + strings.Repeat("[", 99) + "": "nested more than 32 deep",
		"0 close(3)":                          "expected =",
		"--define=x\n0 close(3) = 0":          "--define without symbol=value",
		"0 close(3) = 0\n`a` `b`":             "nothing after the clean-up command",
		"0 < udp (70000)":                     "payload size 70000 is not within",
		"0 < [ce] udp (1)":                    "ECN marks can only be used with TCP packets",
	} {
		_, err := Parse("t.pkt", []byte(src), nil)
		var e *ParseError
		if !errors.As(err, &e) || !strings.Contains(e.Text, why) || e.Line < 1 {
			t.Errorf("%q: %v, want %s", src, err, why)
		}
	}
}

// What a parser makes of anything is a script or an error, and a script that it
// makes can be played.
func FuzzParse(f *testing.F) {
	f.Add([]byte(closedPort))
	f.Add([]byte("--mtu=1000\n`x`\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0...1 connect(3, ..., ...) = -1 E (a b)\n"))
	f.Add([]byte("0 < [ect0] SEWA. 0:0(0) win 1 urg 3 <mss 1,sackOK,TS val 1 ecr 2,FO aa,FOEXP,ECN e0b 1,eol,nop,md5 00>\n"))
	f.Add([]byte("0 < icmp unreachable frag_needed mtu 1 [1:2(1)]\n* > udp (3)\n0 f({a(1)=[2|3], b=\"c\"...}) = 0x1 %{ }%"))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := Parse("f.pkt", src, map[string]string{"A": "1", "B": `"b"`, "C": "`c`"})
		if (s == nil) == (err == nil) {
			t.Fatalf("script %v, error %v", s, err)
		}
		if err != nil {
			return
		}
		for _, e := range s.Events {
			if e.Packet != nil {
				_ = e.Packet.notation(e.Packet)
			}
		}
		if len(s.Events) < 100 {
			if r := Run("f.pkt", src, Options{}); strings.HasPrefix(r.Reason, "panic") {
				t.Fatal(r)
			}
		}
	})
}
