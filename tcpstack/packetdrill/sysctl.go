package packetdrill

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// sysctl is a setting of Linux, by its name with dots.
type sysctl struct {
	name  string
	value string // Linux's default
	// apply puts a value into the stack's configuration; nil: it has no effect here. A *skipError refuses a value that the
	// stack has no mechanism for, any other error one that Linux refuses as well.
	apply func(c *tcpstack.Config, v string) error
	// live: Linux looks at it each time, so that connections that are open have it too.
	live bool
	// note is, for the documentation, what the value comes to, or why it has no effect.
	note string
}

// sysctlState holds the values, by the table's index, and what `ip route` adds to them.
type sysctlState struct {
	m       *machine
	values  []string
	changed []bool
	base    tcpstack.Config // what the host began with
	route   tcpstack.TCPConfig
}

func (t *sysctlState) init(m *machine) {
	t.m, t.base = m, m.h.config
	t.values, t.changed = make([]string, len(sysctls)), make([]bool, len(sysctls))
	for i := range sysctls {
		t.values[i] = sysctls[i].value
	}
	// A host that begins with other settings of Fast Open shows them: what listeners may do is decided by tcp_fastopen.
	if n, ok := map[string]string{"off": "0", "client": "1", "server": "2", "both": "3"}[t.base.TCP.FastOpen]; ok {
		t.values[t.index("net.ipv4.tcp_fastopen")] = n
	}
}

// index finds a sysctl by name; slashes stand for dots, as in /proc/sys. -1: the table lacks it.
func (t *sysctlState) index(name string) int {
	name = strings.ReplaceAll(strings.Trim(name, "/"), "/", ".")
	name = strings.TrimPrefix(name, "proc.sys.")
	for i := range sysctls {
		if sysctls[i].name == name {
			return i
		}
		if prefix, ok := strings.CutSuffix(sysctls[i].name, "*"); ok && strings.HasPrefix(name, prefix) {
			return i
		}
	}
	return -1
}

// get reads a value.
func (t *sysctlState) get(name string) (string, bool) {
	i := t.index(name)
	if i < 0 {
		return "", false
	}
	return t.values[i], true
}

// text is a value as it stands.
func (t *sysctlState) text(name string) string {
	v, _ := t.get(name)
	return v
}

// number is a value that is a number.
func (t *sysctlState) number(name string) int64 {
	v, _ := t.get(name)
	n, _ := strconv.ParseInt(v, 0, 64)
	return n
}

// vector is one of a value's numbers.
func (t *sysctlState) vector(name string, i int) int64 {
	v, _ := t.get(name)
	if f := strings.Fields(v); i < len(f) {
		n, _ := strconv.ParseInt(f[i], 0, 64)
		return n
	}
	return 0
}

// time is a value in seconds.
func (t *sysctlState) time(name string) sim.Time { return sim.Time(t.number(name)) * sim.Second }

func (t *sysctlState) somaxconn() int64 { return t.number("net.core.somaxconn") }

// set changes a value and gives the stack, and where Linux does so its open connections, what follows from it.
func (t *sysctlState) set(name, value string) error {
	i := t.index(name)
	if i < 0 {
		return skipf("sysctl %s is not in the table", name)
	}
	value = strings.Join(strings.Fields(value), " ")
	if s := &sysctls[i]; s.apply != nil {
		var alone tcpstack.Config
		if err := s.apply(&alone, value); err != nil {
			return err
		}
		if s.live {
			for _, o := range t.m.sockets {
				if o.conn != nil {
					if err := o.conn.Reconfigure(o.opts.tcp.Merge(alone.TCP)); err != nil {
						return skipf("sysctl %s=%s: %v", name, value, err)
					}
				}
			}
		}
	}
	t.values[i], t.changed[i] = value, true
	switch sysctls[i].name {
	case "net.ipv4.tcp_fastopen_blackhole_timeout_sec": // proc_tfo_blackhole_detect_timeout
		t.m.h.stack.ResumeFastOpen()
	case "net.ipv4.route.flush", "net.ipv6.route.flush":
		t.m.h.stack.FlushPathMTUs()
	}
	return t.update()
}

// update makes the stack's configuration of all that has been set.
func (t *sysctlState) update() error {
	cfg := t.base
	for i, s := range sysctls {
		if t.changed[i] && s.apply != nil {
			if err := s.apply(&cfg, t.values[i]); err != nil {
				return err
			}
		}
	}
	cfg.TCP = t.route.Merge(cfg.TCP)
	if err := t.m.h.stack.Reconfigure(cfg); err != nil {
		return skipf("%v", err)
	}
	t.m.h.config = cfg
	for _, s := range t.m.sockets {
		if s.phase == phaseListening {
			if e := s.configure(s.fastOpenServer()); e != 0 {
				return skipf("the listener cannot take the settings: %v", e)
			}
		}
	}
	return nil
}

// Bits of tcp_fastopen.
const (
	fastOpenClient         = 0x1
	fastOpenServer         = 0x2
	fastOpenClientNoCookie = 0x4
	fastOpenServerNoCookie = 0x200
	fastOpenAllListeners   = 0x400
)

// fastOpen says whether tcp_fastopen has a bit.
func (t *sysctlState) fastOpen(bit int64) bool {
	return t.number("net.ipv4.tcp_fastopen")&bit != 0
}

// fastOpenKeyBytes reads "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4", or two of them joined by a comma: each word is a number
// that is stored with its low byte first (proc_tcp_fastopen_key).
func fastOpenKeyBytes(v string) ([]byte, error) {
	var b []byte
	for _, key := range strings.Split(v, ",") {
		words := strings.Split(key, "-")
		if len(words) != 4 {
			return nil, fmt.Errorf("%q is no key of four words", v)
		}
		for _, w := range words {
			n, err := strconv.ParseUint(w, 16, 32)
			if err != nil {
				return nil, fmt.Errorf("%q is no key of four words", v)
			}
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
	}
	if len(b) > 32 {
		return nil, fmt.Errorf("more than two keys")
	}
	return b, nil
}

// Effects of values, by their form.

// onOff sets a switch: any number but 0 is on.
func onOff(field func(*tcpstack.TCPConfig) **bool) func(*tcpstack.Config, string) error {
	return func(c *tcpstack.Config, v string) error {
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", v)
		}
		*field(&c.TCP) = new(n != 0)
		return nil
	}
}

// offOn sets a switch that the sysctl turns off: with 0 it is on.
func offOn(field func(*tcpstack.TCPConfig) **bool) func(*tcpstack.Config, string) error {
	on := onOff(field)
	return func(c *tcpstack.Config, v string) error {
		err := on(c, v)
		if err == nil {
			*field(&c.TCP) = new(!**field(&c.TCP))
		}
		return err
	}
}

// counted sets a number from least to most.
func counted(least, most int64, field func(*tcpstack.TCPConfig) **uint32) func(*tcpstack.Config, string) error {
	return func(c *tcpstack.Config, v string) error {
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is not within %d and %d", v, least, most)
		}
		*field(&c.TCP) = new(uint32(n))
		return nil
	}
}

// timed sets a time in units.
func timed(unit sim.Time, field func(*tcpstack.TCPConfig) **sim.Time) func(*tcpstack.Config, string) error {
	return func(c *tcpstack.Config, v string) error {
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil || n < 0 || n > int64(sim.Never/unit) {
			return fmt.Errorf("%q is no time", v)
		}
		*field(&c.TCP) = new(sim.Time(n) * unit)
		return nil
	}
}

// worded sets a field to the word that stands at the number's place; an empty word, or none, is not supported.
func worded(field func(*tcpstack.TCPConfig) *string, words ...string) func(*tcpstack.Config, string) error {
	return func(c *tcpstack.Config, v string) error {
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no number", v)
		}
		if n >= int64(len(words)) || words[n] == "" {
			return skipf("the stack has no mechanism for the value %s", v)
		}
		*field(&c.TCP) = words[n]
		return nil
	}
}

// only takes those values that come to what the stack does anyway.
func only(values ...string) func(*tcpstack.Config, string) error {
	return func(_ *tcpstack.Config, v string) error {
		if !slices.Contains(values, v) {
			return skipf("the stack has no mechanism for the value %s", v)
		}
		return nil
	}
}

// maxScriptSockets is more than any script opens: a bound above it bounds nothing.
const maxScriptSockets = 64

// atLeast takes what bounds no script.
func atLeast(least int64) func(*tcpstack.Config, string) error {
	return func(_ *tcpstack.Config, v string) error {
		if n, err := strconv.ParseInt(v, 0, 64); err != nil {
			return fmt.Errorf("%q is no number", v)
		} else if n < least {
			return skipf("the stack has no mechanism for the value %s", v)
		}
		return nil
	}
}

// applyKey hands the key of Fast Open cookies on.
func applyKey(c *tcpstack.Config, v string) error {
	b, err := fastOpenKeyBytes(v)
	if err != nil {
		return err
	}
	c.TCP.FastOpenKey = keyText(b)
	return nil
}

// applyFastOpen is the client's side; a listener's is decided with its TCP_FASTOPEN.
func applyFastOpen(c *tcpstack.Config, v string) error {
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil {
		return fmt.Errorf("%q is no number", v)
	}
	c.TCP.FastOpen = "off"
	if n&fastOpenClient != 0 {
		c.TCP.FastOpen = "client"
	}
	c.TCP.FastOpenNoCookie = new(n&fastOpenClientNoCookie != 0)
	return nil
}

// applyRecovery: bit 0 RACK, bit 1 a reordering window that does not adapt, bit 2 one that DupThresh duplicates do not end.
func applyRecovery(c *tcpstack.Config, v string) error {
	n, err := strconv.ParseInt(v, 0, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number", v)
	}
	c.TCP.RACK, c.TCP.RACKAdapt, c.TCP.RACKDupThresh = new(n&1 != 0), new(n&2 == 0), new(n&4 == 0)
	return nil
}

// applyBuffers reads "least usual most".
func applyBuffers(v string) (usual, most *uint64, err error) {
	f := strings.Fields(v)
	if len(f) != 3 {
		return nil, nil, fmt.Errorf("%q is not three sizes", v)
	}
	var n [3]uint64
	for i := range f {
		if n[i], err = strconv.ParseUint(f[i], 0, 31); err != nil || n[i] == 0 {
			return nil, nil, fmt.Errorf("%q is no size", f[i])
		}
	}
	return new(max(n[1], leastBuffer)), new(max(n[2], leastBuffer)), nil
}
