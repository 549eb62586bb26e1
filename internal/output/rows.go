package output

import (
	"encoding/csv"
	"io"
)

// WriteRows prints a list's rows as CSV without its header, for lists that are printed bit by bit.
func (f Format) WriteRows(w io.Writer, l *List) error { return csv.NewWriter(w).WriteAll(l.Rows) }
