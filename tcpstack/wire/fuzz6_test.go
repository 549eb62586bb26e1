package wire

import (
	"bytes"
	"testing"
)

func FuzzIPv6(f *testing.F) {
	f.Add(unhex("6b9abcde00000640fd000000000000000000000000000001fd000000000000000000000000000002"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseIPv6(b)
		if err != nil {
			return
		}
		out := make([]byte, IPv6Len)
		h.Put(out)
		if !bytes.Equal(out, b[:IPv6Len]) {
			t.Errorf("built %x of %x", out, b)
		}
	})
}

func FuzzIPv6Extensions(f *testing.F) {
	f.Add(extensions(ProtoHopByHop, 60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0))
	f.Add(extensions(ProtoRouting, 6, 0, 0, 1, 0, 0, 0, 0))
	f.Add(extensions(ProtoDestOptions, 6, 0, 0x9e, 4, 0, 0, 0, 0))
	f.Add(extensions(ProtoHopByHop, 44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = HopByHopIPv6(b)
		if _, at, ok := UpperIPv6(b); ok && at > len(b) {
			t.Errorf("the upper layer of %x begins at %d", b, at)
		}
		c, err := WalkIPv6(b)
		if err != nil {
			return
		}
		if c.At < IPv6Len || c.At > IPv6Len+MaxExtensionBytes || c.At > len(b) || Protocol(b[c.NextAt]) != c.Next {
			t.Errorf("%+v of %x", c, b)
		}
	})
}

func FuzzIPv6Fragment(f *testing.F) {
	f.Add(unhex("1100058100000009"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseIPv6Fragment(b)
		if err != nil {
			return
		}
		out := make([]byte, FragmentHeaderLen)
		h.Put(out)
		if back, _ := ParseIPv6Fragment(out); back != h {
			t.Errorf("%+v came back as %+v", h, back)
		}
	})
}

// The options that are there come back; those that are unknown or too many are left out.
func FuzzNDP(f *testing.F) {
	f.Add(unhex("8700000000000000fd0000000000000000000000000000010101020000000001"))
	f.Add(unhex("88000000e0000000fd0000000000000000000000000000010201020000000001"))
	f.Add(unhex("86000000400007080000000000000000" + "01010200000000010501000000000578" +
		"030440c000278d0000093a8000000000fd000000000000000000000000000000"))
	f.Add(unhex("85000000000000000101020000000001"))
	f.Add(unhex("8900000000000000fe800000000000000000000000000007fd000009000000000000000000000005" + "0201020000000007"))
	f.Add(unhex("8200000083e80000" + "ff0200000000000000000001ff000001" + "02000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := ParseNeighbor(b); err == nil {
			out := make([]byte, NeighborLen+n.Options.Len())
			n.Put(out)
			if back, err := ParseNeighbor(out); err != nil || back != n {
				t.Errorf("%+v came back as %+v, %v", n, back, err)
			}
		}
		if r, err := ParseRouterAdvert(b); err == nil {
			out := make([]byte, RouterAdvertLen+r.Options.Len())
			r.Put(out)
			if back, err := ParseRouterAdvert(out); err != nil || back != r {
				t.Errorf("%+v came back as %+v, %v", r, back, err)
			}
		}
		if r, err := ParseRedirect(b); err == nil {
			out := make([]byte, r.Len())
			r.Put(out)
			if back, err := ParseRedirect(out); err != nil || back.Target != r.Target || back.Destination != r.Destination || back.Options != r.Options {
				t.Errorf("%+v came back as %+v, %v", r, back, err)
			}
		}
		if q, err := ParseMLDQuery(b); err == nil && q.MaxDelayMs > 8387584 {
			t.Errorf("%+v: more than the longest delay", q)
		}
		if o, err := ParseRouterSolicit(b); err == nil {
			out := make([]byte, RouterSolicitLen+o.Len())
			PutRouterSolicit(out, &o)
			if back, err := ParseRouterSolicit(out); err != nil || back != o {
				t.Errorf("%+v came back as %+v, %v", o, back, err)
			}
		}
	})
}
