package tcpstack

import (
	"fmt"
	"slices"

	"labd.dev/sim"
)

// HyStartMode is the value of the switch hystart.
type HyStartMode uint8

const (
	HyStartLinux HyStartMode = iota
	HyStartRFC9406
	HyStartOff
)

var hystartWords = [...]string{"linux", "rfc9406", "off"}

// ECNMode is the value of the switch ecn.
type ECNMode uint8

const (
	ECNOff ECNMode = iota
	ECNOn
	ECNPassive
)

var ecnWords = [...]string{"off", "on", "passive"}

// FastOpenMode is the value of the switch fastOpen.
type FastOpenMode uint8

const (
	FastOpenOff FastOpenMode = iota
	FastOpenClient
	FastOpenServer
	FastOpenBoth
)

var fastOpenWords = [...]string{"off", "client", "server", "both"}

// SYNCookiesMode is the value of the switch synCookies.
type SYNCookiesMode uint8

const (
	SYNCookiesOff SYNCookiesMode = iota
	SYNCookiesOn
	SYNCookiesAlways
)

var synCookiesWords = [...]string{"off", "on", "always"}

// ISNGeneratorMode is the value of the switch isnGenerator.
type ISNGeneratorMode uint8

const (
	ISNRFC6528 ISNGeneratorMode = iota
	ISNRFC793
)

var isnGeneratorWords = [...]string{"rfc6528", "rfc793"}

// TimeWaitReuseMode is the value of the switch timeWaitReuse.
type TimeWaitReuseMode uint8

const (
	TimeWaitReuseOff TimeWaitReuseMode = iota
	TimeWaitReuseOn
	TimeWaitReuseLoopback
)

var timeWaitReuseWords = [...]string{"off", "on", "loopback"}

// MTUProbingMode is the value of the switch mtuProbing.
type MTUProbingMode uint8

const (
	MTUProbingOff MTUProbingMode = iota
	MTUProbingBlackhole
	MTUProbingAlways
)

var mtuProbingWords = [...]string{"off", "blackhole", "always"}

// Personality is the value of the switch personality.
type Personality uint8

const (
	PersonalityLinux Personality = iota
	PersonalityFreeBSD
)

var personalityWords = [...]string{"linux", "freebsd"}

// resolver notes the first setting that is out of its bounds.
type resolver struct{ err error }

func (r *resolver) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("tcpstack: "+format, a...)
	}
}

func (r *resolver) byte(key string, p *uint32, otherwise uint8) uint8 {
	n := or(p, uint32(otherwise))
	if n > maxRetry {
		r.fail("%s is %d, above %d", key, n, maxRetry)
	}
	return uint8(n)
}

func (r *resolver) timer(key string, p *sim.Time, otherwise sim.Time) sim.Time {
	t := or(p, otherwise)
	if t < 0 || t > maxTimer {
		r.fail("%s is %v, not within 0 and %v", key, t, maxTimer)
	}
	return t
}

func (r *resolver) size(key string, p *uint64, otherwise uint32) uint32 {
	n := or(p, uint64(otherwise))
	if n > maxBuffer {
		r.fail("%s is %d bytes, above %d", key, n, maxBuffer)
	}
	return uint32(n)
}

// word finds a mode by its name; the empty name means otherwise.
func word[T ~uint8](r *resolver, key, name string, otherwise T, words []string) T {
	if name == "" {
		return otherwise
	}
	i := slices.Index(words, name)
	if i < 0 {
		r.fail("%s is %q, none of %q", key, name, words)
		return otherwise
	}
	return T(i)
}

// resolveSwitches fills in the settings of the single mechanisms.
func (c TCPConfig) resolveSwitches(s *settings) error {
	r := new(resolver)
	s.dsack = or(c.DSACK, true)
	s.rack = or(c.RACK, true)
	s.rackAdapt = or(c.RACKAdapt, true)
	s.tlp = or(c.TLP, true)
	s.prr = or(c.PRR, true)
	s.frto = or(c.FRTO, true)
	s.eifel = or(c.Eifel, true)
	s.dsackUndo = or(c.DSACKUndo, true)
	s.limitedTransmit = or(c.LimitedTransmit, true)
	s.reordering = or(c.Reordering, 3)
	s.maxReordering = or(c.MaxReordering, 300)
	if s.maxRTO = r.timer("maxRto", c.MaxRTO, 120*sim.Second); s.maxRTO < leastRTO {
		r.fail("maxRto is %v, below %v", s.maxRTO, leastRTO)
	}
	s.hystart = word(r, "hystart", c.HyStart, HyStartLinux, hystartWords[:])
	s.slowStartAfterIdle = or(c.SlowStartAfterIdle, true)
	s.cwndValidation = or(c.CwndValidation, true)
	s.abc = or(c.ABC, true)
	s.pacing = or(c.Pacing, false)
	s.pacingSSRatio = or(c.PacingSSRatio, 200)
	s.pacingCARatio = or(c.PacingCARatio, 120)
	s.maxPacingRate = or(c.MaxPacingRate, 0)
	s.ecn = word(r, "ecn", c.ECN, ECNPassive, ecnWords[:])
	s.ecnFallback = or(c.ECNFallback, true)
	s.abe = or(c.ABE, false)
	s.fastOpen = word(r, "fastOpen", c.FastOpen, FastOpenClient, fastOpenWords[:])
	s.fastOpenNoCookie = or(c.FastOpenNoCookie, false)
	s.fastOpenKeys = r.fastOpenKeys(c.FastOpenKey)
	s.fastOpenBacklog = or(c.FastOpenBacklog, uint32(s.backlog))
	s.synCookies = word(r, "synCookies", c.SYNCookies, SYNCookiesOn, synCookiesWords[:])
	s.synAckRetries = r.byte("synAckRetries", c.SYNACKRetries, 5)
	s.synLinear = r.byte("synLinearTimeouts", c.SYNLinearTimeouts, 4)
	s.abortOnOverflow = or(c.AbortOnOverflow, false)
	s.portRandomization = or(c.PortRandomization, true)
	s.isnGenerator = word(r, "isnGenerator", c.ISNGenerator, ISNRFC6528, isnGeneratorWords[:])
	s.challengeACKs = or(c.ChallengeACKs, true)
	s.challengeACKLimit = or(c.ChallengeACKLimit, 0)
	s.invalidRatelimit = r.timer("invalidRatelimit", c.InvalidRatelimit, 500*sim.Millisecond)
	s.icmpHardening = or(c.ICMPHardening, true)
	s.deferAccept = r.timer("deferAccept", c.DeferAccept, 0)
	s.keepAlive = or(c.KeepAlive, false)
	s.keepAliveTime = r.timer("keepAliveTime", c.KeepAliveTime, 7200*sim.Second)
	s.keepAliveInterval = r.timer("keepAliveInterval", c.KeepAliveInterval, 75*sim.Second)
	s.keepAliveProbes = r.byte("keepAliveProbes", c.KeepAliveProbes, 9)
	s.userTimeout = r.timer("userTimeout", c.UserTimeout, 0)
	s.userTimeoutOption = or(c.UserTimeoutOption, false)
	s.stdUrg = or(c.StdUrg, false)
	s.minshall = or(c.Minshall, true)
	s.cork = or(c.Cork, false)
	s.sendAutotuning = or(c.SendAutotuning, true)
	s.recvAutotuning = or(c.RecvAutotuning, true)
	s.maxSendBuffer = r.size("maxSendBuffer", c.MaxSendBuffer, 4<<20)
	s.maxRecvBuffer = r.size("maxRecvBuffer", c.MaxRecvBuffer, 6<<20)
	s.compressedACKs = r.byte("compressedACKs", c.CompressedACKs, maxCompressed)
	s.compressedDelay = r.timer("compressedDelay", c.CompressedDelay, compressDelay)
	s.fastOpenBlackhole = r.timer("fastOpenBlackhole", c.FastOpenBlackhole, 0)
	s.startSendBuffer = r.size("startSendBuffer", c.StartSendBuffer, sendBufDefault)
	s.startRecvBuffer = r.size("startRecvBuffer", c.StartRecvBuffer, recvBufDefault)
	s.memoryLimit = r.size("memoryLimit", c.MemoryLimit, 0)
	s.notsentLowat = r.size("notsentLowat", c.NotsentLowat, 0)
	s.windowClamp = r.size("windowClamp", c.WindowClamp, 0)
	s.finTimeout = r.timer("finTimeout", c.FINTimeout, 60*sim.Second)
	s.orphanRetries = r.byte("orphanRetries", c.OrphanRetries, 8)
	s.rfc1337 = or(c.RFC1337, false)
	s.timeWaitReuse = word(r, "timeWaitReuse", c.TimeWaitReuse, TimeWaitReuseLoopback, timeWaitReuseWords[:])
	s.sourceRoute = r.sourceRoute(c.SourceRoute)
	s.tos = r.byte("tos", c.TOS, 0)
	s.ttl = r.byte("ttl", c.TTL, 0)
	s.burstShare = r.byte("burstShare", c.BurstShare, 0)
	s.pingPong = max(r.byte("pingPong", c.PingPong, pingPongFrom), 1)
	s.thinLinear = or(c.ThinLinear, false)
	s.reusePort = or(c.ReusePort, false)
	if s.md5Key = c.MD5Key; s.md5Key != "" {
		s.timestamps, s.fastOpen = false, FastOpenOff // there is no room for them
	}
	if len(s.md5Key) > maxMD5Key {
		r.fail("md5Key has %d bytes, above %d", len(s.md5Key), maxMD5Key)
	}
	s.openTimeout = r.timer("openTimeout", c.OpenTimeout, 0)
	s.persistMin = r.timer("persistMin", c.PersistMin, 0)
	if s.persistMax = min(r.timer("persistMax", c.PersistMax, s.maxRTO), s.maxRTO); s.persistMax < leastRTO {
		r.fail("persistMax is %v, below %v", s.persistMax, leastRTO)
	}
	s.invalidBurst = max(r.byte("invalidBurst", c.InvalidBurst, 1), 1)
	s.compressedShare = r.byte("compressedShare", c.CompressedShare, 5)
	if s.synCount = c.SYNCount != nil; s.synCount {
		s.synRetries = r.byte("synCount", c.SYNCount, 0)
		s.synAckRetries = s.synRetries
	}
	s.recvLowat = max(r.size("recvLowat", c.RecvLowat, 1), 1)
	s.shrinkWindow = or(c.ShrinkWindow, false)
	s.signedWindows = or(c.SignedWindows, false)
	s.reflectTOS = or(c.ReflectTOS, false)
	s.synBacklog = or(c.SYNBacklog, defaultSYNBacklog)
	s.rackDupThresh = or(c.RACKDupThresh, true)
	s.minRTTWindow = r.timer("minRttWindow", c.MinRTTWindow, 300*sim.Second)
	s.metricsSave = or(c.MetricsSave, true)
	s.ssthreshMetrics = or(c.SSThreshMetrics, false)
	s.pmtuDiscovery = or(c.PMTUDiscovery, true)
	s.mtuProbing = word(r, "mtuProbing", c.MTUProbing, MTUProbingOff, mtuProbingWords[:])
	s.baseMSS = or(c.BaseMSS, 1024)
	s.mtuProbeFloor = or(c.MTUProbeFloor, 48)
	s.minPMTU = or(c.MinPMTU, 552)
	s.blackholeRetries = r.byte("blackholeRetries", c.BlackholeRetries, 3)
	s.personality = word(r, "personality", c.Personality, PersonalityLinux, personalityWords[:])
	return r.err
}

// mergeSwitches is Merge's part for the single mechanisms.
func (c *TCPConfig) mergeSwitches(outer *TCPConfig) {
	inherit(&c.DSACK, outer.DSACK)
	inherit(&c.RACK, outer.RACK)
	inherit(&c.RACKAdapt, outer.RACKAdapt)
	inherit(&c.TLP, outer.TLP)
	inherit(&c.PRR, outer.PRR)
	inherit(&c.FRTO, outer.FRTO)
	inherit(&c.Eifel, outer.Eifel)
	inherit(&c.DSACKUndo, outer.DSACKUndo)
	inherit(&c.LimitedTransmit, outer.LimitedTransmit)
	inherit(&c.Reordering, outer.Reordering)
	inherit(&c.MaxReordering, outer.MaxReordering)
	inherit(&c.MaxRTO, outer.MaxRTO)
	inherit(&c.HyStart, outer.HyStart)
	inherit(&c.SlowStartAfterIdle, outer.SlowStartAfterIdle)
	inherit(&c.CwndValidation, outer.CwndValidation)
	inherit(&c.ABC, outer.ABC)
	inherit(&c.Pacing, outer.Pacing)
	inherit(&c.PacingSSRatio, outer.PacingSSRatio)
	inherit(&c.PacingCARatio, outer.PacingCARatio)
	inherit(&c.MaxPacingRate, outer.MaxPacingRate)
	inherit(&c.ECN, outer.ECN)
	inherit(&c.ECNFallback, outer.ECNFallback)
	inherit(&c.ABE, outer.ABE)
	inherit(&c.FastOpen, outer.FastOpen)
	inherit(&c.FastOpenNoCookie, outer.FastOpenNoCookie)
	inherit(&c.FastOpenKey, outer.FastOpenKey)
	inherit(&c.FastOpenBacklog, outer.FastOpenBacklog)
	inherit(&c.SYNCookies, outer.SYNCookies)
	inherit(&c.SYNACKRetries, outer.SYNACKRetries)
	inherit(&c.SYNLinearTimeouts, outer.SYNLinearTimeouts)
	inherit(&c.AbortOnOverflow, outer.AbortOnOverflow)
	inherit(&c.PortRandomization, outer.PortRandomization)
	inherit(&c.ISNGenerator, outer.ISNGenerator)
	inherit(&c.ChallengeACKs, outer.ChallengeACKs)
	inherit(&c.ChallengeACKLimit, outer.ChallengeACKLimit)
	inherit(&c.InvalidRatelimit, outer.InvalidRatelimit)
	inherit(&c.ICMPHardening, outer.ICMPHardening)
	inherit(&c.DeferAccept, outer.DeferAccept)
	inherit(&c.KeepAlive, outer.KeepAlive)
	inherit(&c.KeepAliveTime, outer.KeepAliveTime)
	inherit(&c.KeepAliveInterval, outer.KeepAliveInterval)
	inherit(&c.KeepAliveProbes, outer.KeepAliveProbes)
	inherit(&c.UserTimeout, outer.UserTimeout)
	inherit(&c.UserTimeoutOption, outer.UserTimeoutOption)
	inherit(&c.StdUrg, outer.StdUrg)
	inherit(&c.Minshall, outer.Minshall)
	inherit(&c.Cork, outer.Cork)
	inherit(&c.SendAutotuning, outer.SendAutotuning)
	inherit(&c.RecvAutotuning, outer.RecvAutotuning)
	inherit(&c.MaxSendBuffer, outer.MaxSendBuffer)
	inherit(&c.MaxRecvBuffer, outer.MaxRecvBuffer)
	inherit(&c.CompressedACKs, outer.CompressedACKs)
	inherit(&c.CompressedDelay, outer.CompressedDelay)
	inherit(&c.FastOpenBlackhole, outer.FastOpenBlackhole)
	inherit(&c.StartSendBuffer, outer.StartSendBuffer)
	inherit(&c.StartRecvBuffer, outer.StartRecvBuffer)
	inherit(&c.MemoryLimit, outer.MemoryLimit)
	inherit(&c.NotsentLowat, outer.NotsentLowat)
	inherit(&c.WindowClamp, outer.WindowClamp)
	inherit(&c.FINTimeout, outer.FINTimeout)
	inherit(&c.OrphanRetries, outer.OrphanRetries)
	inherit(&c.RFC1337, outer.RFC1337)
	inherit(&c.TimeWaitReuse, outer.TimeWaitReuse)
	inherit(&c.SourceRoute, outer.SourceRoute)
	inherit(&c.TOS, outer.TOS)
	inherit(&c.TTL, outer.TTL)
	inherit(&c.BurstShare, outer.BurstShare)
	inherit(&c.PingPong, outer.PingPong)
	inherit(&c.ThinLinear, outer.ThinLinear)
	inherit(&c.ReusePort, outer.ReusePort)
	inherit(&c.MD5Key, outer.MD5Key)
	inherit(&c.OpenTimeout, outer.OpenTimeout)
	inherit(&c.PersistMin, outer.PersistMin)
	inherit(&c.PersistMax, outer.PersistMax)
	inherit(&c.InvalidBurst, outer.InvalidBurst)
	inherit(&c.CompressedShare, outer.CompressedShare)
	inherit(&c.SYNCount, outer.SYNCount)
	inherit(&c.RecvLowat, outer.RecvLowat)
	inherit(&c.ShrinkWindow, outer.ShrinkWindow)
	inherit(&c.SignedWindows, outer.SignedWindows)
	inherit(&c.ReflectTOS, outer.ReflectTOS)
	inherit(&c.SYNBacklog, outer.SYNBacklog)
	inherit(&c.RACKDupThresh, outer.RACKDupThresh)
	inherit(&c.MinRTTWindow, outer.MinRTTWindow)
	inherit(&c.MetricsSave, outer.MetricsSave)
	inherit(&c.SSThreshMetrics, outer.SSThreshMetrics)
	inherit(&c.PMTUDiscovery, outer.PMTUDiscovery)
	inherit(&c.MTUProbing, outer.MTUProbing)
	inherit(&c.BaseMSS, outer.BaseMSS)
	inherit(&c.MTUProbeFloor, outer.MTUProbeFloor)
	inherit(&c.MinPMTU, outer.MinPMTU)
	inherit(&c.BlackholeRetries, outer.BlackholeRetries)
	inherit(&c.Personality, outer.Personality)
}
