package sim

// Identity is what of a node survives its reboots: its origin and the counters that name its events, packets and
// connections. The node's stack and the link directions that leave it share it; all of them live in one loop.
type Identity struct {
	Src     Source // Src.ID is the node's id
	Name    string
	Packets uint64 // packets originated
	Conns   uint64 // connections opened
	Events  uint64 // trace records made
	Boots   uint64 // 1 after the first boot
}

// NextPacket names the next packet that the node originates.
func (id *Identity) NextPacket() PacketID {
	id.Packets++
	return MakePacketID(uint32(id.Src.ID), id.Packets)
}

// NextConn names the next connection that the node opens.
func (id *Identity) NextConn() ConnID {
	id.Conns++
	return MakeConnID(uint32(id.Src.ID), id.Conns)
}

// Record starts a record of the node at time now, or returns nil where nothing is recorded.
func (id *Identity) Record(rec *Recorder, now Time, kind Kind) *Record {
	if rec == nil {
		return nil
	}
	r := id.Claim(rec)
	node, eseq := r.Node, r.ESeq
	*r = Record{}
	r.T, r.Node, r.ESeq, r.Kind = now, node, eseq, kind
	return r
}

// Claim starts a record of the node as Record does, with its node and number alone: in all other words stands what an older
// record has left there, and the caller writes each of them. It is for what is recorded of each packet.
func (id *Identity) Claim(rec *Recorder) *Record {
	id.Events++
	n := rec.n
	if n == len(rec.buf) {
		n = rec.flushed()
	}
	rec.n = n + 1
	r := &rec.buf[n]
	r.Node, r.ESeq = uint32(id.Src.ID), uint32(id.Events)
	return r
}
