//go:build !linux

package relay

// lowerPriority: elsewhere a priority is the whole process's.
func lowerPriority() {}
