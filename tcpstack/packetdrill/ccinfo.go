package packetdrill

import "labd.dev/tcpstack/congestion"

// knownCongestion says whether the stack has a congestion control.
func knownCongestion(name string) bool {
	_, ok := congestion.Find(name)
	return ok && name != ""
}

// ccInfo is what TCP_CC_INFO tells of the algorithm in use, with the names that the original gives the values. Of values
// that the stack does not keep the names are missing, so that code that uses them is a skip.
func (s *socket) ccInfo() []congestion.Figure {
	if s.conn == nil {
		return nil
	}
	return s.conn.Figures()
}
