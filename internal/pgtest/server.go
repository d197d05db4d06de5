package pgtest

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	pollPause    = 20 * time.Millisecond
	// nobody runs the server where the tests run as root, which PostgreSQL refuses.
	nobody = 65534
)

//go:embed postgres.lock
var lock string

// Server is a PostgreSQL server of directories of its own.
type Server struct {
	dir      string   // the socket and the programs
	lock     *os.File // of dir, while this process lives
	programs string
	process  *os.Process // nil while stopped
	exited   chan struct{}
}

// Start starts a server for this test alone, which may stop, kill and restart it. Its URL stays the same.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := newServer()
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	t.Cleanup(s.end)
	return s
}

func newServer() (s *Server, err error) {
	installed, err := find()
	if err != nil {
		return nil, err
	}
	dir, lock, err := makeDir()
	if err != nil {
		return nil, err
	}
	s = &Server{dir: dir, lock: lock, programs: installed}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	if os.Geteuid() == 0 {
		// The cache directory may be where only root can go.
		s.programs = filepath.Join(dir, "postgres")
		if err := linkTree(s.programs, installed); err != nil {
			return nil, err
		}
		if err := errors.Join(os.Chown(dir, nobody, nobody), os.Chown(s.data(), nobody, nobody)); err != nil {
			return nil, err
		}
	}
	out, err := s.command("initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.start()
}

func (s *Server) data() string { return dataOf(s.dir) }

// command returns one of PostgreSQL's programs, to be run as somebody who may not be root.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.programs, "bin", name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "PATH=/usr/bin:/bin"}
	// The server stops with the tests, also if they panic or are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

// URL names the server's database postgres as its superuser.
func (s *Server) URL() string {
	q := url.Values{"host": {s.dir}, "user": {"postgres"}, "sslmode": {"disable"}}
	return "postgres:///postgres?" + q.Encode()
}

func (s *Server) start() error {
	cmd := s.command("postgres", "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200",
		"-c", "shared_buffers=32MB", "-c", "max_wal_size=96MB", "-c", "dynamic_shared_memory_type=mmap", "-c", "log_min_messages=fatal")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	started, exited := make(chan error), make(chan struct{})
	go func() {
		// The death signal comes when the thread that started the process ends: this one ends with the server.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.exited = cmd.Process, exited
	deadline := time.After(startTimeout)
	for {
		err := ping(s.URL())
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			s.process = nil
			return fmt.Errorf("the server ended: %s", log.String())
		case <-deadline:
			s.signal(syscall.SIGKILL)
			return fmt.Errorf("the server did not start within %v: %w", startTimeout, err)
		case <-time.After(pollPause):
		}
	}
}

func ping(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Start starts the server again.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
}

// Stop ends the server in order: it closes all connections and rolls back what was not committed.
func (s *Server) Stop() { s.signal(syscall.SIGINT) }

// Kill ends the server as a crash does.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Restart stops the server and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.Start(t)
}

// signal sends sig and waits for the end.
func (s *Server) signal(sig syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Signal(sig)
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		_ = s.process.Kill()
		<-s.exited
	}
	s.process = nil
}

func (s *Server) end() {
	s.Stop()
	remove(s.dir)
	_ = s.lock.Close()
}
