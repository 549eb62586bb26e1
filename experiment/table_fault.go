package experiment

import (
	"labd.dev/labfile"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

func faultOf(i *labv1.TimedInput) *labv1.Fault {
	if i.Input == nil {
		i.Input = &labv1.Input{Kind: &labv1.Input_Fault{Fault: &labv1.Fault{}}}
	}
	return i.Input.GetFault()
}

// bare is the table of an effect that has no settings.
func bare(name string) *schema.Object[labv1.Fault] { return &schema.Object[labv1.Fault]{Name: name} }

const inFault = "input.fault."

// onName keeps the word behind "on" until the effect tells whether it is a link or a node.
func onName(i *labv1.TimedInput, s string) { faultOf(i).Link = s }

// onNode moves the word behind "on": this effect is for nodes. The table decodes "on" before the effects.
func onNode(i *labv1.TimedInput) *labv1.Fault {
	f := faultOf(i)
	if f.Node == "" {
		f.Node, f.Link = f.Link, ""
	}
	return f
}

var fault = &schema.Object[labv1.TimedInput]{
	Name: "fault",
	Doc:  "Changes a link or a node for a while, or for good.",
	Keys: []schema.Key[labv1.TimedInput]{
		schema.Duration("at", "at_ns", "Lab time; absent: `0s`.", func(i *labv1.TimedInput, ns int64) { i.AtNs = ns }),
		schema.Text("id", inFault+"id", "Its name in the results; absent: `f1`, `f2`, ...", func(i *labv1.TimedInput, s string) { faultOf(i).Id = s }),
		schema.Duration("for", inFault+"duration_ns", "How long; absent: to the end.", func(i *labv1.TimedInput, ns int64) { faultOf(i).DurationNs = ns }),
		schema.Text("on", inFault+"link", "A link `r1--r2`, one direction of it `r1->r2`, or a node.", onName).Must(),
		schema.Nested("down", inFault+"down", "Link: what is sent is dropped.", bare("down"), func(i *labv1.TimedInput) *labv1.Fault {
			f := faultOf(i)
			f.Effect = &labv1.Fault_Down{Down: &labv1.Down{}}
			return f
		}),
		schema.Nested("loss", inFault+"loss", "Link: frames that never arrive.", labfile.Loss, func(i *labv1.TimedInput) *labv1.Loss {
			v := &labv1.Fault_Loss{Loss: &labv1.Loss{}}
			faultOf(i).Effect = v
			return v.Loss
		}),
		schema.Duration("delay", inFault+"delay_ns", "Link: one-way delay.", func(i *labv1.TimedInput, ns int64) { faultOf(i).Effect = &labv1.Fault_DelayNs{DelayNs: ns} }),
		schema.Nested("jitter", inFault+"jitter", "Link: variation of the delay.", labfile.Jitter, func(i *labv1.TimedInput) *labv1.Jitter {
			v := &labv1.Fault_Jitter{Jitter: &labv1.Jitter{}}
			faultOf(i).Effect = v
			return v.Jitter
		}),
		schema.Rate("rate", inFault+"rate_bps", "Link: rate.", func(i *labv1.TimedInput, n uint64) { faultOf(i).Effect = &labv1.Fault_RateBps{RateBps: n} }),
		schema.Nested("duplicate", inFault+"duplicate", "Link: frames that arrive twice.", labfile.Duplicate, func(i *labv1.TimedInput) *labv1.Duplicate {
			v := &labv1.Fault_Duplicate{Duplicate: &labv1.Duplicate{}}
			faultOf(i).Effect = v
			return v.Duplicate
		}),
		schema.Chance("corrupt", inFault+"corrupt", "Link: chance that one bit of a frame is flipped.", func(i *labv1.TimedInput, p float64) { faultOf(i).Effect = &labv1.Fault_Corrupt{Corrupt: p} }),
		schema.Size("mtu", inFault+"mtu_bytes", "Link: largest IP packet.", func(i *labv1.TimedInput, n uint64) {
			faultOf(i).Effect = &labv1.Fault_MtuBytes{MtuBytes: uint32(min(n, 1<<32-1))}
		}),
		schema.Nested("queue", inFault+"queue", "Link: the queue before the wire.", labfile.Queue, func(i *labv1.TimedInput) *labv1.Queue {
			v := &labv1.Fault_Queue{Queue: &labv1.Queue{}}
			faultOf(i).Effect = v
			return v.Queue
		}),
		schema.Nested("crash", inFault+"crash", "Node: state lost at once; with `for` it boots again when that is over.", bare("crash"), func(i *labv1.TimedInput) *labv1.Fault {
			f := onNode(i)
			f.Effect = &labv1.Fault_Crash{Crash: &labv1.Crash{}}
			return f
		}),
		schema.Nested("reboot", inFault+"reboot", "Node: crash and boot in one; a node that is down boots.", bare("reboot"), func(i *labv1.TimedInput) *labv1.Fault {
			f := onNode(i)
			f.Effect = &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}
			return f
		}),
	},
	Choices: [][]string{{"down"}, {"loss"}, {"delay"}, {"jitter"}, {"rate"}, {"duplicate"}, {"corrupt"}, {"mtu"}, {"queue"}, {"crash"}, {"reboot"}},

	MustChoose: true,
}
