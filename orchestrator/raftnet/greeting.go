package raftnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Identity is who a server is. Its methods may be called from any goroutine.
type Identity interface {
	// ServerID is this server's id.
	ServerID() string
	// ClusterID is the id of the cluster that it belongs to; empty: of none yet.
	ClusterID() string
}

const (
	// greetingTimeout bounds the exchange of greetings: a round trip.
	greetingTimeout = 5 * time.Second
	// maxGreeting bounds a line of it: three ids, or a sentence that names them.
	maxGreeting = 512
)

// Refused says why the other end did not take a connection, or why this one did not.
type Refused struct{ Reason string }

func (r *Refused) Error() string { return r.Reason }

// errNoCluster is why nothing can be sent yet.
var errNoCluster = errors.New("this server does not belong to a cluster yet")

// hello opens a connection: who calls, of which cluster, and whom.
type hello struct{ cluster, from, to string }

func (h hello) line() string { return fmt.Sprintf("%s %s %s\n", h.cluster, h.from, h.to) }

func parseHello(line string) (hello, error) {
	words := strings.Split(line, " ")
	if len(words) != 3 || words[0] == "" || words[1] == "" || words[2] == "" {
		return hello{}, fmt.Errorf("a greeting of three words was expected, not %q", line)
	}
	return hello{cluster: words[0], from: words[1], to: words[2]}, nil
}

// check is why a server does not take a caller; empty: it does.
func (h hello) check(me Identity) string {
	switch cluster := me.ClusterID(); {
	case cluster == "":
		return "the server called belongs to no cluster yet"
	case cluster != h.cluster:
		return fmt.Sprintf("the server called belongs to cluster %s, the caller to cluster %s", cluster, h.cluster)
	case me.ServerID() != h.to:
		return fmt.Sprintf("the server called is %s, not %s", me.ServerID(), h.to)
	case me.ServerID() == h.from:
		return fmt.Sprintf("the caller has the id of the server called, %s: a data directory was copied", h.from)
	}
	return ""
}

const accepted = "ok"

// greet opens a connection to a server.
func greet(conn net.Conn, me Identity, to string) error {
	cluster := me.ClusterID()
	if cluster == "" {
		return errNoCluster
	}
	if err := conn.SetDeadline(time.Now().Add(greetingTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, hello{cluster: cluster, from: me.ServerID(), to: to}.line()); err != nil {
		return err
	}
	answer, err := readLine(conn)
	if err != nil {
		return err
	}
	if answer != accepted {
		return &Refused{Reason: answer}
	}
	return conn.SetDeadline(time.Time{})
}

// answer takes a connection, or says why not.
func answer(conn net.Conn, me Identity) error {
	if err := conn.SetDeadline(time.Now().Add(greetingTimeout)); err != nil {
		return err
	}
	line, err := readLine(conn)
	if err != nil {
		return err
	}
	h, err := parseHello(line)
	if err != nil {
		return err
	}
	if why := h.check(me); why != "" {
		if _, err := io.WriteString(conn, why+"\n"); err != nil {
			return err
		}
		return &Refused{Reason: why}
	}
	if _, err := io.WriteString(conn, accepted+"\n"); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// readLine reads up to a line feed and not one byte further: what follows is Raft's.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); len(line) < maxGreeting; line = append(line, b[0]) {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
	}
	return "", fmt.Errorf("a greeting of more than %d bytes", maxGreeting)
}
