package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/headgate-io/headgate/internal/otlpgen"
)

// hostile measures what a tenant that misbehaves costs its neighbour: each attack has its own server, whose peak memory is
// reported, and runs for the duration. The neighbour sends small requests all the time: first alone, then beside the same
// attackers of another process, a sink, and at last beside attackers of its own headgate. The second is what the shared
// machine costs, whatever headgate does.
//
// The attackers are a process of their own with the lowest priority: they would be on other machines.
func hostile(ctx context.Context, o options, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "attack\tsenders\tanswers\tfastest\tmedian\tslowest\tpeak RSS MiB\tbefore\tcores used\tbefore\tneighbour p50 ms\tbeside a sink\tbeside\tp99 ms\tbeside a sink\tbeside\tslowest\trefused\n")
	for _, a := range attacks {
		if o.only != "" && !strings.Contains(a.name, o.only) {
			continue
		}
		if err := beside(ctx, o, a, w); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return w.Flush()
}

// beside prints the line of one attack.
func beside(ctx context.Context, o options, a attack, w io.Writer) error {
	dir, err := os.MkdirTemp("", "headgate-hostile-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	srv, err := start(ctx, o.binary, dir)
	if err != nil {
		return err
	}
	defer srv.stop()
	key, err := srv.tenant(ctx, "neighbour")
	if err != nil {
		return err
	}
	client := neighbourClient()
	defer client.CloseIdleConnections()
	sink, stopSink, err := startSink(ctx)
	if err != nil {
		return err
	}
	defer stopSink()
	send := func() latencies { return neighbour(ctx, client, srv.http, key, o.duration) }
	cores := func(since time.Duration) float64 { return (cpu(srv.pid) - since).Seconds() / o.duration.Seconds() }

	neighbour(ctx, client, srv.http, key, 2*time.Second) // warm
	quiet, since := peakRSS(srv.pid), cpu(srv.pid)
	alone := send()
	idle := cores(since)
	var control, together latencies
	if _, err := attacked(ctx, o, a, sink, "nobody", func() { control = send() }); err != nil {
		return fmt.Errorf("of a sink: %w", err)
	}
	var busy float64
	got, err := attacked(ctx, o, a, srv.http, srv.key, func() {
		since = cpu(srv.pid)
		together = send()
		busy = cores(since)
	})
	if err != nil {
		return err
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Fprintf(w, "%s\t%d\t%s\t%.0f ms\t%.0f ms\t%.0f ms\t%d\t%d\t%.2f\t%.2f", a.name, a.senders, got.answers(),
		ms(got.Fastest), ms(got.Median), ms(got.Slowest), peakRSS(srv.pid)>>20, quiet>>20, busy, idle)
	for _, q := range []float64{.5, .99} {
		fmt.Fprintf(w, "\t%.1f\t%.1f\t%.1f", ms(alone.at(q)), ms(control.at(q)), ms(together.at(q)))
	}
	fmt.Fprintf(w, "\t%.1f\t%d of %d\n", ms(together.at(1)), together.refused, len(together.took))
	return nil
}

// attacked calls meanwhile while a process with the attackers is at work on target, and returns what they saw.
func attacked(ctx context.Context, o options, a attack, target, key string, meanwhile func()) (got outcome, err error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "-attack", a.name, "-target", target, "-key", key, "-duration", o.duration.String())
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return got, err
	}
	if err := cmd.Start(); err != nil {
		return got, err
	}
	told := bufio.NewReader(pipe)
	_, err = told.ReadString('\n') // it has its requests ready, and begins
	meanwhile()
	err = errors.Join(err, json.NewDecoder(told).Decode(&got), cmd.Wait())
	return got, err
}

// outcome is what the attackers saw.
type outcome struct {
	Answers                  map[string]int
	Fastest, Median, Slowest time.Duration
}

// answers lists them, the most frequent first.
func (o outcome) answers() string {
	names := slices.SortedFunc(maps.Keys(o.Answers), func(a, b string) int {
		return cmp.Or(cmp.Compare(o.Answers[b], o.Answers[a]), cmp.Compare(a, b))
	})
	var text []string
	for _, n := range names {
		text = append(text, fmt.Sprintf("%s ×%d", n, o.Answers[n]))
	}
	return strings.Join(text, ", ")
}

// latencies are those of the neighbour's requests.
type latencies struct {
	took    []time.Duration // sorted
	refused int
}

func (l latencies) at(q float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	return l.took[int(q*float64(len(l.took)-1))]
}

// neighbourRecords are in each request of a neighbour.
const neighbourRecords = 20

// neighbourClient keeps as many connections as neighbour uses.
func neighbourClient() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
}

// neighbour sends a request of 20 records every 50 ms over each of four connections, as an agent that minds its own business.
func neighbour(ctx context.Context, client *http.Client, addr, key string, d time.Duration) (all latencies) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	var seed atomic.Uint64 // none twice: a repeated request is known, acked and not stored
	seed.Store(uint64(start.UnixNano()))
	for range 4 {
		wg.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for begin := range tick.C {
				if begin.Sub(start) > d {
					return
				}
				body := otlpgen.Logs(seed.Add(1), neighbourRecords)
				begin = time.Now()
				err := post(ctx, client, addr, key, body)
				mu.Lock()
				all.took = append(all.took, time.Since(begin))
				if err != nil {
					all.refused++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(all.took)
	return all
}

func post(ctx context.Context, client *http.Client, addr, key string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, addr+"/v1/logs", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
