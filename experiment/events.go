package experiment

import "slices"

// eventNames are the events that a trace may hold.
var eventNames = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range sortedEventNames() {
		m[s] = true
	}
	return m
}()

func sortedEventNames() []string {
	names := []string{
		"tcp:connection_started", "tcp:state_updated", "tcp:segment_sent", "tcp:segment_received", "tcp:segment_dropped",
		"tcp:ack_processed", "tcp:segment_lost", "tcp:recovery_entered", "tcp:recovery_exited", "tcp:cc_state_updated",
		"tcp:metrics_updated", "tcp:timer_set", "tcp:timer_fired", "tcp:timer_cancelled", "tcp:reassembly_updated",
		"tcp:connection_closed", "tcp:conn_alias",
		"app:write", "app:read", "app:shutdown", "app:close",
		"link:enqueued", "link:dequeued", "link:delivered", "link:dropped", "link:duplicated", "link:reordered", "link:corrupted",
		"ip:dropped", "icmp:sent", "icmp:received", "udp:sent", "udp:received", "arp:neighbour_updated",
		"lab:input", "lab:fault_started", "lab:fault_ended", "lab:node_booted", "lab:node_crashed",
	}
	slices.Sort(names)
	return names
}
