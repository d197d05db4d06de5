package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/extension/extensiontest"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// queueVariable makes the test's own binary a Collector with its queue in the directory that it names.
const queueVariable = "HEADGATE_TEST_COLLECTOR_QUEUE"

// errand is what such a Collector is told on its standard input: where to send, and how many batches of everything to take first.
type errand struct {
	GRPC, Key string
	Batches   int
}

// extensions is the host of exporters that need some.
type extensions map[component.ID]component.Component

func (e extensions) GetExtensions() map[component.ID]component.Component { return e }

// collectWithQueue is a Collector with the guide's queue on disk. It says so when all batches are in the queue, and sends until it is killed.
func collectWithQueue(dir string) {
	err := func() error {
		var e errand
		if err := json.NewDecoder(os.Stdin).Decode(&e); err != nil {
			return err
		}
		to := target{grpc: e.GRPC, key: e.Key, queue: dir}
		ctx := context.Background()
		f := filestorage.NewFactory()
		files := f.CreateDefaultConfig()
		if err := fromGuide("collector-disk", "extensions::file_storage", to, files); err != nil {
			return err
		}
		set := extensiontest.NewNopSettings(f.Type())
		set.ID = component.NewID(f.Type())
		storage, err := f.Create(ctx, set, files)
		if err != nil {
			return err
		}
		host := extensions{set.ID: storage}
		if err := storage.Start(ctx, host); err != nil {
			return err
		}
		exporter := otlpexporter.NewFactory()
		cfg := exporter.CreateDefaultConfig()
		if err := fromGuide("collector-disk", "exporters::otlp", to, cfg); err != nil {
			return err
		}
		var t tally
		c := &collector{reader: sdkmetric.NewManualReader(), log: &exporterLog{tally: &t}}
		if err := c.start(ctx, exporter, component.NewID(exporter.Type()), cfg, host); err != nil {
			return err
		}
		for batch := range e.Batches {
			c.send(ctx, everything, batch, &t)
		}
		fmt.Printf("queued%s\n", strings.ReplaceAll(t.why(), "\n", " "))
		_, err = io.Copy(io.Discard, os.Stdin) // until the test ends, should it not come to kill
		return err
	}()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// startCollector runs a Collector with a queue until its batches are in it.
func startCollector(t *testing.T, dir string, e errand) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), queueVariable+"="+dir), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	if err := json.NewEncoder(in).Encode(e); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if lines.Scan(); !strings.HasPrefix(lines.Text(), "queued") || strings.Contains(lines.Text(), "not queued") {
		t.Fatalf("the collector said %q: %v", lines.Text(), lines.Err())
	}
	return cmd
}

// TestQueueOnDiskOutlivesTheCollector: headgate is away, the Collector is killed, and both come back. All is stored, once.
func TestQueueOnDiskOutlivesTheCollector(t *testing.T) {
	s := serve(t)
	s.cli("tenant", "create", "acme")
	k := s.newKey("acme")
	s.end(syscall.SIGTERM)
	dir := t.TempDir()
	e := errand{GRPC: s.addr.GRPC, Key: k.Key, Batches: 30}
	first := startCollector(t, dir, e)
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	s.start()
	e.Batches = 0
	startCollector(t, dir, e)
	want := 30 * everything.records
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); s.everythingStored(k) < want; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records are stored after a minute", s.everythingStored(k), want)
		}
	}
	if rows, distinct := s.stored(k).count(); rows != want || distinct != want {
		t.Errorf("%d rows of %d records, want %d once each", rows, distinct, want)
	}
	if billed := s.billed("acme"); billed != want {
		t.Errorf("%d records billed, want %d", billed, want)
	}
}
