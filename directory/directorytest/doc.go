// Package directorytest holds what every driver of the directory promises, as
// tests: a driver's own tests call [Run] with a way to make an empty Store.
package directorytest
