package tcpstack

// maxOrphans bounds the connections of a stack that their applications have closed and their peers have not: they hold
// memory for nobody. A host of 16 GiB has as many (tcp_max_orphans, half of tcp_ehash_entries).
const maxOrphans = 262144

// orphans counts them.
type orphans struct {
	n, limit int
}

// abandon counts a connection that its application closes.
func (c *Conn) abandon() { c.stack.tcp.orphans.n++ }

// tooManyOrphans resets a connection that was just closed where there are too many (Linux: tcp_check_oom).
func (c *Conn) tooManyOrphans() bool {
	o := &c.stack.tcp.orphans
	if o.n <= o.limit || c.gone() {
		return false
	}
	c.stack.tcp.count.abortOnMemory++
	c.Abort()
	return true
}
