package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/hashicorp/raft"

	"labd.dev/internal/port"
	"labd.dev/orchestrator"
	"labd.dev/orchestrator/raftnet"
)

// ClusterConfig says how a server is one of several.
type ClusterConfig struct {
	// Expect is how many servers found the cluster; 0: this one only joins.
	Expect int
	// Join is where other servers may be, host:port.
	Join []string
	// Advertise is where others reach this one; empty: where it listens.
	Advertise string
	// Timing may be left zero.
	Timing orchestrator.Timing
}

// clusterFile keeps which cluster a server or a worker belongs to, in its data directory.
const clusterFile = "cluster-id"

// checkListen refuses an address that other machines reach where there is no TLS: what passes over it would be neither
// encrypted nor authorised.
func (d *Daemon) checkListen() error {
	if d.conf.Listen == "" {
		if d.conf.Cluster != nil {
			return errors.New("a server of a cluster needs an address to listen at")
		}
		return nil
	}
	return CheckListen(d.conf.Listen, d.conf.Security)
}

// CheckListen refuses an address off loopback where there is no TLS.
func CheckListen(address string, security port.Security) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("listen address %q: %w", address, err)
	}
	if security != nil || onLoopback(address) {
		return nil
	}
	return fmt.Errorf("listen address %q is not on loopback (127.0.0.1, ::1 or localhost): without TLS labd only serves its own "+
		"machine; labctl tls init makes certificates, --tls.ca, --tls.cert and --tls.key name them", address)
}

// AdvertisedAt is the address at which others reach what listens at an address.
func AdvertisedAt(advertise string, listening net.Addr) (string, error) {
	if advertise == "" {
		advertise = listening.String()
	}
	host, _, err := net.SplitHostPort(advertise)
	if err != nil {
		return "", fmt.Errorf("advertised address %q: %w", advertise, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "", fmt.Errorf("nobody can reach this labd at %q: say where, with --advertise", advertise)
	}
	return advertise, nil
}

// cluster puts together how this server is one of several; nil: it is one of its own.
func (d *Daemon) cluster() (*orchestrator.Cluster, error) {
	conf := d.conf.Cluster
	if conf == nil {
		return nil, nil
	}
	advertise, err := AdvertisedAt(conf.Advertise, d.port.Addr())
	if err != nil {
		return nil, err
	}
	kept, err := os.ReadFile(d.data.path(clusterFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	belongs, err := orchestrator.ParseMembership(strings.TrimSpace(string(kept)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.data.path(clusterFile), err)
	}
	return &orchestrator.Cluster{
		Belongs: belongs, Keep: func(m orchestrator.Membership) error { return d.data.keep(clusterFile, m.String()) },
		Advertise: advertise, Expect: conf.Expect, Join: conf.Join, Timing: conf.Timing, Connect: d.links.to,
		Transport: func(me raftnet.Identity) raft.Transport {
			return raftnet.New(raftnet.Config{Identity: me, Listener: d.port.Listener(port.Raft), Advertise: advertise, Logger: d.log,
				RaftLog: orchestrator.RaftLogger(d.log),
				Dial: func(ctx context.Context, address string) (net.Conn, error) {
					return d.dialer.Dial(ctx, address, port.Raft)
				}})
		},
	}, nil
}
