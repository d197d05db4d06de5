package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/headgate-io/headgate/query"
)

// tier is one member of the file of --query-tiers. What it leaves out is as without a tier.
type tier struct {
	Execution  string `json:"execution"`  // time of one query, 30s
	Memory     string `json:"memory"`     // of one query, 1GiB
	Disk       string `json:"disk"`       // that one query spills, 16GiB
	ReadRows   int64  `json:"read_rows"`  // of one query
	ReadBytes  string `json:"read_bytes"` // of one query, 200GiB
	Groups     int64  `json:"groups"`     // of one summarize
	JoinKeys   int64  `json:"join_keys"`  // on the right side of a join
	Threads    int    `json:"threads"`    // of one query
	Range      string `json:"range"`      // from start to end, 9600h
	Rows       int    `json:"rows"`       // of a result
	Concurrent int    `json:"concurrent"` // queries of the tenant at a time
	Heavy      int    `json:"heavy"`      // the same while they take long and others ask
	Waiting    int    `json:"waiting"`    // queries of the tenant that wait for a place
	Wait       string `json:"wait"`       // for a place, 2s
}

// limits returns base with what t says.
func (t tier) limits(base query.Limits) (query.Limits, error) {
	var errs []error
	duration := func(name, text string, into *time.Duration) {
		if text == "" {
			return
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			errs = append(errs, fmt.Errorf("%s %q: want a duration such as 30s", name, text))
		}
		*into = d
	}
	size := func(name, text string, into *int64) {
		if text == "" {
			return
		}
		var b byteSize
		if err := b.Set(text); err != nil || b.bytes == nil || *b.bytes <= 0 {
			errs = append(errs, fmt.Errorf("%s %q: want a size such as 1GiB", name, text))
			return
		}
		*into = *b.bytes
	}
	duration("execution", t.Execution, &base.MaxExecution)
	duration("range", t.Range, &base.MaxRange)
	duration("wait", t.Wait, &base.MaxWait)
	size("memory", t.Memory, &base.MaxMemoryBytes)
	size("disk", t.Disk, &base.MaxDiskBytes)
	size("read_bytes", t.ReadBytes, &base.MaxBytesToRead)
	for _, n := range []struct {
		from int64
		into *int64
	}{{t.ReadRows, &base.MaxRowsToRead}, {t.Groups, &base.MaxGroups}, {t.JoinKeys, &base.MaxJoinKeys}} {
		if n.from != 0 {
			*n.into = n.from
		}
	}
	for _, n := range []struct {
		from int
		into *int
	}{{t.Threads, &base.MaxThreads}, {t.Rows, &base.MaxRows}, {t.Concurrent, &base.ConcurrentPerTenant},
		{t.Heavy, &base.HeavyPerTenant}, {t.Waiting, &base.WaitingPerTenant}} {
		if n.from != 0 {
			*n.into = n.from
		}
	}
	return base, errors.Join(append(errs, base.Validate())...)
}

// readTiers reads the file of --query-tiers: an object of tiers by name. "" is no tier.
func readTiers(path string, base query.Limits) (map[string]query.Limits, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--query-tiers: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var in map[string]tier
	if err := dec.Decode(&in); err != nil {
		return nil, fmt.Errorf("--query-tiers %s: %w", path, err)
	}
	out := map[string]query.Limits{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(in)) {
		l, err := in[name].limits(base)
		if err != nil {
			errs = append(errs, fmt.Errorf("--query-tiers %s: tier %s: %w", path, name, err))
		}
		out[name] = l
	}
	return out, errors.Join(errs...)
}
