package packetdrill

import "labd.dev/tcpstack/congestion"

// knownCongestion says whether the stack has a congestion control.
func knownCongestion(name string) bool {
	_, ok := congestion.Find(name)
	return ok && name != ""
}

// ccInfo is what TCP_CC_INFO tells of the algorithm in use, with the names that the original gives the values.
func (s *socket) ccInfo() []symbol { return nil }

// ccInfoBytes is TCP_CC_INFO: nothing, of algorithms that tell nothing.
func (s *socket) ccInfoBytes() []byte { return nil }
