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
		Congestion:     s.GetCongestion(),
		SACK:           s.Sack,
		Timestamps:     s.Timestamps,
		WindowScaling:  s.WindowScaling,
		ISN:            s.Isn,
		DelayedACK:     simTime(s.DelayedAckNs),
		Nagle:          s.Nagle,
		MSS:            s.GetMss(),
		SendBuffer:     s.GetSendBufferBytes(),
		RecvBuffer:     s.GetRecvBufferBytes(),
		InitialWindow:  s.GetInitialWindowSegments(),
		MinRTO:         sim.Time(s.GetMinRtoNs()),
		InitialRTO:     sim.Time(s.GetInitialRtoNs()),
		TimeWait:       simTime(s.TimeWaitNs),
		SYNRetries:     s.SynRetries,
		DataRetries:    s.DataRetries,
		FastRetransmit: s.FastRetransmit,
		Backlog:        s.GetBacklog(),
		QuickACK:       s.QuickAck,
	}
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
