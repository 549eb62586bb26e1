package tcpstack_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// A stack in a Go program of one's own, talking to itself over its loopback interface.
func ExampleDialContext() {
	loop := sim.NewLoop(sim.LoopConfig{Name: "example"})
	stack, err := tcpstack.New(loop, &sim.Identity{Name: "host", Src: sim.Source{ID: 1}, Boots: 1}, tcpstack.Config{Name: "host"})
	if err != nil {
		panic(err)
	}
	drive := tcpstack.NewDriver(loop, sim.PacerConfig{})
	defer drive.Close()
	here := netip.MustParseAddrPort("127.0.0.1:7")
	l, err := tcpstack.ListenNet(drive, stack, here, tcpstack.TCPConfig{})
	if err != nil {
		panic(err)
	}
	go func() { // an echo server
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	c, err := tcpstack.DialContext(context.Background(), drive, stack, here, tcpstack.TCPConfig{Congestion: "reno"})
	if err != nil {
		panic(err)
	}
	fmt.Fprint(c, "hello")
	c.CloseWrite()
	b, err := io.ReadAll(c)
	fmt.Println(string(b), err)
	// Output: hello <nil>
}
