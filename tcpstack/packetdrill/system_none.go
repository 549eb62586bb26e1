package packetdrill

// noSystem is a host without system calls: every script that makes one is
// skipped.
type noSystem struct{}

func newSystem(*host) system { return noSystem{} }

func (noSystem) Call(c *Call, finish func(error)) { finish(skipf("no system call %s", c.Name)) }
func (noSystem) Command(c *Command) error         { return skipf("no shell line %s", c.Text) }
func (noSystem) Code(*Code) error                 { return skipf("no code") }
