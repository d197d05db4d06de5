// Command collector is what an OpenTelemetry Collector does with logs between an agent and an exporter, made of the
// Collector's own modules, for cmd/bench to compare with: the OTLP/gRPC service that its receiver registers, then either
// nothing, or the exporter helper with its queue in a file, each write synced (file_storage with fsync). What comes out of
// the queue is dropped.
//
// It prints its address and serves until it is interrupted. It is a module of its own: nothing else needs what it needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func main() {
	dir := flag.String("queue", "", "directory of the durable queue (empty: nothing is stored)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	next, stop, err := pipeline(ctx, dir)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	plogotlp.RegisterGRPCServer(s, &receiver{next: next})
	fmt.Println(ln.Addr())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.GracefulStop()
	return stop()
}

// receiver hands requests on as the Collector's does, and answers that they should be sent again when they are not taken.
type receiver struct {
	plogotlp.UnimplementedGRPCServer
	next consumer.ConsumeLogsFunc
}

func (r *receiver) Export(ctx context.Context, req plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	if err := r.next(ctx, req.Logs()); err != nil {
		return plogotlp.NewExportResponse(), status.Error(codes.Unavailable, err.Error())
	}
	return plogotlp.NewExportResponse(), nil
}

func drop(context.Context, plog.Logs) error { return nil }

// pipeline returns what follows the receiver, and what ends it.
func pipeline(ctx context.Context, dir string) (consumer.ConsumeLogsFunc, func() error, error) {
	if dir == "" {
		return drop, func() error { return nil }, nil
	}
	f := filestorage.NewFactory()
	cfg := f.CreateDefaultConfig().(*filestorage.Config)
	cfg.Directory, cfg.FSync = dir, true
	id := component.NewID(f.Type())
	files, err := f.Create(ctx, extension.Settings{ID: id, TelemetrySettings: componenttest.NewNopTelemetrySettings()}, cfg)
	if err != nil {
		return nil, nil, err
	}
	host := host{id: files}
	if err := files.Start(ctx, host); err != nil {
		return nil, nil, err
	}
	queue := exporterhelper.QueueBatchConfig{Sizer: exporterhelper.RequestSizerTypeRequests, NumConsumers: 10, QueueSize: 1000, StorageID: &id}
	set := exporter.Settings{ID: component.MustNewID("sink"), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	e, err := exporterhelper.NewLogs(ctx, set, &struct{}{}, drop, exporterhelper.WithQueue(configoptional.Some(queue)))
	if err != nil {
		return nil, nil, err
	}
	if err := e.Start(ctx, host); err != nil {
		return nil, nil, err
	}
	return e.ConsumeLogs, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			return err
		}
		return files.Shutdown(ctx)
	}, nil
}

type host map[component.ID]component.Component

func (h host) GetExtensions() map[component.ID]component.Component { return h }
