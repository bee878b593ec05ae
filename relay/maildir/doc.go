// Package maildir is the relay.Sender that hands copies to a directory instead
// of a network: for trying Postern out, for tests, and for a system that
// fetches its mail from a folder.
//
// What it promises:
//
//   - A copy that Send accepted is a file in PATH/new, complete and on disk
//     (file and directory synced), with the exact bytes that any other sender
//     would have handed upstream, its signature included, and nothing else: no
//     Return-Path, no Received.
//   - The file's name follows from the copy's tag. Sending a copy again replaces
//     its file, so an attempt whose result is unknown can simply be repeated.
//   - What is wrong with the disk (full, read-only, a missing folder) is the
//     lane's trouble ([mail.Unreachable]) and never fails a copy.
//
// What it never does: move or delete what is in PATH/new or PATH/cur. A reader
// that moves a file to PATH/cur, as Maildir readers do, and then sees the same
// copy sent again finds it twice; only an unknown result leads to that.
//
// The order of events: write to PATH/tmp, sync the file, rename to PATH/new,
// sync that directory. Sends that are at work together share the last step.
package maildir
