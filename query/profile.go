package query

import (
	"fmt"
	"strconv"
	"strings"
)

// Profile is what the settings profile of a reading account must hold so that the statements of a Reader pass under readonly=1.
type Profile struct {
	Fixed  map[string]any   // never sent otherwise
	AtMost map[string]int64 // limits, of which a statement may be given less, and 1 at least
	Free   map[string]int64 // how a statement is scheduled, up to a bound: the server's own value unless it is sent
}

// ProfileOf is the profile of a Reader whose statements run under one of limits.
func ProfileOf(limits ...Limits) Profile {
	p := Profile{Fixed: map[string]any{"http_write_exception_in_output_format": 0}, // the driver's own
		AtMost: map[string]int64{}, Free: map[string]int64{"max_threads": 1024, "max_block_size": 1 << 17, "priority": 100}}
	for _, l := range limits {
		for name, value := range l.withDefaults().settings() {
			_, free := p.Free[name]
			n, err := strconv.ParseFloat(fmt.Sprint(value), 64)
			switch {
			case free:
			case strings.HasPrefix(name, "max_") && err == nil && name != "max_query_size" && name != "max_parser_depth":
				p.AtMost[name] = max(p.AtMost[name], int64(n+0.999)) // a part of a second is one
			default:
				p.Fixed[name] = value
			}
		}
	}
	return p
}
