// Command postern is a self-hosted mail gateway: one message in, a personal,
// signed copy out to everyone who is subscribed.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
