package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	"labd.dev/internal/auth"
	"labd.dev/orchestrator"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// callsOfPerson bounds the calls of one person that are under way at a server, streams among them, on however many
	// connections: a browser's page with ten labs, and twenty terminals that follow something.
	callsOfPerson = 256
	// bytesOfPerson bounds what those have sent, in messages that are being read or worked on: four of the largest labs.
	bytesOfPerson = 64 << 20
	// callsOfSource and bytesOfSource bound those from one address (IPv6: one /64) that come without a token, where none is asked
	// for, or with one that this server has not heard of yet: health checks, and calls that are handed on.
	callsOfSource = 64
	bytesOfSource = 1 << 20
	// callsOfStrangers and bytesOfStrangers bound those from all addresses together.
	callsOfStrangers = 1024
	bytesOfStrangers = 16 << 20
	// callWindowBytes is HTTP/2's flow control window of a call (RFC 9113 5.2.2), and so what a call may send before anybody reads
	// it. Reading a message widens it for that message.
	callWindowBytes = 64 << 10
	// retryCrowded is what a caller is told to wait who has too much under way.
	retryCrowded = time.Second
)

// intake stands before a server's calls. It decides by a call's headers, before there is a stream that could hold anything,
// whether there shall be one; and reads the calls' messages itself (receive.go), as gRPC has one bound for all methods.
type intake struct {
	gate    *gate
	slowest slowness
	methods map[string]*method // by full name; complete before the server serves

	mu        sync.Mutex // guards what is below
	people    map[string]*account
	sources   map[netip.Prefix]*account
	strangers account
	refused   map[string]uint64 // by reason
}

func newIntake(g *gate, slowest slowness) *intake {
	return &intake{gate: g, slowest: slowest, methods: make(map[string]*method),
		people: make(map[string]*account), sources: make(map[netip.Prefix]*account), refused: make(map[string]uint64)}
}

// method is what a call's definition says of it.
type method struct {
	access *labv1.Access
	most   uint32 // bytes of one message
}

// account is what one caller has under way. It is there as long as there is something.
type account struct {
	calls int
	bytes int64 // of their messages
}

// call is a call under way.
type call struct {
	in      *intake
	method  *method
	person  string       // whose it is
	source  netip.Prefix // or where it comes from
	counted bool         // there is an account of either
	held    int64        // bytes of its last message; guarded by intake.mu
	over    bool         // guarded by intake.mu
	end     context.CancelFunc
}

type callKey struct{}

// tap decides about a call whose headers have come. It is called by the goroutine that reads the connection, and waits for
// nothing.
func (in *intake) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	m := in.methods[info.FullMethodName]
	if m == nil {
		return ctx, nil // gRPC answers that there is no such method
	}
	c := &call{in: in, method: m}
	if err := in.gate.screen(ctx, info.FullMethodName, c); err != nil {
		in.note(reasonIn(err))
		return nil, orchestrator.Status(err)
	}
	if err := in.begin(c); err != nil {
		return nil, orchestrator.Status(err)
	}
	ctx, c.end = context.WithCancel(ctx)
	if c.counted {
		context.AfterFunc(ctx, func() { in.ended(c) })
	}
	return context.WithValue(ctx, callKey{}, c), nil
}

// screen finds out by a call's headers who makes it, and refuses it where nothing more need be known for that. Whom it lets
// pass, admit asks again: what this server knows may be old.
func (g *gate) screen(ctx context.Context, name string, c *call) error {
	p := c.method.access.GetPermission()
	if p == labv1.Permission_PERMISSION_DAEMON {
		return g.checkDaemon(ctx, name)
	}
	if g.control == nil {
		return notAllowed(auth.Short(name) + " is not for whoever reaches a worker")
	}
	from := callerAddress(ctx)
	person, asked, err := g.control.Screen(ctx, from, inProcess(ctx))
	if !asked {
		return nil
	}
	if err != nil && p != labv1.Permission_PERMISSION_ANYONE {
		g.control.NoteRefusal(auth.Caller{From: from, Method: auth.Short(name)}, err)
		return err
	}
	c.counted, c.person = true, person
	if person == "" {
		c.source = sourceOf(from)
	}
	return nil
}

// sourceOf is what counts as one source: an IPv4 address, or an IPv6 /64 (RFC 4291 2.5.4), as within it a host picks addresses
// at will.
func sourceOf(from string) netip.Prefix {
	ip, err := netip.ParseAddr(from)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		bits = 64
	}
	source, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return source
}

// begin counts a call, or refuses it.
func (in *intake) begin(c *call) error {
	if !c.counted {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	mine, calls, _ := in.account(c)
	if mine.calls >= calls || c.person == "" && in.strangers.calls >= callsOfStrangers {
		in.drop(c, mine)
		return in.crowded(c, "has too many calls under way")
	}
	mine.calls++
	if c.person == "" {
		in.strangers.calls++
	}
	return nil
}

// reasonIn is the reason of a refusal at the gate, where whoever is no daemon gets a status at once.
func reasonIn(err error) string {
	var r *orchestrator.Refusal
	if errors.As(err, &r) {
		return reasonName(r.Reason)
	}
	return reasonName(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED)
}

// account is a caller's, with its bounds.
func (in *intake) account(c *call) (mine *account, calls int, bytes int64) {
	if c.person != "" {
		if mine = in.people[c.person]; mine == nil {
			mine = &account{}
			in.people[c.person] = mine
		}
		return mine, callsOfPerson, bytesOfPerson
	}
	if mine = in.sources[c.source]; mine == nil {
		mine = &account{}
		in.sources[c.source] = mine
	}
	return mine, callsOfSource, bytesOfSource
}

// drop forgets an account of which nothing is under way.
func (in *intake) drop(c *call, mine *account) {
	if mine.calls > 0 {
		return
	}
	if c.person != "" {
		delete(in.people, c.person)
	} else {
		delete(in.sources, c.source)
	}
}

// hold counts a message's bytes in place of those of the one before, or refuses it.
func (in *intake) hold(c *call, n int64) error {
	if !c.counted {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if c.over {
		return context.Canceled
	}
	mine, _, bytes := in.account(c)
	more := n - c.held
	if mine.bytes+more > bytes || c.person == "" && in.strangers.bytes+more > bytesOfStrangers {
		return in.crowded(c, "has too much under way")
	}
	mine.bytes += more
	if c.person == "" {
		in.strangers.bytes += more
	}
	c.held = n
	return nil
}

// ended gives back what a call has held. gRPC ends a call's context with its stream.
func (in *intake) ended(c *call) {
	in.mu.Lock()
	defer in.mu.Unlock()
	mine, _, _ := in.account(c)
	c.over = true
	mine.calls--
	mine.bytes -= c.held
	if c.person == "" {
		in.strangers.calls--
		in.strangers.bytes -= c.held
	}
	in.drop(c, mine)
}

// crowded refuses a call for what its caller has under way.
func (in *intake) crowded(c *call, why string) error {
	who := c.person
	if who == "" {
		who = "this address, without a token,"
	}
	in.refused[reasonName(labv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS)]++
	return &orchestrator.Refusal{Reason: labv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS, RetryAfter: retryCrowded, Message: who + " " + why}
}

// note counts a refused call.
func (in *intake) note(reason string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.refused[reason]++
}

// Refused counts the calls that were refused before they began, by reason.
func (in *intake) Refused() map[string]uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return maps.Clone(in.refused)
}

// registrar puts services onto a server whose messages an intake reads.
type registrar struct {
	*grpc.Server
	in *intake
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d := *desc
	d.Methods = slices.Clone(desc.Methods)
	for i, m := range desc.Methods {
		r.in.methods["/"+desc.ServiceName+"/"+m.MethodName] = methodOf("/" + desc.ServiceName + "/" + m.MethodName)
		d.Methods[i].Handler = func(srv any, ctx context.Context, _ func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			return m.Handler(srv, ctx, func(message any) error { return receiveOnly(ctx, message) }, interceptor)
		}
	}
	for _, s := range desc.Streams {
		r.in.methods["/"+desc.ServiceName+"/"+s.StreamName] = methodOf("/" + desc.ServiceName + "/" + s.StreamName)
	}
	r.Server.RegisterService(&d, impl)
}

func methodOf(name string) *method {
	m := &method{access: accessOf(name), most: defaultRequestBytes}
	if declared := m.access.GetMaxRequestBytes(); declared != 0 {
		m.most = declared
	}
	return m
}
