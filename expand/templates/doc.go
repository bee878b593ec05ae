// Package templates
package templates
