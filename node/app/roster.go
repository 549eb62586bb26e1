package app

// seated is a connection's handler that knows its seat in its server's roster.
type seated interface{ seat() *int }

// roster is the connections a server has, so that it can stop them all.
type roster[T seated] struct{ all []T }

func (r *roster[T]) add(c T) {
	*c.seat() = len(r.all)
	r.all = append(r.all, c)
}

// forget takes a connection that has ended off the list; the last one takes its seat.
func (r *roster[T]) forget(c T) {
	i, last := *c.seat(), len(r.all)-1
	if i > last || r.all[i].seat() != c.seat() {
		return // the roster has been emptied
	}
	r.all[i] = r.all[last]
	*r.all[i].seat() = i
	clear(r.all[last:])
	r.all = r.all[:last]
}
