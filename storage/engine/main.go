package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// What parent and child say to each other: one line of JSON on the child's standard input, then its end as the order to
// stop; events, one per line, on its standard output; log lines on its standard error. The listener is file descriptor 3.
type childConfig struct {
	Options Options
	Secrets Secrets
}

type event struct {
	Event string `json:"event"` // ready or fatal
	Kind  string `json:"kind,omitempty"`
	Error string `json:"error,omitempty"`
}

const listenerFD = 3

var fatalKinds = map[string]error{
	"library-missing": ErrLibraryMissing,
	"library-version": ErrLibraryVersion,
	"data-dir-locked": ErrDataDirLocked,
}

// Main is the body of the child process that a Supervisor starts: it reads its configuration from stdin, serves on the
// inherited listener, and returns after a clean stop, for which SIGTERM, the end of ctx, or the end of stdin is the order.
// stdin ends when the parent dies, however it dies. The caller exits with status 1 on an error.
//
// Signals are handled here and not in cmd, because whoever runs a child must handle them alike: a terminal's SIGINT and
// SIGHUP are meant for the parent, which still needs its engine while it stops.
func Main(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer release()
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: dropTime}))
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read engine configuration from the parent: %w", err)
	}
	var cfg childConfig
	if err := json.Unmarshal(line, &cfg); err != nil {
		return fmt.Errorf("read engine configuration from the parent: %w", err)
	}
	f := os.NewFile(listenerFD, "listener")
	ln, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("engine listener: %w", err)
	}
	_ = f.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := cfg.Options.withDefaults().StopTimeout
	go func() { // ends with the process: a read of stdin cannot be called off
		_, _ = io.Copy(io.Discard, in)
		cancel()
		// The last resort, for an engine that hangs while nobody is left to kill it.
		time.Sleep(3*stop + time.Second)
		os.Exit(1)
	}()

	var mu sync.Mutex
	emit := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(stdout).Encode(e)
	}
	err = Serve(ctx, ln, cfg.Options, cfg.Secrets, log, func() { emit(event{Event: "ready"}) })
	for kind, sentinel := range fatalKinds {
		if errors.Is(err, sentinel) {
			emit(event{"fatal", kind, err.Error()})
		}
	}
	return err
}

func dropTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
