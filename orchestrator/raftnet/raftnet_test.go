package raftnet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type identity struct{ server, cluster string }

func (i identity) ServerID() string  { return i.server }
func (i identity) ClusterID() string { return i.cluster }

// start opens a transport on loopback that ends with the test.
func start(t *testing.T, me identity) *Transport {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer
	tr := New(Config{Identity: me, Listener: l, Advertise: l.Addr().String(), Logger: slog.New(slog.DiscardHandler),
		RaftLog: hclog.NewNullLogger(),
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}})
	t.Cleanup(func() { tr.Close() })
	return tr
}

func TestRaftPasses(t *testing.T) {
	a, b := start(t, identity{"a", "c1"}), start(t, identity{"b", "c1"})
	go func() {
		rpc := <-b.Consumer()
		vote := rpc.Command.(*raft.RequestVoteRequest)
		rpc.Respond(&raft.RequestVoteResponse{Term: vote.Term, Granted: true}, nil)
	}()
	var resp raft.RequestVoteResponse
	if err := a.RequestVote("b", b.LocalAddr(), &raft.RequestVoteRequest{Term: 7}, &resp); err != nil || resp.Term != 7 || !resp.Granted {
		t.Fatalf("answer %+v %v", resp, err)
	}
}

// Neither end hears what is not for it.
func TestNotForEachOther(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to identity
		meant    raft.ServerID
		want     string
	}{
		{"two clusters mixed up", identity{"a", "c1"}, identity{"b", "c2"}, "b", "belongs to cluster c2, the caller to cluster c1"},
		{"another server at the address", identity{"a", "c1"}, identity{"b2", "c1"}, "b", "is b2, not b"},
		{"a copied data directory", identity{"a", "c1"}, identity{"a", "c1"}, "a", "a data directory was copied"},
		{"a server without a cluster", identity{"a", "c1"}, identity{"b", ""}, "b", "belongs to no cluster yet"},
		{"a caller without a cluster", identity{"a", ""}, identity{"b", "c1"}, "b", "does not belong to a cluster yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := start(t, c.from), start(t, c.to)
			err := a.RequestVote(c.meant, b.LocalAddr(), &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			select {
			case rpc := <-b.Consumer():
				t.Errorf("it hears %v", rpc.Command)
			default:
			}
		})
	}
}

func TestBadGreetings(t *testing.T) {
	for name, sent := range map[string]string{
		"two words":         "c1 a\n",
		"no cluster":        " a b\n",
		"endless":           strings.Repeat("x", 2*maxGreeting),
		"nothing":           "",
		"raft at once":      "\x00\x01\n",
		"another's":         "c2 a b\n",
		"someone else's id": "c1 a x\n",
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() {
				io.WriteString(near, sent)
				io.Copy(io.Discard, near)
			}()
			if sent == "" {
				near.Close()
			}
			if err := answer(far, identity{"b", "c1"}); err == nil {
				t.Error("it is taken")
			}
			far.Close()
			near.Close()
		})
	}
}

// Close ends connections in both directions, whoever waits for what.
func TestCloseEndsAll(t *testing.T) {
	a, b := start(t, identity{"a", "c1"}), start(t, identity{"b", "c1"})
	failed := make(chan error, 1)
	go func() {
		failed <- a.RequestVote("b", b.LocalAddr(), &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{})
	}()
	<-b.Consumer() // never answered
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if err == nil {
			t.Error("an answer came")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the caller waits on")
	}
	if err := b.RequestVote("a", a.LocalAddr(), &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}); !errors.Is(err, raft.ErrTransportShutdown) && err == nil {
		t.Error("a closed transport sends")
	}
}
