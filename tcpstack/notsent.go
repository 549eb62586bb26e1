package tcpstack

// notsentFull says whether so much waits unsent that nothing more is taken: what the application still holds it may yet
// change its mind about (tcp_notsent_lowat, TCP_NOTSENT_LOWAT). It is told of room once half of that has left: wake is 1
// then (Linux: tcp_stream_memory_free).
func (c *Conn) notsentFull(wake int) bool {
	lowat := int(c.set.notsentLowat)
	return lowat != 0 && c.unsent()<<wake >= lowat
}
