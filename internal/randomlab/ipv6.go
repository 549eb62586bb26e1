package randomlab

import (
	"math/rand/v2"

	labv1 "labd.dev/proto/lab/v1"
)

const (
	sixShare = 0.3  // of the labs use IPv6
	sixMTU   = 1280 // RFC 8200 5: on links that take less there is no IPv6
)

// six makes some labs use IPv6: for each of their inputs with a target by the dice, in all of them routers that advertise.
// It has dice of its own, so that what else a seed draws stays.
func (g *generator) six() {
	dice := rand.New(rand.NewPCG(g.lab.Seed, 0x69707636))
	if dice.Float64() >= sixShare {
		return
	}
	for _, n := range g.lab.Spec.Nodes {
		if n.Kind == labv1.NodeKind_NODE_KIND_ROUTER {
			n.Ip = &labv1.IpSettings{RouterAdvertisements: true, RaIntervalNs: 4000 * ms}
		}
	}
	for _, l := range g.lab.Spec.Links {
		for _, d := range []*labv1.DirectionSpec{l.Forward, l.Reverse} {
			d.MtuBytes = max(d.MtuBytes, sixMTU)
		}
	}
	for _, e := range g.lab.Journal {
		family := labv1.Family_FAMILY_UNSPECIFIED
		if dice.Float64() < 0.7 {
			family = labv1.Family_FAMILY_IPV6
		}
		switch k := e.Input.GetKind().(type) {
		case *labv1.Input_Transfer:
			k.Transfer.Family = family
		case *labv1.Input_HttpGet:
			k.HttpGet.Family = family
		case *labv1.Input_Udp:
			k.Udp.Family = family
		case *labv1.Input_Ping:
			k.Ping.Family = family
		case *labv1.Input_Traceroute:
			k.Traceroute.Family = family
		}
	}
}
