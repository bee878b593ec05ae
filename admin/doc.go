// Package admin placeholder
package admin
