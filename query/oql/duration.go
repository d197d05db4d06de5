package oql

import (
	"fmt"
	"time"
)

// ParseDuration reads a duration as the language writes it: 150ms, 5m, 1h30m, 7d.
func ParseDuration(s string) (time.Duration, error) {
	l := lexer{src: s}
	t, err := l.next()
	d, ok := t.value.(time.Duration)
	if err != nil || !ok || t.off != 0 || t.end != len(s) {
		return 0, fmt.Errorf("%q is not a duration such as 150ms, 5m or 7d", s)
	}
	return d, nil
}
