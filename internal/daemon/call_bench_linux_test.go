package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/metadata"

	"labd.dev/client"
	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
)

// BenchmarkCall is what a call costs over loopback, client and server together, where nobody is asked who they are and where
// a student calls with a token: what the token is found to be, whether the call is for the student, and what the student
// may do with the lab that it names. cpu-us/op is processor time, which is not the other processes'.
func BenchmarkCall(b *testing.B) {
	for _, mode := range []Auth{AuthOff, AuthOn} {
		b.Run("auth="+string(mode), func(b *testing.B) {
			d, token := benchDaemon(b, mode)
			c := benchClient(b, d, token)
			if _, err := c.Labs.CreateLab(b.Context(), &labv1.CreateLabRequest{RequestId: "lab", Spec: twoHosts("lab", labv1.Clock_CLOCK_VIRTUAL)}); err != nil {
				b.Fatal(err)
			}
			b.Run("GetLab", func(b *testing.B) {
				measured(b, func() error {
					_, err := c.Labs.GetLab(b.Context(), &labv1.GetLabRequest{Lab: "lab"})
					return err
				})
			})
			b.Run("CreateFault", func(b *testing.B) {
				measured(b, func() error {
					_, err := c.Faults.CreateFault(b.Context(), &labv1.CreateFaultRequest{RequestId: client.RequestID(), Lab: "lab",
						Fault: &labv1.Fault{Link: "a--b", DurationNs: 1, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}}})
					return err
				})
			})
		})
	}
}

// BenchmarkLetIn is what of that it takes to find out who calls and to let the call in.
func BenchmarkLetIn(b *testing.B) {
	d, token := benchDaemon(b, AuthOn)
	at := &gate{control: d.control, rates: d.rates}
	ctx := metadata.NewIncomingContext(b.Context(), metadata.Pairs("authorization", "Bearer "+token))
	for b.Loop() {
		if who, err := at.admit(ctx, labv1.LabService_GetLab_FullMethodName); err != nil || who.Person != "ann" {
			b.Fatal(who, err)
		}
	}
}

// benchDaemon is a labd and, where people are asked who they are, a student's token.
func benchDaemon(b *testing.B, mode Auth) (d *Daemon, token string) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "first")
	d, err := Start(Config{DataDir: b.TempDir(), Listen: "127.0.0.1:0", Identity: IdentityConfig{Auth: mode, TokenFile: file}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	var calls atomic.Int64
	d.rates.now = func() time.Time { return time.Unix(0, calls.Add(int64(time.Second/callsPerSecond))) } // as often as a person may
	if mode == AuthOff {
		return d, ""
	}
	var first []byte
	for len(first) == 0 {
		first, _ = os.ReadFile(file)
		time.Sleep(time.Millisecond)
	}
	ann := auth.NewToken()
	if _, err := benchClient(b, d, strings.TrimSpace(string(first))).Users.ImportUsers(b.Context(), &labv1.ImportUsersRequest{RequestId: "enrol",
		Users: []*labv1.NewUser{{Name: "ann", Role: auth.Student, Token: &labv1.NewToken{Id: ann.ID, Sha256: ann.Hash()}}}}); err != nil {
		b.Fatal(err)
	}
	return d, ann.Text()
}

func benchClient(b *testing.B, d *Daemon, token string) *client.Client {
	b.Helper()
	c, err := client.Open(client.Options{Servers: []string{d.Addr()}, Token: token})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// measured reports the processor time of a call as well.
func measured(b *testing.B, call func() error) {
	b.Helper()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	for b.Loop() {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((used()-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}
