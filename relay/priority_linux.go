package relay

import "golang.org/x/sys/unix"

// lower is the nice value of a signing thread: beside others that want the
// processor it gets about a tenth of it.
const lower = 10

// lowerPriority is of the calling thread alone, as Linux has it (setpriority(2),
// "C library/kernel differences"). Where it is not allowed all stays as it is.
func lowerPriority() { _ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), lower) }
