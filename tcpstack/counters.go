package tcpstack

import "slices"

// counter indexes the IP side's counters that are not drops.
type counter uint8

const (
	cARPConflicts counter = iota
	cARPRepliesReceived
	cARPRepliesSent
	cARPRequestsReceived
	cARPRequestsSent
	cARPEvicted
	cARPFailed
	cICMPErrorsLimited
	cICMPErrorsReceived
	cICMPErrorsSent
	cICMPEchoRepliesReceived
	cICMPEchoRepliesSent
	cICMPEchoRequestsReceived
	cICMPEchoRequestsSent
	cICMPRedirectsIgnored
	cICMPRedirectsSent
	cICMPRedirectsTaken
	cIPDelivered
	cIPForwarded
	cIPFragmentsCreated
	cIPFragmentsReceived
	cIPFragmented
	cIPReassembled
	cIPReceived
	cIPSent
	cUDPReceived
	cUDPSent
	cIP6Delivered
	cIP6Forwarded
	cIP6FragmentsCreated
	cIP6FragmentsReceived
	cIP6Fragmented
	cIP6Reassembled
	cIP6Received
	cIP6Sent
	cMLDQueriesReceived
	cMLDReportsReceived
	cMLDReportsSent
	cNDPAdvertsReceived
	cNDPAdvertsSent
	cNDPSolicitsReceived
	cNDPSolicitsSent
	cNDPRouterAdvertsReceived
	cNDPRouterAdvertsSent
	cNDPRouterSolicitsReceived
	cNDPRouterSolicitsSent
	cNDPRedirectsIgnored
	cNDPRedirectsSent
	cNDPRedirectsTaken
	cNDPDuplicates
	cNDPFailed
	numCounters
)

var counterNames = [numCounters]string{
	cARPConflicts:             "arp.conflicts",
	cARPRepliesReceived:       "arp.replies_received",
	cARPRepliesSent:           "arp.replies_sent",
	cARPRequestsReceived:      "arp.requests_received",
	cARPRequestsSent:          "arp.requests_sent",
	cARPEvicted:               "arp.evicted",
	cARPFailed:                "arp.failed",
	cICMPErrorsLimited:        "icmp.errors_rate_limited",
	cICMPErrorsReceived:       "icmp.errors_received",
	cICMPErrorsSent:           "icmp.errors_sent",
	cICMPEchoRepliesReceived:  "icmp.echo_replies_received",
	cICMPEchoRepliesSent:      "icmp.echo_replies_sent",
	cICMPEchoRequestsReceived: "icmp.echo_requests_received",
	cICMPEchoRequestsSent:     "icmp.echo_requests_sent",
	cICMPRedirectsIgnored:     "icmp.redirects_ignored",
	cICMPRedirectsSent:        "icmp.redirects_sent",
	cICMPRedirectsTaken:       "icmp.redirects_taken",
	cIPDelivered:              "ip.delivered",
	cIPForwarded:              "ip.forwarded",
	cIPFragmentsCreated:       "ip.fragments_created",
	cIPFragmentsReceived:      "ip.fragments_received",
	cIPFragmented:             "ip.fragmented",
	cIPReassembled:            "ip.reassembled",
	cIPReceived:               "ip.received",
	cIPSent:                   "ip.sent",
	cUDPReceived:              "udp.received",
	cUDPSent:                  "udp.sent",

	cIP6Delivered:              "ip6.delivered",
	cIP6Forwarded:              "ip6.forwarded",
	cIP6FragmentsCreated:       "ip6.fragments_created",
	cIP6FragmentsReceived:      "ip6.fragments_received",
	cIP6Fragmented:             "ip6.fragmented",
	cIP6Reassembled:            "ip6.reassembled",
	cIP6Received:               "ip6.received",
	cIP6Sent:                   "ip6.sent",
	cMLDQueriesReceived:        "mld.queries_received",
	cMLDReportsReceived:        "mld.reports_received",
	cMLDReportsSent:            "mld.reports_sent",
	cNDPAdvertsReceived:        "ndp.adverts_received",
	cNDPAdvertsSent:            "ndp.adverts_sent",
	cNDPSolicitsReceived:       "ndp.solicits_received",
	cNDPSolicitsSent:           "ndp.solicits_sent",
	cNDPRouterAdvertsReceived:  "ndp.router_adverts_received",
	cNDPRouterAdvertsSent:      "ndp.router_adverts_sent",
	cNDPRouterSolicitsReceived: "ndp.router_solicits_received",
	cNDPRouterSolicitsSent:     "ndp.router_solicits_sent",
	cNDPRedirectsIgnored:       "ndp.redirects_ignored",
	cNDPRedirectsSent:          "ndp.redirects_sent",
	cNDPRedirectsTaken:         "ndp.redirects_taken",
	cNDPDuplicates:             "ndp.duplicates",
	cNDPFailed:                 "ndp.failed",
}

// dropReason says why the IP side let a packet go. Its number stands in trace records.
type dropReason uint8

const (
	dropEthernetHeader dropReason = iota
	dropOtherMAC
	dropEtherType
	dropARP
	dropTruncated
	dropVersion
	dropHeaderLength
	dropTotalLength
	dropChecksum
	dropTTL
	dropSource
	dropDestination
	dropNotForwarding
	dropNoRoute
	dropTooBig
	dropHostUnreachable
	dropNeighbourQueue
	dropNeighbourTable
	dropFragment
	dropFragmentOverlap
	dropFragmentDuplicate
	dropReassemblyMemory
	dropReassemblyTimeout
	dropProtocol
	dropTransportHeader
	dropTransportChecksum
	dropNoSocket
	dropLoopbackQueue
	dropExtensionHeader
	dropNDP
	dropSourceRoute
	numDropReasons
)

var dropNames = [numDropReasons]string{
	dropEthernetHeader:    "ethernet_header",
	dropOtherMAC:          "other_mac",
	dropEtherType:         "ethertype",
	dropARP:               "arp",
	dropTruncated:         "truncated",
	dropVersion:           "version",
	dropHeaderLength:      "header_length",
	dropTotalLength:       "total_length",
	dropChecksum:          "checksum",
	dropTTL:               "ttl",
	dropSource:            "source",
	dropDestination:       "destination",
	dropNotForwarding:     "not_forwarding",
	dropNoRoute:           "no_route",
	dropTooBig:            "too_big",
	dropHostUnreachable:   "host_unreachable",
	dropNeighbourQueue:    "neighbour_queue",
	dropNeighbourTable:    "neighbour_table",
	dropFragment:          "fragment",
	dropFragmentOverlap:   "fragment_overlap",
	dropFragmentDuplicate: "fragment_duplicate",
	dropReassemblyMemory:  "reassembly_memory",
	dropReassemblyTimeout: "reassembly_timeout",
	dropProtocol:          "protocol",
	dropTransportHeader:   "transport_header",
	dropTransportChecksum: "transport_checksum",
	dropNoSocket:          "no_socket",
	dropLoopbackQueue:     "loopback_queue",
	dropExtensionHeader:   "extension_header",
	dropNDP:               "ndp",
	dropSourceRoute:       "source_route",
}

func (d dropReason) String() string {
	if d < numDropReasons {
		return dropNames[d]
	}
	return "unknown"
}

// Counter is one of the stack's counters, as "ip.received".
type Counter struct {
	Name  string
	Value uint64
}

// Counters lists the counters, sorted by name: arp.*, icmp.*, ip.*, ip6.*, mld.*, ndp.*, tcp.*, udp.*.
func (s *Stack) Counters() []Counter {
	out := make([]Counter, 0, int(numCounters)+int(numDropReasons)+32)
	for i, n := range counterNames {
		out = append(out, Counter{n, s.count[i]})
	}
	for i, n := range dropNames {
		out = append(out, Counter{"ip.dropped." + n, s.drops[i]})
	}
	out = s.tcpCounters(out)
	slices.SortFunc(out, func(a, b Counter) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return out
}
