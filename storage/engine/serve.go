package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Serve runs the engine in this process and answers on ln until ctx is done, then stops cleanly: no new connections,
// running statements get StopTimeout and are cancelled then, the engine closes its files. ready is called once requests are
// served. Serve closes ln. A process can serve one engine in its life; opts.Command is not used. When statements do not end
// within StopTimeout of being cancelled, Serve returns an error while they run, and the process is to end.
//
// The errors ErrLibraryMissing, ErrLibraryVersion and ErrDataDirLocked are final; others may pass.
func Serve(ctx context.Context, ln net.Listener, opts Options, secrets Secrets, log *slog.Logger, ready func()) error {
	defer ln.Close()
	if err := opts.Validate(); err != nil {
		return err
	}
	opts = opts.withDefaults()
	path, err := FindLibrary(opts.Library)
	if err != nil {
		return err
	}
	unlock, err := lockDir(ctx, opts.DataDir)
	if err != nil {
		return err
	}
	idle := true // nothing runs in the library
	defer func() {
		if idle {
			unlock()
		}
	}()
	lib, err := load(path)
	if err != nil {
		return err
	}
	// Before the first connection: the library would take Go's signal handlers away. SIGPIPE must not end the process when
	// a result pipe closes early on one of the engine's own threads.
	lib.setSignalHandlers(0)
	signal.Ignore(syscall.SIGPIPE)

	config, err := writeConfig(opts)
	if err != nil {
		return err
	}
	s, err := newServer(opts, secrets, lib, config, log)
	if err != nil {
		return err
	}
	err = s.serve(ctx, ln, ready)
	// Under a statement that may still run the library cannot be taken down: it crashes. Then it ends with the process, which the
	// tables outlive, and so does the lock.
	if idle = err == nil; idle {
		s.close()
	}
	return err
}

func (s *server) serve(ctx context.Context, ln net.Listener, ready func()) error {
	statements, cancelStatements := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelStatements()
	srv := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    4 << 20, // settings, parameters and statements ride in the URL
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return statements },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	ready()

	select {
	case err := <-served:
		return fmt.Errorf("serve engine: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.StopTimeout)
	defer cancel()
	if err := srv.Shutdown(grace); err == nil {
		return nil
	}
	cancelStatements()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.StopTimeout)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		return fmt.Errorf("stop engine: statements still run: %w", err)
	}
	return nil
}

const (
	lockWait  = 10 * time.Second // an engine whose parent was killed may still be closing its files
	lockRetry = 50 * time.Millisecond
)

// lockDir makes the data directory and takes it for this process. The lock goes with the process, however that ends.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("engine data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "engine.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("engine data directory: %w", err)
	}
	deadline := time.Now().Add(lockWait)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) || ctx.Err() != nil {
			_ = f.Close()
			return nil, fmt.Errorf("%w: %s belongs to another engine: %w", ErrDataDirLocked, dir, err)
		}
		time.Sleep(lockRetry)
	}
}

// writeConfig writes the engine's configuration file. There always is one, because without it the library would read
// config.xml of the working directory or of the home directory.
func writeConfig(opts Options) (string, error) {
	users := ""
	if opts.UsersFile != "" {
		abs, err := filepath.Abs(opts.UsersFile)
		if err != nil {
			return "", fmt.Errorf("engine users file: %w", err)
		}
		users = "<users_config>" + xmlText.Replace(abs) + "</users_config>"
	}
	path := filepath.Join(opts.DataDir, "engine.xml")
	if err := os.WriteFile(path, []byte("<clickhouse>"+users+"</clickhouse>\n"), 0o600); err != nil {
		return "", fmt.Errorf("engine configuration: %w", err)
	}
	return path, nil
}

var xmlText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
