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
	"text/tabwriter"
	"time"
)

// shape is a load that acks are measured under.
type shape struct{ senders, records int }

// shapes is a flag.
type shapes []shape

func (s *shapes) String() string {
	var out []string
	for _, sh := range *s {
		out = append(out, fmt.Sprintf("%dx%d", sh.senders, sh.records))
	}
	return strings.Join(out, ",")
}

// Set implements flag.Value. The empty list is none.
func (s *shapes) Set(text string) error {
	*s = nil
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		var sh shape
		if _, err := fmt.Sscanf(part, "%dx%d", &sh.senders, &sh.records); err != nil || sh.senders < 1 || sh.records < 1 {
			return fmt.Errorf("%q: want senders x records, as in 16x1000", part)
		}
		*s = append(*s, sh)
	}
	return nil
}

// acks measures durable acks of logs: how many there are and how long each takes, saturated and at half of that rate, while
// the engine is given what was acked, and another tenant asks a simple question now and then. Each load has a server of its
// own.
func acks(ctx context.Context, o options, out io.Writer) error {
	fmt.Fprintf(out, "\ndurable acks of logs, fsync on; each load %v as fast as acks come, then at half of that rate\n", o.ackDuration)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "senders\trecords\tload\tacks/s\trecords/s\tp50 ms\tp99 ms\tmax ms\tgateway CPU s/M\tgateway peak RSS MiB\tlog MiB\trefused\tquery p50 ms\tmax ms\t\n")
	for _, s := range o.loads {
		if err := ackLoad(ctx, o, s, w); err != nil {
			return fmt.Errorf("%d senders of %d records: %w", s.senders, s.records, err)
		}
	}
	return w.Flush()
}

func ackLoad(ctx context.Context, o options, s shape, out io.Writer) error {
	dir, err := os.MkdirTemp("", "headgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	srv, err := start(ctx, o.binary, dir)
	if err != nil {
		return err
	}
	defer srv.stop()
	c, err := newClient(ctx, srv.otlp, srv.key, signals[0], s.records)
	if err != nil {
		return err
	}
	defer c.close()
	r, err := newReader(ctx, srv)
	if err != nil {
		return err
	}
	if _, err := c.run(s.senders, 0, lasting(2*time.Second)); err != nil {
		return err
	}
	rate := 0.0 // as fast as acks come
	for _, name := range []string{"full", "half"} {
		before := cpu(srv.pid)
		var queries []time.Duration
		var asked error
		var asking sync.WaitGroup
		sending, sent := context.WithCancel(ctx)
		asking.Go(func() { queries, asked = r.watch(sending) })
		got, err := c.run(s.senders, rate, lasting(o.ackDuration))
		sent()
		asking.Wait()
		if err = errors.Join(err, asked); err != nil {
			return err
		}
		used := cpu(srv.pid) - before
		perSecond := float64(len(got.acks)) / got.took.Seconds()
		fmt.Fprintf(out, "%d\t%d\t%s\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.2f\t%d\t%d\t%d\t%.0f\t%.0f\t\n", s.senders, s.records, name,
			perSecond, perSecond*float64(s.records), millis(got.at(.5)), millis(got.at(.99)), millis(got.at(1)),
			used.Seconds()/(float64(got.records)/1e6), peakRSS(srv.pid)>>20, logBytes(srv.data)>>20, got.refused,
			millis(quantile(queries, .5)), millis(quantile(queries, 1)))
		rate = perSecond / 2
	}
	return nil
}

// logBytes returns the size of the log in a data directory.
func logBytes(data string) (n int64) {
	files, _ := filepath.Glob(filepath.Join(data, "wal", "*.wal"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}
