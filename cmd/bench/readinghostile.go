package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// hostileReading measures what one tenant that asks the heaviest questions it can, as many at a time as it likes, costs
// a neighbour that asks small ones, and the taking in of records: their acks, and whether all that was acked is there.
func hostileReading(ctx context.Context, o options, out io.Writer) error {
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
	attacker, err := s.sample(ctx, 1)
	if err != nil {
		return err
	}
	asking, err := s.sample(ctx, len(s.rows.tenants))
	if err != nil {
		return err
	}
	sending := s.rows.tenants[1].Key
	before, err := s.srv.logs(ctx, sending)
	if err != nil {
		return err
	}
	_, warm, err := s.lightly(ctx, asking, sending, 2*time.Second)
	if err != nil {
		return err
	}
	alone, acks, err := s.lightly(ctx, asking, sending, o.duration)
	if err != nil {
		return err
	}
	attack, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var answered, refused atomic.Int64
	for i := range heaviestAtOnce {
		wg.Go(func() {
			for n := i; attack.Err() == nil; n++ {
				if s.heavy(attack, attacker, n) == nil {
					answered.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	beside, acksBeside, err := s.lightly(ctx, asking, sending, o.duration)
	stop()
	wg.Wait()
	if err != nil {
		return err
	}
	if err := s.srv.stored(ctx, 0); err != nil {
		return err
	}
	after, err := s.srv.logs(ctx, sending)
	if err != nil {
		return err
	}
	acked := int64(0)
	for _, l := range []latencies{warm, acks, acksBeside} {
		acked += neighbourRecords * int64(len(l.took)-l.refused)
	}
	if stored := after - before; stored < acked {
		return fmt.Errorf("%d records were acked and %d are stored", acked, stored)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Fprintf(w, "\talone: median ms\tp99\tbeside: median ms\tp99\tratio of p99\trefused\t\n")
	for _, l := range []struct {
		name          string
		alone, beside latencies
	}{{"a neighbour's answers", alone, beside}, {"acks", acks, acksBeside}} {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%d of %d\t\n", l.name, ms(l.alone.at(.5)), ms(l.alone.at(.99)), ms(l.beside.at(.5)), ms(l.beside.at(.99)),
			ms(l.beside.at(.99))/ms(l.alone.at(.99)), l.beside.refused, len(l.beside.took))
	}
	fmt.Fprintf(w, "the attacker got %d answers and %d refusals; %d records were acked, %d are stored\n", answered.Load(), refused.Load(), acked, after-before)
	return w.Flush()
}

const heaviestAtOnce = 16

// heaviest are questions over all that a tenant has, whose work grows with every row.
var heaviest = []string{
	`logs | where body =~ "(a|b|c|d|e)+[0-9]{3,}.*(x|y|z)" | summarize count() by body | top 10 by count`,
	`spans | summarize p99 = percentile(duration, 99), n = dcount(trace_id) by name, attr["user.id"], bin(1m) | sort by p99 desc`,
	`logs | summarize n = dcount(attr["request.id"]), any(body) by attr["client.address"], bin(10s) | sort by n desc`,
	`spans | join (logs | where severity >= "error" | project trace_id, body) on trace_id | summarize count() by name, body | top 10 by count`,
}

// heavy asks one of them, all of its answer.
func (s *store) heavy(ctx context.Context, t sample, n int) error {
	req, err := question{hours: 24 * readingDays, oql: heaviest[n%len(heaviest)]}.request(ctx, s, t)
	if err == nil {
		_, err = answer(req)
	}
	return err
}

// lightly asks small questions five times a second, and sends records beside that, for d.
func (s *store) lightly(ctx context.Context, t sample, sending string, d time.Duration) (answers, acks latencies, err error) {
	var wg sync.WaitGroup
	client := neighbourClient()
	defer client.CloseIdleConnections()
	wg.Go(func() { acks = neighbour(ctx, client, s.srv.http, sending, d) })
	defer wg.Wait()
	var light []question
	for _, q := range questions {
		if q.hours == 1 && !strings.Contains(q.name, "1,000") {
			light = append(light, q)
		}
	}
	tick := time.NewTicker(readerEvery)
	defer tick.Stop()
	var took timing
	for n, end := 0, time.Now().Add(d); time.Now().Before(end); n++ {
		if err := light[n%len(light)].ask(ctx, s, t, &took); err != nil {
			if !strings.Contains(err.Error(), "429") && !strings.Contains(err.Error(), "503") {
				return answers, acks, errors.Join(err)
			}
			answers.refused++
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return answers, acks, ctx.Err()
		}
	}
	took.at(0) // sorts
	answers.took = took.took
	return answers, acks, nil
}
