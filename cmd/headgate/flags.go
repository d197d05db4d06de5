package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fromEnvironment sets each flag that the command line leaves out from HEADGATE_<FLAG>, where that is set. It reports
// all values that do not fit, not only the first.
func fromEnvironment(cmd *cobra.Command) error {
	var errs error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			return
		}
		name := environmentName(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || f.Name == "help" || f.Name == "version" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			errs = errors.Join(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	})
	if errs != nil {
		return &usageError{errs}
	}
	return nil
}

func environmentName(flag string) string {
	return "HEADGATE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// byteSize is a flag that takes 1024, 64KiB, 10GiB or 5GB, and "none" where unset is allowed.
type byteSize struct {
	bytes *int64 // nil: none
}

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40}, {"pib", 1 << 50},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"pb", 1e15}, {"b", 1},
}

func parseBytes(s string) (int64, error) {
	number, factor := strings.ToLower(strings.TrimSpace(s)), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= (1<<63-1)/factor {
		return n * factor, nil
	}
	if x, err := strconv.ParseFloat(number, 64); err == nil && x >= 0 && x*float64(factor) < 1<<62 {
		return int64(x * float64(factor)), nil
	}
	return 0, fmt.Errorf("%q is not a number of bytes; want for example 1048576, 64KiB, 10GiB or 5GB", s)
}

func (b *byteSize) Set(s string) error {
	if strings.EqualFold(s, "none") {
		b.bytes = nil
		return nil
	}
	n, err := parseBytes(s)
	if err != nil {
		return err
	}
	b.bytes = &n
	return nil
}

func (b *byteSize) Type() string { return "bytes" }

func (b *byteSize) String() string {
	if b.bytes == nil {
		return ""
	}
	return formatBytes(*b.bytes)
}

// formatBytes prints n in the largest binary unit that divides it, so that the text reads back as the same number.
func formatBytes(n int64) string {
	for i := 4; i >= 0 && n != 0; i-- {
		if u := byteUnits[i]; n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + []string{"KiB", "MiB", "GiB", "TiB", "PiB"}[i]
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// roughBytes is formatBytes for what is measured, rounded down to three digits or more.
func roughBytes(n int64) string {
	for unit := int64(1 << 40); unit > 1; unit >>= 10 {
		if n >= 100*unit {
			return formatBytes(n - n%unit)
		}
	}
	return formatBytes(n)
}

// parseAge reads a duration with days: 90d, 36h, 15m.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q is not a duration; want for example 90d, 36h or 15m", s)
}
