package packetdrill

import (
	"encoding/binary"

	"labd.dev/tcpstack/congestion"
)

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

// ccInfoBytes is union tcp_cc_info of those algorithms whose members the stack keeps all of: struct tcp_bbr_info, and nothing
// of those that tell nothing.
func (s *socket) ccInfoBytes() optval {
	var b []byte
	switch s.config().Congestion {
	case "bbr":
		member := map[string]int64{}
		for _, f := range s.ccInfo() {
			member[f.Name] = f.Value
		}
		for _, name := range []string{"bbr_bw_lo", "bbr_bw_hi", "bbr_min_rtt", "bbr_pacing_gain", "bbr_cwnd_gain"} {
			b = binary.LittleEndian.AppendUint32(b, uint32(member[name]))
		}
	case "", "cubic", "reno":
	default:
		return failval(errnoSkip)
	}
	return bytesval(b)
}
