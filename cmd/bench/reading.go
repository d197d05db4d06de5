package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// reading measures what answers take: every question (readingquestions.go) is asked through headgate's HTTP API and as plain
// SQL by turns, on the same engine, for a large, a middle and a small tenant. The SQL bypasses everything that headgate does, so
// the ratio is what parsing, walls, limits and encoding cost.
//
// A second table compares the middle tenant's answers with those of a store that has no other tenant's rows: how many others
// there are should make no difference.
func reading(ctx context.Context, o options, out io.Writer) error {
	dir, done, err := readingDir(o)
	if err != nil {
		return err
	}
	defer done()
	s, err := openStore(ctx, o, filepath.Join(dir, "all"), 0, os.Stderr)
	if err != nil {
		return err
	}
	defer s.close()
	middle := min(10, len(s.rows.tenants))
	if err := s.compare(ctx, o, []int{1, middle, len(s.rows.tenants)}, out); err != nil || !o.growth {
		return err
	}
	alone, err := openStore(ctx, o, filepath.Join(dir, "alone"), middle, os.Stderr)
	if err != nil {
		return err
	}
	defer alone.close()
	return growth(ctx, o, s, alone, middle, out)
}

// engineSettings are those that headgate's statements run under, as far as they decide about time: without them a repeated
// condition is remembered, which between tenants must not be.
var engineSettings = []string{
	"use_query_condition_cache", "0", "default_format", "JSONCompactEachRow", "allow_experimental_time_series_aggregate_functions", "1",
}

// timing is how long the answers to a question took.
type timing struct {
	took  []time.Duration
	cpu   time.Duration // of headgate and the engine, for all of them
	bytes int
}

// busy is the processor time so far of all that answers.
func (s *store) busy() time.Duration { return cpu(s.srv.pid) + cpu(s.engine.PID()) }

// cost is the processor time of one answer in milliseconds. Of short ones it is coarse: the system counts by 10 ms.
func (t *timing) cost() float64 { return float64(t.cpu.Milliseconds()) / float64(len(t.took)) }

func (t *timing) add(took, used time.Duration, answer []byte) {
	t.took, t.cpu, t.bytes = append(t.took, took), t.cpu+used, len(answer)
}

// at is the quantile p, in milliseconds.
func (t *timing) at(p float64) float64 {
	slices.Sort(t.took)
	return float64(t.took[int(p*float64(len(t.took)-1)+.5)].Microseconds()) / 1000
}

// ask measures one answer of headgate.
func (q question) ask(ctx context.Context, s *store, t sample, to *timing) error {
	req, err := q.request(ctx, s, t)
	if err != nil {
		return err
	}
	begin, used := time.Now(), s.busy()
	raw, err := answer(req)
	if err != nil {
		return fmt.Errorf("%s: %w", q.name, err)
	}
	if t.Share > .1 && isEmpty(raw) {
		return fmt.Errorf("%s: the answer to tenant %s is empty", q.name, t.Name)
	}
	to.add(time.Since(begin), s.busy()-used, raw)
	return nil
}

// isEmpty reports whether an answer of any of the interfaces has nothing in it: of the largest tenant that would measure nothing.
func isEmpty(raw []byte) bool {
	begin := raw[:min(len(raw), 200)]
	return len(raw) == 0 || bytes.HasPrefix(begin, []byte(`{"data":[]`)) || bytes.Contains(begin, []byte(`"result":[]`))
}

// compare prints the table of all questions for the tenants of these ranks.
func (s *store) compare(ctx context.Context, o options, ranks []int, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "question\ttenant's share\trows read\tanswer KB\tmedian ms\tp99\tSQL median ms\tp99\tratio\tCPU ms\tSQL CPU ms\tratio\t\n")
	for _, rank := range ranks {
		t, err := s.sample(ctx, rank)
		if err != nil {
			return err
		}
		for _, q := range questions {
			if !strings.Contains(q.name, o.only) {
				continue
			}
			var ours, plain timing
			var rows int64
			for i := range o.times + 1 {
				if i == 1 {
					ours, plain = timing{}, timing{} // the first was to warm up
				}
				if err := q.ask(ctx, s, t, &ours); err != nil {
					return err
				}
				used := s.busy()
				a, err := s.sql.run(ctx, q.text(q.sql, t, s.rows.end()), engineSettings...)
				if err != nil {
					return fmt.Errorf("%s: %w", q.name, err)
				}
				plain.add(a.took, s.busy()-used, a.body)
				rows = a.rows
			}
			fmt.Fprintf(w, "%s\t%.1f %%\t%d\t%d / %d\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.0f\t%.0f\t%.2f\t\n", q.name, 100*t.Share, rows, ours.bytes>>10, plain.bytes>>10,
				ours.at(.5), ours.at(.99), plain.at(.5), plain.at(.99), ours.at(.5)/plain.at(.5), ours.cost(), plain.cost(), ours.cost()/plain.cost())
			fmt.Fprintf(os.Stderr, "%s: %.1f ms, %.1f ms; CPU %.0f, %.0f\n", q.name, ours.at(.5), plain.at(.5), ours.cost(), plain.cost())
		}
	}
	return w.Flush()
}

// growth prints what one tenant's answers take beside all others, and alone.
func growth(ctx context.Context, o options, all, alone *store, rank int, out io.Writer) error {
	beside, err := all.sample(ctx, rank)
	if err != nil {
		return err
	}
	single, err := alone.sample(ctx, rank)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nquestion of the tenant with %.1f %%\tbeside %d others median ms\tp99\talone median ms\tp99\tratio\t\n", 100*beside.Share, len(all.rows.tenants)-1)
	for _, q := range questions {
		if !strings.Contains(q.name, o.only) {
			continue
		}
		var a, b timing
		for i := range o.times + 1 {
			if i == 1 {
				a, b = timing{}, timing{}
			}
			if err := cmp.Or(q.ask(ctx, all, beside, &a), q.ask(ctx, alone, single, &b)); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t\n", q.name, a.at(.5), a.at(.99), b.at(.5), b.at(.99), a.at(.5)/b.at(.5))
	}
	return w.Flush()
}
