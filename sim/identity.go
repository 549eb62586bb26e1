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
	id.Events++
	r := rec.Slot()
	*r = Record{}
	r.T, r.Node, r.ESeq, r.Kind = now, uint32(id.Src.ID), uint32(id.Events), kind
	return r
}
