// Package trace keeps what a run recorded and makes it readable: the run directory, the raw records in events.bin, the
// captures, the canonical events that both expand into, the list of connections, their ladders, a packet's headers field
// by field.
//
// A lab's bytes are made here: same lab, seed and journal, same events.bin and captures, to the last byte. They hold
// lab time, ids of the lab and names of the lab only.
package trace
