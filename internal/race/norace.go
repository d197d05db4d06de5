//go:build !race

// Package race tells tests whether the race detector is on, which takes time and allocates.
package race

// Enabled reports whether it is.
const Enabled = false
