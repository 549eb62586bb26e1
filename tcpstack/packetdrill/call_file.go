package packetdrill

import "fmt"

// zeroFile is what open gives: a file of any name that holds zeros without end. Scripts send from it.
type zeroFile struct{ _ byte }

func (*zeroFile) ready() uint32      { return readableBits | writableBits }
func (*zeroFile) watch(*epollItem)   {}
func (*zeroFile) unwatch(*epollItem) {}

// openCall is open(name, flags).
func (m *machine) openCall(a *arguments) operation {
	if !a.count(2, 3) {
		return operation{}
	}
	if a.at(0).Kind != ExprString {
		a.fail(fmt.Errorf("argument 1 is no file name"))
	}
	a.int(1)
	op := done(0, 0)
	op.opened = m.install(new(zeroFile))
	return op
}

// sendfileCall is sendfile(out, in, [offset], n).
func (m *machine) sendfileCall(a *arguments) operation {
	s, errno := a.socket(0)
	in := a.file(1)
	a.boxed(2)
	n := a.int(3)
	if !a.count(4, 4) {
		return operation{}
	}
	if _, ok := in.(*zeroFile); errno == 0 && !ok {
		errno = EINVAL
		if in == nil {
			errno = EBADF
		}
	}
	return m.transmit(s, errno, &sending{want: n})
}
