//go:build race

package otlp

func init() { raceEnabled = true }
