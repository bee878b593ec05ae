// Command postern is a self-hosted mail gateway: one message to a list address
// becomes a personal, signed copy for everyone who is subscribed.
//
// This package is the program around the parts: the command line, the
// configuration, and how the parts are put together. It decides nothing about
// mail.
//
//   - run.go reads the command line; each command is a type with a Run method in
//     a file cmd_*.go. Only main exits.
//   - config.go is what config.toml may say. Reading it goes: defaults, decode
//     (config_decode.go), secret files (config_secret.go), rules between values
//     (config_check.go), files (config_files.go). Each step adds to one list of
//     problems, so that all of them are named at once.
//   - app.go builds, starts and stops the gateway in order; parts.go turns the
//     configuration into what each package wants.
//   - control.go is how a command reaches the data: over the running gateway's
//     Unix socket, or by opening the files itself and asking the same handler.
//
// Files on disk are locked by the process that has them open. A command never
// works around that lock; it asks whoever holds it.
package main
