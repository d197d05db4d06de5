package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// target is something that takes logs.
type target struct {
	name string
	// start returns its address, a key, its process and what stops it; dir is its own.
	start func(ctx context.Context, o options, dir string) (addr, key string, pid int, stop func(), err error)
}

var targets = []target{
	{"headgate, rows going to the engine", headgateTarget()},
	{"headgate, no ClickHouse there", headgateTarget("--clickhouse", "http://nobody@127.0.0.1:1/headgate")},
	{"collector, durable queue, rows dropped", collectorTarget("-queue")},
	{"collector's receiver, nothing stored", collectorTarget()},
}

func headgateTarget(flags ...string) func(context.Context, options, string) (string, string, int, func(), error) {
	return func(ctx context.Context, o options, dir string) (string, string, int, func(), error) {
		srv, err := start(ctx, o.binary, dir, flags...)
		if err != nil {
			return "", "", 0, nil, err
		}
		return srv.otlp, srv.key, srv.pid, srv.stop, nil
	}
}

// collectorTarget starts what clients/collector builds. Its queue, if it has one, is in dir.
func collectorTarget(flags ...string) func(context.Context, options, string) (string, string, int, func(), error) {
	return func(ctx context.Context, o options, dir string) (string, string, int, func(), error) {
		if len(flags) > 0 {
			flags = append(flags[:len(flags):len(flags)], filepath.Clean(dir))
		}
		cmd := exec.CommandContext(ctx, o.collector, flags...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return "", "", 0, nil, err
		}
		if err := cmd.Start(); err != nil {
			return "", "", 0, nil, err
		}
		stop := func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			stop()
			return "", "", 0, nil, fmt.Errorf("collector has no address: %w", err)
		}
		return strings.TrimSpace(addr), "", cmd.Process.Pid, stop, nil
	}
}

// compare sends the same loads to headgate and to a collector, one after another.
func compare(ctx context.Context, o options, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tsenders\trecords\tbytes each\trecords/s acked\tp50 ms\tp99 ms\tmax ms\tCPU s/M\tpeak RSS MiB\trefused\t\n")
	for _, s := range o.loads {
		for _, t := range targets {
			if err := t.measure(ctx, o, s, w); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return w.Flush()
}

func (t target) measure(ctx context.Context, o options, s shape, out io.Writer) error {
	dir, err := os.MkdirTemp("", "headgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	addr, key, pid, stop, err := t.start(ctx, o, dir)
	if err != nil {
		return err
	}
	defer stop()
	c, err := newClient(ctx, addr, key, signals[0], s.records)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.run(s.senders, 0, lasting(2*time.Second)); err != nil {
		return err
	}
	before := cpu(pid)
	got, err := c.run(s.senders, 0, lasting(o.ackDuration))
	if err != nil {
		return err
	}
	used := cpu(pid) - before
	fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%.0f\t%.1f\t%.1f\t%.1f\t%.2f\t%d\t%d\t\n", t.name, s.senders, s.records, got.bytes/got.records,
		float64(got.records)/got.took.Seconds(), millis(got.at(.5)), millis(got.at(.99)), millis(got.at(1)),
		used.Seconds()/(float64(got.records)/1e6), peakRSS(pid)>>20, got.refused)
	return nil
}
