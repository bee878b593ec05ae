//go:build unix

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// leastFree is how many octets must be free on the disk of data_dir; below that the
// operator is told, while there is still room to take mail.
const leastFree = 256 << 20

// nearlyFull says that the disk of a folder has little room left; nil when it has
// enough, or when that cannot be found out.
func nearlyFull(dir string) error {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return nil
	}
	if free := uint64(fs.Bavail) * uint64(fs.Bsize); free < leastFree {
		return fmt.Errorf("the disk of %s has only %d MB left", dir, free>>20)
	}
	return nil
}
