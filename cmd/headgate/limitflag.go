package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/tenant"
)

// aboutLimits is in the help of each command that has --limit.
const aboutLimits = `Limits are given as --limit KIND=MAX, KIND:SIGNAL=MAX for logs, traces, metrics or profiles alone, and KIND=none
to remove one; --limit none removes all of them. The kinds:

  bytes-per-second=5MiB/20MiB   bytes of requests, and after the / what may come at once (default: one second's worth)
  requests-per-second=100/500   requests, likewise
  records-per-request=10000     records of one request
  in-flight-requests=20         requests at the same time
  daily-bytes:logs=10GiB        billed bytes per day of one signal; all together are --daily-bytes
  storage-bytes=1TiB            compressed bytes kept in ClickHouse, of tenants only

All limits hold, from the key up to the tenant's topmost parent. A max of 0 lets nothing pass.`

// limitFlags are the --limit of a command line.
type limitFlags struct {
	clear bool // all that there are
	edits []limitEdit
}

// limitEdit sets a limit, or removes it.
type limitEdit struct {
	tenant.Bound
	remove bool
}

func (l *limitFlags) register(cmd *cobra.Command) {
	cmd.Flags().Var(l, "limit", "a limit as KIND[:SIGNAL]=MAX[/BURST], or KIND[:SIGNAL]=none; may be given more than once")
}

// Type implements pflag.Value.
func (l *limitFlags) Type() string { return "limit" }

// String implements pflag.Value.
func (l *limitFlags) String() string { return "" }

// Set implements pflag.Value.
func (l *limitFlags) Set(text string) error {
	if text == "none" {
		l.clear = true
		return nil
	}
	e, err := parseLimit(text)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.edits, func(o limitEdit) bool { return sameLimit(o.Bound, e.Bound) }) {
		return fmt.Errorf("%s is given twice", limitName(string(e.Kind), e.Signal))
	}
	l.edits = append(l.edits, e)
	return nil
}

func (l *limitFlags) given() bool { return l.clear || len(l.edits) > 0 }

// change returns the limits as they are to be, given what they are.
func (l *limitFlags) change(now []control.Limit) []control.Limit {
	out := []control.Limit{}
	if !l.clear {
		out = append(out, now...)
	}
	for _, e := range l.edits {
		out = slices.DeleteFunc(out, func(o control.Limit) bool { return o.Limit == string(e.Kind) && o.Signal == e.Signal })
		if !e.remove {
			out = append(out, control.Limit{Limit: string(e.Kind), Signal: e.Signal, Max: e.Max, Burst: e.Burst})
		}
	}
	return out
}

func sameLimit(a, b tenant.Bound) bool { return a.Kind == b.Kind && a.Signal == b.Signal }

func limitName(kind, signal string) string {
	if signal == "" {
		return kind
	}
	return kind + ":" + signal
}

// parseLimit reads KIND[:SIGNAL]=MAX[/BURST] or KIND[:SIGNAL]=none.
func parseLimit(text string) (limitEdit, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok || name == "" || value == "" {
		return limitEdit{}, fmt.Errorf("%.60q: want KIND=MAX, for example requests-per-second=100, bytes-per-second=5MiB/20MiB, daily-bytes:logs=10GiB or requests-per-second=none", text)
	}
	var e limitEdit
	kind, signal, _ := strings.Cut(name, ":")
	e.Kind, e.Signal = tenant.Kind(kind), signal
	if e.Kind == tenant.DailyBytes && signal == "" {
		return e, fmt.Errorf("%.60q: the daily bytes of all signals are --daily-bytes %s; those of one are --limit daily-bytes:logs=%s", text, value, value)
	}
	if err := tenant.CheckBounds([]tenant.Bound{e.Bound}); err != nil { // of the name alone
		return e, err
	}
	if value == "none" {
		e.remove = true
		return e, nil
	}
	most, burst, hasBurst := strings.Cut(value, "/")
	var err error
	if e.Max, err = parseAmount(e.Kind, most); err != nil {
		return e, fmt.Errorf("%s: %w", name, err)
	}
	if hasBurst {
		if e.Burst, err = parseAmount(e.Kind, burst); err != nil {
			return e, fmt.Errorf("burst of %s: %w", name, err)
		}
	}
	return e, tenant.CheckBounds([]tenant.Bound{e.Bound})
}

// parseAmount reads a number in the unit of a kind.
func parseAmount(kind tenant.Kind, text string) (int64, error) {
	if inBytes(string(kind)) {
		return parseBytes(text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a whole number; want for example 100", text)
	}
	return n, nil
}

func inBytes(kind string) bool {
	switch tenant.Kind(kind) {
	case tenant.DailyBytes, tenant.BytesPerSecond, tenant.StorageBytes:
		return true
	}
	return false
}
