package randomlab

import (
	"fmt"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// fastOpenShare of the labs open fast: data goes with SYNs, and answers with what follows the SYN,ACK at once (RFC 7413).
const fastOpenShare = 0.2

// fastOpenDice are apart, so that what else a seed draws stays.
func (g *generator) fastOpenDice() *generator {
	m := &generator{Rand: rand.New(rand.NewPCG(g.lab.Seed, 0x666f7065))}
	if g.lab.Seed%alikeEvery == 0 || !m.chance(fastOpenShare) {
		return nil
	}
	return m
}

// again repeats transfers of a lab that opens fast, some while later: the first fetches the cookie that the others use.
func (g *generator) again() {
	m := g.fastOpenDice()
	if m == nil || len(g.lab.specs()) > 1 { // nodes come and go
		return
	}
	for _, e := range g.lab.Journal {
		t := e.Input.GetTransfer()
		if t == nil || t.LocalPort != 0 || t.Protocol == labv1.Protocol_PROTOCOL_UDP {
			continue
		}
		at := e.TNs
		for i := range m.IntN(4) {
			if at += m.between(0, 1500) * ms; at > lastInput {
				break
			}
			next := proto.Clone(t).(*labv1.Transfer)
			next.Id = fmt.Sprintf("%s-%d", t.Id, i+2)
			next.Content = &labv1.Transfer_GeneratedBytes{GeneratedBytes: uint64(pick(m, 0, 1, 300, 1400, 5000, 50_000))}
			g.at(at, &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: next}})
		}
	}
}

// fastOpeners are the settings of the hosts of a lab that opens fast: most ends ask for cookies and give them, in some labs
// nobody needs one.
func (g *generator) fastOpeners() map[string]*labv1.TcpSettings {
	given := map[string]*labv1.TcpSettings{}
	if g.fastOpenDice() == nil {
		return given
	}
	m := &generator{Rand: rand.New(rand.NewPCG(g.lab.Seed, 0x666f7073))}
	free := m.chance(0.4)
	for _, n := range g.lab.Spec.Nodes {
		if n.Tcp == nil {
			continue
		}
		t := &labv1.TcpSettings{FastOpen: proto.String(pick(m, "both", "both", "both", "client", "server", "off"))}
		if free {
			t.FastOpenNoCookie = proto.Bool(true)
		}
		if m.chance(0.2) {
			t.FastOpenBacklog = proto.Uint32(uint32(m.between(0, 2)))
		}
		given[n.Name] = t
	}
	return given
}
