package maildir

// Unreachable lets the table of disk errors be tested without breaking a disk.
func Unreachable(err error) error { return unreachable(err) }

// NewGroup makes a group around a sync of the test's own.
func NewGroup(do func() error) func() error { return newGroup(do).run }
