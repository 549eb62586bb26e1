package daemon

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"labd.dev/client"
	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
)

// announced is the beginning of a message: five bytes that say how long it is, and nothing of it.
func announced(length uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0}, length)
}

// held is what an intake counts as under way.
func (in *intake) held() (calls int, bytes int64, callers int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, a := range in.people {
		calls, bytes = calls+a.calls, bytes+a.bytes
	}
	for _, a := range in.sources {
		calls, bytes = calls+a.calls, bytes+a.bytes
	}
	return calls, bytes, len(in.people) + len(in.sources)
}

// Every call of every service is told of a message one byte longer than its definition allows, and refuses it by that alone:
// nothing of the message is sent, nor does the call's window grow for it.
func TestEveryCallBoundsItsMessages(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0", Cluster: &ClusterConfig{Expect: 1}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go d.worker.server.Serve(l) // ends with the worker
	awaitWritable(t, d)
	largest := uint32(0)
	for _, at := range []struct {
		server  *grpc.Server
		address string
	}{{d.server, d.Addr()}, {d.worker.server, l.Addr().String()}} {
		r := dialRawHTTP2At(t, at.address)
		for service, info := range at.server.GetServiceInfo() {
			for _, m := range info.Methods {
				name := "/" + service + "/" + m.Name
				most := uint32(defaultRequestBytes)
				if a := accessOf(name); a.GetMaxRequestBytes() != 0 {
					most = a.GetMaxRequestBytes()
				}
				largest = max(largest, most)
				id, err := r.call(name)
				if err != nil {
					t.Fatal(err)
				}
				r.data(id, announced(most+1))
				if got := r.outcome(id); got != "MESSAGE_TOO_LARGE" {
					t.Errorf("%s, told of %d bytes: %s", name, most+1, got)
				}
			}
		}
		if r.widened != 0 {
			t.Errorf("%d windows were widened for messages that were refused", r.widened)
		}
	}
	if largest != maxWorkerBytes {
		t.Errorf("the largest message is %d bytes, and daemons send no more than %d", largest, maxWorkerBytes)
	}
}

// A message that is just as long as the call allows is taken, and one that is a byte longer is not.
func TestMessageAtItsBound(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0"})
	c, err := client.Open(client.Options{Servers: []string{d.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for over, want := range []labv1.ErrorReason{labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, labv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE} {
		req := &labv1.GetLabRequest{Lab: strings.Repeat("x", defaultRequestBytes-4+over)}
		if n := proto.Size(req); n != defaultRequestBytes+over {
			t.Fatalf("the message is %d bytes", n)
		}
		_, err := c.Labs.GetLab(t.Context(), req)
		wantReason(t, fmt.Sprintf("%d bytes too many", over), err, want)
	}
}

// Who shows no token makes labd hold nothing: the call is refused by its headers, however many there are and however much is
// sent with them. Where none is asked for, one address has so many calls and so many bytes under way and no more; a
// person's calls go on meanwhile.
func TestMessagesWithoutAToken(t *testing.T) {
	s := newSchool(t)
	ann := s.enrol("ann", auth.Student)
	in := s.d.intake
	// What a person's client leaves behind ends with its calls.
	eventually(t, "the end of all calls", func() bool { calls, _, _ := in.held(); return calls == 0 })
	r := dialRawHTTP2(t, s.d)
	const streams = 300
	before := in.Refused()["TOKEN_MISSING"]
	for range streams {
		id, err := r.call(labv1.LabService_CreateLab_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		r.data(id, append(announced(16<<20), make([]byte, 1000)...))
		if got := r.outcome(id); got != "TOKEN_MISSING" {
			t.Fatalf("a call without a token: %s", got)
		}
		if calls, bytes, _ := in.held(); calls != 0 || bytes != 0 {
			t.Fatalf("%d calls without a token hold %d bytes", calls, bytes)
		}
	}
	if n := in.Refused()["TOKEN_MISSING"] - before; n != streams {
		t.Errorf("%d refusals are counted, want %d", n, streams)
	}

	var ids []uint32
	for range callsOfSource + 1 {
		id, err := r.call(healthv1.Health_Check_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		r.data(id, announced(defaultRequestBytes))
		ids = append(ids, id)
	}
	if got := r.outcome(ids[callsOfSource]); got != "TOO_MANY_CALLS" {
		t.Errorf("one call more than an address may have: %s", got)
	}
	const fit = bytesOfSource / defaultRequestBytes
	eventually(t, "all messages that fit", func() bool { _, bytes, _ := in.held(); return bytes == bytesOfSource })
	eventually(t, "the end of the calls that do not", func() bool { calls, _, _ := in.held(); return calls == fit })
	if _, err := ann.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{}); err != nil {
		t.Errorf("a person meanwhile: %v", err)
	}
	r.conn.Close()
	eventually(t, "nothing under way", func() bool { calls, bytes, callers := in.held(); return calls == 0 && bytes == 0 && callers == 0 })
}

// One person has so many calls and so many bytes under way, over all connections.
func TestCallsOfOnePerson(t *testing.T) {
	s := newSchool(t)
	bob := s.enrol("bob", auth.Student)
	ann, err := give(t, s.admin, "admin", &labv1.NewToken{})
	if err != nil {
		t.Fatal(err)
	}
	bearer := hpack.HeaderField{Name: "authorization", Value: "Bearer " + ann.Text()}
	in := s.d.intake
	eventually(t, "the end of all calls", func() bool { calls, _, _ := in.held(); return calls == 0 })
	var connections []*rawHTTP2
	begin := func(r *rawHTTP2, method string, length uint32) uint32 {
		id, err := r.call(method, bearer)
		if err != nil {
			t.Fatal(err)
		}
		r.data(id, announced(length))
		return id
	}
	for range 4 {
		connections = append(connections, dialRawHTTP2(t, s.d))
	}
	for i := range callsOfPerson {
		begin(connections[i%len(connections)], labv1.LabService_GetLab_FullMethodName, 100)
	}
	eventually(t, "as many calls as a person may have", func() bool { calls, _, _ := in.held(); return calls == callsOfPerson })
	r := dialRawHTTP2(t, s.d)
	if got := r.outcome(begin(r, labv1.LabService_GetLab_FullMethodName, 100)); got != "TOO_MANY_CALLS" {
		t.Errorf("one call more than a person may have: %s", got)
	}
	if _, err := bob.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{}); err != nil {
		t.Errorf("another person meanwhile: %v", err)
	}
	for _, c := range connections {
		c.conn.Close()
	}
	eventually(t, "the end of all calls", func() bool { calls, bytes, _ := in.held(); return calls == 0 && bytes == 0 })
	const large = 16 << 20
	for range bytesOfPerson / large {
		begin(r, labv1.LabService_CreateLab_FullMethodName, large)
	}
	eventually(t, "as many bytes as a person may have", func() bool { _, bytes, _ := in.held(); return bytes == bytesOfPerson })
	if got := r.outcome(begin(r, labv1.LabService_CreateLab_FullMethodName, 1)); got != "TOO_MANY_CALLS" {
		t.Errorf("a byte more than a person may have under way: %s", got)
	}
}

// Whoever is remembered has something under way.
func TestAccountsEndWithTheirCalls(t *testing.T) {
	in := newIntake(nil, defaultSlowness)
	var calls []*call
	for i := range 3 * callsOfStrangers {
		c := &call{in: in, counted: true, source: sourceOf(fmt.Sprintf("10.%d.%d.1", i>>8, i&255))}
		if in.begin(c) == nil {
			calls = append(calls, c)
		}
	}
	if len(calls) != callsOfStrangers || len(in.sources) != callsOfStrangers {
		t.Errorf("%d calls of %d addresses are under way, want %d", len(calls), len(in.sources), callsOfStrangers)
	}
	held := 0
	for _, c := range calls {
		if in.hold(c, bytesOfStrangers/64) == nil {
			held++
		}
	}
	if held != 64 {
		t.Errorf("%d messages are held, want 64", held)
	}
	for _, c := range slices.Backward(calls) {
		in.ended(c)
	}
	if len(in.sources) != 0 || in.strangers != (account{}) {
		t.Errorf("%d addresses and %+v are left", len(in.sources), in.strangers)
	}
}
