package app

import (
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// TCPConfig translates the settings of a node or of a connection; absent ones stay open.
func TCPConfig(s *labv1.TcpSettings) tcpstack.TCPConfig {
	if s == nil {
		return tcpstack.TCPConfig{}
	}
	return tcpstack.TCPConfig{
		Congestion:         s.GetCongestion(),
		SACK:               s.Sack,
		Timestamps:         s.Timestamps,
		WindowScaling:      s.WindowScaling,
		ISN:                s.Isn,
		DelayedACK:         simTime(s.DelayedAckNs),
		Nagle:              s.Nagle,
		MSS:                s.GetMss(),
		SendBuffer:         s.GetSendBufferBytes(),
		RecvBuffer:         s.GetRecvBufferBytes(),
		InitialWindow:      s.GetInitialWindowSegments(),
		MinRTO:             sim.Time(s.GetMinRtoNs()),
		InitialRTO:         sim.Time(s.GetInitialRtoNs()),
		TimeWait:           simTime(s.TimeWaitNs),
		SYNRetries:         s.SynRetries,
		DataRetries:        s.DataRetries,
		FastRetransmit:     s.FastRetransmit,
		Backlog:            s.GetBacklog(),
		QuickACK:           s.QuickAck,
		DSACK:              s.Dsack,
		RACK:               s.Rack,
		RACKAdapt:          s.RackAdapt,
		TLP:                s.Tlp,
		PRR:                s.Prr,
		FRTO:               s.Frto,
		Eifel:              s.Eifel,
		DSACKUndo:          s.DsackUndo,
		LimitedTransmit:    s.LimitedTransmit,
		Reordering:         s.Reordering,
		MaxReordering:      s.MaxReordering,
		MaxRTO:             simTime(s.MaxRtoNs),
		HyStart:            s.GetHystart(),
		SlowStartAfterIdle: s.SlowStartAfterIdle,
		CwndValidation:     s.CwndValidation,
		ABC:                s.Abc,
		Pacing:             s.Pacing,
		PacingSSRatio:      s.PacingSsRatio,
		PacingCARatio:      s.PacingCaRatio,
		MaxPacingRate:      bytesPerSecond(s.MaxPacingRateBps),
		ECN:                s.GetEcn(),
		ECNFallback:        s.EcnFallback,
		ABE:                s.Abe,
		FastOpen:           s.GetFastOpen(),
		FastOpenNoCookie:   s.FastOpenNoCookie,
		FastOpenKey:        s.GetFastOpenKey(),
		FastOpenBacklog:    s.FastOpenBacklog,
		SYNCookies:         s.GetSynCookies(),
		SYNACKRetries:      s.SynAckRetries,
		SYNLinearTimeouts:  s.SynLinearTimeouts,
		AbortOnOverflow:    s.AbortOnOverflow,
		PortRandomization:  s.PortRandomization,
		ISNGenerator:       s.GetIsnGenerator(),
		ChallengeACKs:      s.ChallengeAcks,
		ChallengeACKLimit:  s.ChallengeAckLimit,
		InvalidRatelimit:   simTime(s.InvalidRatelimitNs),
		ICMPHardening:      s.IcmpHardening,
		DeferAccept:        simTime(s.DeferAcceptNs),
		KeepAlive:          s.KeepAlive,
		KeepAliveTime:      simTime(s.KeepAliveTimeNs),
		KeepAliveInterval:  simTime(s.KeepAliveIntervalNs),
		KeepAliveProbes:    s.KeepAliveProbes,
		UserTimeout:        simTime(s.UserTimeoutNs),
		UserTimeoutOption:  s.UserTimeoutOption,
		StdUrg:             s.StdUrg,
		Minshall:           s.Minshall,
		Cork:               s.Cork,
		SendAutotuning:     s.SendAutotuning,
		RecvAutotuning:     s.RecvAutotuning,
		MaxSendBuffer:      s.MaxSendBufferBytes,
		MaxRecvBuffer:      s.MaxRecvBufferBytes,
		MemoryLimit:        s.MemoryLimitBytes,
		NotsentLowat:       s.NotsentLowatBytes,
		WindowClamp:        s.WindowClampBytes,
		FINTimeout:         simTime(s.FinTimeoutNs),
		OrphanRetries:      s.OrphanRetries,
		RFC1337:            s.Rfc1337,
		TimeWaitReuse:      s.GetTimeWaitReuse(),
		SourceRoute:        s.GetSourceRoute(),
		TOS:                s.Tos,
		TTL:                s.Ttl,
		PingPong:           s.PingPong,
		ThinLinear:         s.ThinLinear,
		MetricsSave:        s.MetricsSave,
		SSThreshMetrics:    s.SsthreshMetrics,
		RecvLowat:          s.RecvLowatBytes,
		ShrinkWindow:       s.ShrinkWindow,
		SignedWindows:      s.SignedWindows,
		ReflectTOS:         s.ReflectTos,
		SYNBacklog:         s.SynBacklog,
		RACKDupThresh:      s.RackDupThresh,
		MinRTTWindow:       simTime(s.MinRttWindowNs),
		SYNCount:           s.SynCount,
		OpenTimeout:        simTime(s.OpenTimeoutNs),
		PersistMin:         simTime(s.PersistMinNs),
		PersistMax:         simTime(s.PersistMaxNs),
		InvalidBurst:       s.InvalidBurst,
		CompressedShare:    s.CompressedShare,
		ReusePort:          s.ReusePort,
		MD5Key:             s.GetMd5Key(),
		PMTUDiscovery:      s.PmtuDiscovery,
		MTUProbing:         s.GetMtuProbing(),
		BaseMSS:            s.BaseMss,
		MTUProbeFloor:      s.MtuProbeFloor,
		MinPMTU:            s.MinPmtu,
		BlackholeRetries:   s.BlackholeRetries,
		Personality:        s.GetPersonality(),
		FastOpenBlackhole:  simTime(s.FastOpenBlackholeNs),
		StartSendBuffer:    s.StartSendBufferBytes,
		StartRecvBuffer:    s.StartRecvBufferBytes,
		CompressedACKs:     s.CompressedAcks,
		CompressedDelay:    simTime(s.CompressedDelayNs),
	}
}

// bytesPerSecond turns a lab file's bits into what the stack and SO_MAX_PACING_RATE count.
func bytesPerSecond(bits *uint64) *uint64 {
	if bits == nil {
		return nil
	}
	n := max(*bits/8, 1)
	return &n
}

func simTime(ns *int64) *sim.Time {
	if ns == nil {
		return nil
	}
	t := sim.Time(*ns)
	return &t
}

// connConfig is the configuration of a connection that an input opens.
func connConfig(s *labv1.TcpSettings, index uint32) tcpstack.TCPConfig {
	c := TCPConfig(s)
	c.Tag = index
	return c
}
