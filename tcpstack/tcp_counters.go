package tcpstack

// tcpCounts are the stack's TCP counters, under the names of RFC 4022's and Linux's SNMP counters.
type tcpCounts struct {
	activeOpens, passiveOpens                      uint64
	inSegs, inErrs, inCsumErrors, outSegs, outRsts uint64
	retransSegs, listenDrops, abortOnTimeout       uint64
	delayedAcks, ofoPruned, memoryDrops            uint64
	pawsDrops, noSocket                            uint64
	listenOverflows, attemptFails, embryonicRsts   uint64
	deferAcceptDrops, skippedSynRecv, synRetrans   uint64
	dsackReceived, dsackIgnored, dsackSent         uint64
	sackInvalid, sackReneging                      uint64
	outOfWindowICMPs, challengeACKs, synChallenges uint64
	skippedChallenge, skippedPAWS, skippedSeq      uint64
	pawsActiveRejected                             uint64
	reqQFullDoCookies, reqQFullDrop                uint64
	synCookiesSent, synCookiesRecv                 uint64
	synCookiesFailed                               uint64
	ackUnsentData, tooOldAcks, beyondWindow        uint64
	windowShrunk, winProbes                        uint64
	abortOnMemory                                  uint64
	malformedOptions, noACKBit                     uint64
	md5Failure, md5NotFound, md5Unexpected         uint64

	timeouts, lossProbes, lossProbeRecoveries      uint64
	renoRecoveries, sackRecoveries                 uint64
	fastRetrans, slowStartRetrans                  uint64
	fullUndos, lossUndos, partialUndos, dsackUndos uint64
	spuriousRTOs, keepAlives                       uint64

	fastOpenActive, fastOpenActiveFail, fastOpenPassive          uint64
	fastOpenPassiveFail, fastOpenListenOverflow                  uint64
	fastOpenCookieReqd, fastOpenBlackhole, fastOpenPassiveAltKey uint64
}

// tcpCounters appends TCP's counters.
func (s *Stack) tcpCounters(c []Counter) []Counter {
	n := &s.tcp.count
	return append(c,
		Counter{"tcp.abort_on_memory", n.abortOnMemory},
		Counter{"tcp.abort_on_timeout", n.abortOnTimeout},
		Counter{"tcp.ack_of_unsent_data", n.ackUnsentData},
		Counter{"tcp.ack_skipped_challenge", n.skippedChallenge},
		Counter{"tcp.ack_skipped_paws", n.skippedPAWS},
		Counter{"tcp.ack_skipped_seq", n.skippedSeq},
		Counter{"tcp.ack_skipped_syn_recv", n.skippedSynRecv},
		Counter{"tcp.active_opens", n.activeOpens},
		Counter{"tcp.attempt_fails", n.attemptFails},
		Counter{"tcp.beyond_window", n.beyondWindow},
		Counter{"tcp.challenge_acks", n.challengeACKs},
		Counter{"tcp.defer_accept_drops", n.deferAcceptDrops},
		Counter{"tcp.delayed_acks", n.delayedAcks},
		Counter{"tcp.dsack_ignored", n.dsackIgnored},
		Counter{"tcp.dsack_received", n.dsackReceived},
		Counter{"tcp.dsack_sent", n.dsackSent},
		Counter{"tcp.dsack_undos", n.dsackUndos},
		Counter{"tcp.embryonic_rsts", n.embryonicRsts},
		Counter{"tcp.fast_open_active", n.fastOpenActive},
		Counter{"tcp.fast_open_active_fail", n.fastOpenActiveFail},
		Counter{"tcp.fast_open_blackhole", n.fastOpenBlackhole},
		Counter{"tcp.fast_open_cookie_reqd", n.fastOpenCookieReqd},
		Counter{"tcp.fast_open_listen_overflow", n.fastOpenListenOverflow},
		Counter{"tcp.fast_open_passive", n.fastOpenPassive},
		Counter{"tcp.fast_open_passive_alt_key", n.fastOpenPassiveAltKey},
		Counter{"tcp.fast_open_passive_fail", n.fastOpenPassiveFail},
		Counter{"tcp.fast_retrans", n.fastRetrans},
		Counter{"tcp.full_undos", n.fullUndos},
		Counter{"tcp.in_csum_errors", n.inCsumErrors},
		Counter{"tcp.in_errs", n.inErrs},
		Counter{"tcp.in_segs", n.inSegs},
		Counter{"tcp.keep_alives", n.keepAlives},
		Counter{"tcp.listen_drops", n.listenDrops},
		Counter{"tcp.listen_overflows", n.listenOverflows},
		Counter{"tcp.loss_probe_recoveries", n.lossProbeRecoveries},
		Counter{"tcp.loss_probes", n.lossProbes},
		Counter{"tcp.loss_undos", n.lossUndos},
		Counter{"tcp.malformed_options", n.malformedOptions},
		Counter{"tcp.md5_failure", n.md5Failure},
		Counter{"tcp.md5_not_found", n.md5NotFound},
		Counter{"tcp.md5_unexpected", n.md5Unexpected},
		Counter{"tcp.memory_drops", n.memoryDrops},
		Counter{"tcp.no_ack_bit", n.noACKBit},
		Counter{"tcp.no_socket", n.noSocket},
		Counter{"tcp.ofo_pruned", n.ofoPruned},
		Counter{"tcp.out_of_window_icmps", n.outOfWindowICMPs},
		Counter{"tcp.out_rsts", n.outRsts},
		Counter{"tcp.out_segs", n.outSegs},
		Counter{"tcp.partial_undos", n.partialUndos},
		Counter{"tcp.passive_opens", n.passiveOpens},
		Counter{"tcp.paws_active_rejected", n.pawsActiveRejected},
		Counter{"tcp.paws_drops", n.pawsDrops},
		Counter{"tcp.reno_recoveries", n.renoRecoveries},
		Counter{"tcp.req_q_full_do_cookies", n.reqQFullDoCookies},
		Counter{"tcp.req_q_full_drop", n.reqQFullDrop},
		Counter{"tcp.retrans_segs", n.retransSegs},
		Counter{"tcp.sack_invalid", n.sackInvalid},
		Counter{"tcp.sack_recoveries", n.sackRecoveries},
		Counter{"tcp.sack_reneging", n.sackReneging},
		Counter{"tcp.slow_start_retrans", n.slowStartRetrans},
		Counter{"tcp.spurious_rtos", n.spuriousRTOs},
		Counter{"tcp.syn_challenges", n.synChallenges},
		Counter{"tcp.syn_cookies_failed", n.synCookiesFailed},
		Counter{"tcp.syn_cookies_recv", n.synCookiesRecv},
		Counter{"tcp.syn_cookies_sent", n.synCookiesSent},
		Counter{"tcp.syn_retrans", n.synRetrans},
		Counter{"tcp.timeouts", n.timeouts},
		Counter{"tcp.too_old_acks", n.tooOldAcks},
		Counter{"tcp.win_probes", n.winProbes},
		Counter{"tcp.window_shrunk", n.windowShrunk},
	)
}
