package labd

import "labd.dev/tcpstack"

// Quiet is a handler that does nothing, to be embedded by those that do something.
type Quiet struct{}

// Established does nothing.
func (Quiet) Established(*tcpstack.Conn) {}

// Readable does nothing.
func (Quiet) Readable(*tcpstack.Conn) {}

// Writable does nothing.
func (Quiet) Writable(*tcpstack.Conn) {}

// Drained does nothing.
func (Quiet) Drained(*tcpstack.Conn) {}

// Closed does nothing.
func (Quiet) Closed(*tcpstack.Conn, error) {}

// Reader reads all there is, copied out to Block, and counts it.
type Reader struct {
	Quiet
	Block []byte
	Read  *uint64
}

// Readable reads until nothing is there.
func (r *Reader) Readable(c *tcpstack.Conn) {
	for {
		n, err := c.Read(r.Block)
		*r.Read += uint64(n)
		if err != nil {
			return
		}
	}
}
