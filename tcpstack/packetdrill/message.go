package packetdrill

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"labd.dev/sim"
)

// message is a msghdr as the script writes it.
type message struct {
	named   bool // msg_name is given
	buffers []int64
	flags   int64
	control []control
	asked   bool // msg_control is given: what comes with the data is compared
}

// control is a control message, its data in the host's byte order as the kernel lays it out.
type control struct {
	level, kind int64
	data        []byte
	// Parts of the data that are compared in their own way.
	stats  []statistic   // of SCM_TIMESTAMPING_OPT_STATS
	stamps [3]stamp      // of SCM_TIMESTAMPING
	failed *extendedFail // of IP_RECVERR
}

// stamp is one struct timespec of SCM_TIMESTAMPING: a script's time; 0 0 compares with anything.
type stamp struct{ sec, nsec int64 }

// extendedFail is struct sock_extended_err.
type extendedFail struct{ errno, origin, kind, code, info, data int64 }

// statistic is one attribute of SCM_TIMESTAMPING_OPT_STATS; any says that the script leaves its value open.
type statistic struct {
	kind  int64
	value int64
	any   bool
}

// received is what a recvmsg has told beside the data.
type received struct {
	flags   int64
	control []control
}

// maxControls bounds the control messages of one msghdr (the original's buffer is 512 bytes).
const maxControls = 32

// message reads a msghdr.
func (a *arguments) message(i int) message {
	e := a.at(i)
	if e.Kind != ExprStruct {
		a.fail(fmt.Errorf("argument %d is no msghdr", i+1))
		return message{}
	}
	var msg message
	for _, f := range e.Fields {
		var err error
		switch f.Name {
		case "msg_name":
			msg.named = true
		case "msg_iov":
			msg.buffers, err = a.m.iovecs(f.Value)
			if err == nil && f.Arg != nil {
				var n int64
				if n, err = a.m.integer(f.Arg); err == nil && n != int64(len(msg.buffers)) {
					err = fmt.Errorf("msg_iov(%d) has %d iovecs", n, len(msg.buffers))
				}
			}
		case "msg_flags":
			msg.flags, err = a.m.integer(f.Value)
		case "msg_control":
			msg.asked = true
			msg.control, err = a.m.controls(f.Value)
		case "msg_namelen", "msg_iovlen", "msg_controllen":
		default:
			err = skipf("member %s of a msghdr", f.Name)
		}
		if err != nil {
			a.fail(err)
		}
	}
	return msg
}

// controls reads [{cmsg_level = ..., cmsg_type = ..., cmsg_data = ...}, ...].
func (m *machine) controls(e *Expr) ([]control, error) {
	if e.Kind == ExprEllipsis {
		return nil, nil
	}
	if e.Kind != ExprList || len(e.List) > maxControls {
		return nil, fmt.Errorf("msg_control is no array of at most %d control messages", maxControls)
	}
	var all []control
	for _, v := range e.List {
		c, err := m.control(v)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (m *machine) control(e *Expr) (c control, err error) {
	for _, name := range []string{"cmsg_level", "cmsg_type", "cmsg_data"} {
		if e.Kind != ExprStruct || e.Field(name) == nil {
			return c, fmt.Errorf("a control message has no %s", name)
		}
	}
	if c.level, err = m.integer(e.Field("cmsg_level").Value); err != nil {
		return c, err
	}
	if c.kind, err = m.integer(e.Field("cmsg_type").Value); err != nil {
		return c, err
	}
	data := e.Field("cmsg_data").Value
	switch {
	case data.Kind == ExprStruct && data.Field("ee_errno") != nil:
		c.failed, err = m.extendedFail(data)
	case data.Kind == ExprStruct && data.Field("scm_sec") != nil:
		err = m.stamps(data, &c)
	case data.Kind == ExprList:
		c.stats, err = m.statistics(data)
	case data.Kind == ExprString:
		c.data = []byte(data.Text)
	default:
		var n int64
		if n, err = m.integer(data); err == nil {
			c.data = controlInt(n)
		}
	}
	return c, err
}

// controlInt is an int as a control message holds it.
func controlInt(n int64) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

func (m *machine) extendedFail(e *Expr) (*extendedFail, error) {
	x := &extendedFail{}
	for _, f := range e.Fields {
		n, err := m.integer(f.Value)
		if err != nil {
			return nil, err
		}
		switch f.Name {
		case "ee_errno":
			x.errno = n
		case "ee_origin":
			x.origin = n
		case "ee_type":
			x.kind = n
		case "ee_code":
			x.code = n
		case "ee_info":
			x.info = n
		case "ee_data":
			x.data = n
		default:
			return nil, skipf("member %s of a sock_extended_err", f.Name)
		}
	}
	return x, nil
}

// stamps reads {scm_sec = 0, scm_nsec = 10000000}: the software time stamp, the first of the three.
func (m *machine) stamps(e *Expr, c *control) error {
	for _, f := range e.Fields {
		n, err := m.integer(f.Value)
		if err != nil {
			return err
		}
		switch f.Name {
		case "scm_sec":
			c.stamps[0].sec = n
		case "scm_nsec":
			c.stamps[0].nsec = n
		default:
			return skipf("member %s of a scm_timestamping", f.Name)
		}
	}
	return nil
}

// statistics reads [TCP_NLA_BUSY = 20000, TCP_NLA_SND_CWND = ..., ...].
func (m *machine) statistics(e *Expr) ([]statistic, error) {
	var all []statistic
	for _, v := range e.List {
		if v.Kind != ExprAssign || len(v.List) != 1 {
			return nil, fmt.Errorf("a statistic is not NAME = value")
		}
		kind, err := m.symbol(v.Text)
		if err != nil {
			return nil, err
		}
		x := statistic{kind: kind, any: v.List[0].Kind == ExprEllipsis}
		if !x.any {
			if x.value, err = m.integer(v.List[0]); err != nil {
				return nil, err
			}
		}
		all = append(all, x)
	}
	return all, nil
}

// compareMessage holds what a recvmsg told against the script's msghdr, in the original's order: flags, then each control
// message.
func (m *machine) compareMessage(s *socket, want message, got *received) error {
	if want.flags != got.flags {
		return fmt.Errorf("msg_flags is %s, expected %s", names("MSG_", uint32(got.flags)), names("MSG_", uint32(want.flags)))
	}
	if !want.asked {
		return nil
	}
	for i, w := range want.control {
		if i == len(got.control) {
			return fmt.Errorf("%d control messages came, expected %d", i, len(want.control))
		}
		if err := m.compareControl(w, got.control[i]); err != nil {
			return fmt.Errorf("control message %d: %w", i+1, err)
		}
	}
	if len(got.control) > len(want.control) {
		c := got.control[len(want.control)]
		return fmt.Errorf("%d control messages came, expected %d; the first beyond them has level %d, type %d", len(got.control), len(want.control), c.level, c.kind)
	}
	return nil
}

func (m *machine) compareControl(want, got control) error {
	switch {
	case want.level != got.level || want.kind != got.kind:
		return fmt.Errorf("level %d, type %d, expected level %d, type %d", got.level, got.kind, want.level, want.kind)
	case (want.failed != nil) != (got.failed != nil) || len(want.stats) > 0 != (len(got.stats) > 0):
		return fmt.Errorf("its data is of another kind than expected")
	case want.failed != nil:
		if *want.failed != *got.failed {
			return fmt.Errorf("sock_extended_err %v, expected %v", *got.failed, *want.failed)
		}
	case len(want.stats) > 0:
		return m.compareStatistics(want.stats, got.stats)
	case want.level == solSocket && want.kind == scmTimestamping:
		return m.compareStamps(want.stamps, got.stamps)
	case !bytes.Equal(want.data, got.data):
		return fmt.Errorf("data %x, expected %x", got.data, want.data)
	}
	return nil
}

// compareStamps allows each time the tolerance of the script.
func (m *machine) compareStamps(want, got [3]stamp) error {
	for i, w := range want {
		if w == (stamp{}) {
			continue
		}
		expected := sim.Time(w.sec)*sim.Second + sim.Time(w.nsec)
		actual := sim.Time(got[i].sec)*sim.Second + sim.Time(got[i].nsec)
		if d := actual - expected; d > sim.Time(m.h.tolerance) || -d > sim.Time(m.h.tolerance) {
			return fmt.Errorf("time stamp %v, expected %v", actual, expected)
		}
	}
	return nil
}

// compareStatistics compares the attributes that the script names, in its order; times may differ by the tolerance.
func (m *machine) compareStatistics(want, got []statistic) error {
	for i, w := range want {
		if i >= len(got) || got[i].kind != w.kind {
			return fmt.Errorf("statistic %d is another, expected number %d", i+1, w.kind)
		}
		if w.any {
			continue
		}
		off := got[i].value - w.value
		slack := int64(0)
		if w.kind >= nlaBusy && w.kind <= nlaSndbufLimited && w.value != 0 {
			slack = int64(m.h.tolerance) / 1000
		}
		if off > slack || -off > slack {
			return fmt.Errorf("statistic %d is %d, expected %d", w.kind, got[i].value, w.value)
		}
	}
	return nil
}
