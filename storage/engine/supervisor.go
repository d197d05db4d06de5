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
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Supervisor keeps one engine child alive. The listener belongs to the supervisor and outlives the children, so a client
// that calls while there is none waits in its queue for the next.
type Supervisor struct {
	opts    Options
	secrets Secrets
	log     *slog.Logger
	metrics *metrics
	ln      *net.TCPListener

	ready     chan struct{} // closed when a child has served for the first time
	readyOnce sync.Once
	pid       atomic.Int64
}

const (
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
	healthyAfter = 30 * time.Second // of service: the next crash is a first one again
	startTimeout = 5 * time.Minute  // for a child to load its tables
)

// NewSupervisor takes a loopback port; the first child starts in Run. A nil logger discards, a nil registerer keeps the
// metrics to itself.
func NewSupervisor(opts Options, log *slog.Logger, reg prometheus.Registerer) (*Supervisor, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if len(opts.Command) == 0 {
		return nil, errors.New("engine command not set")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	// SECURITY: loopback only, and every request needs a secret that only this process and the child know.
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("engine listener: %w", err)
	}
	s := &Supervisor{opts: opts.withDefaults(), secrets: NewSecrets(), log: log, ln: ln, ready: make(chan struct{})}
	s.metrics = newMetrics(reg, s.PID)
	return s, nil
}

// Addr is the engine's host and port, the same for the life of the supervisor.
func (s *Supervisor) Addr() string { return s.ln.Addr().String() }

// Ready is closed once a child serves for the first time.
func (s *Supervisor) Ready() <-chan struct{} { return s.ready }

// PID is the process id of the child, 0 while there is none.
func (s *Supervisor) PID() int { return int(s.pid.Load()) }

// WriterOptions connect clickhouse-go as the identity that may do everything.
func (s *Supervisor) WriterOptions() *clickhouse.Options {
	return s.clientOptions(WriterUser, s.secrets.Writer)
}

// ReaderOptions connect clickhouse-go as the identity under readonly=1.
func (s *Supervisor) ReaderOptions() *clickhouse.Options {
	return s.clientOptions(ReaderUser, s.secrets.Reader)
}

func (s *Supervisor) clientOptions(user, password string) *clickhouse.Options {
	return &clickhouse.Options{
		Protocol:     clickhouse.HTTP,
		Addr:         []string{s.Addr()},
		Auth:         clickhouse.Auth{Database: "default", Username: user, Password: password},
		DialTimeout:  10 * time.Second,
		ReadTimeout:  30 * time.Minute, // an answer begins when its statement has something to say; contexts set the pace
		MaxOpenConns: s.opts.MaxStatements,
		MaxIdleConns: s.opts.MaxStatements,
	}
}

// Run keeps a child running until ctx is done, then stops it and waits for its end. It returns nil after an ordered stop,
// and at once with ErrLibraryMissing, ErrLibraryVersion or ErrDataDirLocked, which no restart cures. It may be called once.
func (s *Supervisor) Run(ctx context.Context) error {
	defer s.ln.Close()
	backoff := minBackoff
	for {
		served, err := s.runChild(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, final := range fatalKinds {
			if errors.Is(err, final) {
				return err
			}
		}
		if served > healthyAfter {
			backoff = minBackoff
		}
		s.log.Error("engine ended, restarting", "err", err, "backoff", backoff)
		s.metrics.restarts.Inc()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// child is one running engine process.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan struct{} // closed at the event ready
	fatal error         // set before ended closes
	ended chan struct{} // closed when the process is gone
	err   error         // set before ended closes
}

// runChild starts a child and returns when it has ended, with the time it served.
func (s *Supervisor) runChild(ctx context.Context) (served time.Duration, err error) {
	c, err := s.start()
	if err != nil {
		return 0, err
	}
	s.pid.Store(int64(c.cmd.Process.Pid))
	defer s.pid.Store(0)
	starting := time.NewTimer(startTimeout)
	defer starting.Stop()
	ready := c.ready
	var since time.Time
	for {
		select {
		case <-ready:
			ready, since = nil, time.Now()
			starting.Stop()
			s.metrics.up.Set(1)
			defer s.metrics.up.Set(0)
			s.readyOnce.Do(func() { close(s.ready) })
			s.log.Info("engine serves", "addr", s.Addr(), "pid", c.cmd.Process.Pid)
		case <-starting.C:
			s.log.Error("engine does not start, killing it", "timeout", startTimeout)
			_ = c.cmd.Process.Kill()
		case <-ctx.Done():
			s.stop(c)
			return 0, nil
		case <-c.ended:
			if !since.IsZero() {
				served = time.Since(since)
			}
			if c.fatal != nil {
				return served, c.fatal
			}
			return served, fmt.Errorf("engine: %w", c.err)
		}
	}
}

func (s *Supervisor) start() (*child, error) {
	ln, err := s.ln.File()
	if err != nil {
		return nil, fmt.Errorf("engine listener: %w", err)
	}
	defer ln.Close()
	cmd := exec.Command(s.opts.Command[0], s.opts.Command[1:]...)
	cmd.ExtraFiles = []*os.File{ln} // file descriptor 3
	// A terminal's Ctrl-C goes to the whole process group; the engine must outlive the parent's own shutdown.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append(os.Environ(), "TZ=UTC")
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	stderr, err3 := cmd.StderrPipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if err := s.startBehind(cmd); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	c := &child{cmd: cmd, stdin: stdin, ready: make(chan struct{}), ended: make(chan struct{})}
	// A child that dies at once breaks this pipe; its end tells the reason.
	_ = json.NewEncoder(stdin).Encode(childConfig{s.opts, s.secrets})
	go func() {
		var readers sync.WaitGroup
		readers.Go(func() { s.readEvents(c, stdout) })
		readers.Go(func() { s.readLog(stderr) })
		readers.Wait()
		if c.err = cmd.Wait(); c.err == nil {
			c.err = errors.New("ended without an order")
		}
		_ = stdin.Close()
		close(c.ended)
	}()
	return c, nil
}

// startBehind starts cmd with the lower priority of the options. Niceness is a thread's, and what a thread starts inherits
// it: so a thread that is lowered for this starts the child, and ends. Lowering the child once it runs would miss threads
// that it is just making.
func (s *Supervisor) startBehind(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: without privileges its priority cannot be raised again
		if syscall.Gettid() == os.Getpid() {
			// The main thread does not end, and its priority is shown as the process's. Kept here, it is not the next one.
			defer runtime.UnlockOSThread()
			started <- s.startBehind(cmd)
			return
		}
		if err := standBack(s.opts.Nice); err != nil {
			s.log.Warn("engine keeps the priority of its parent", "err", err)
		}
		started <- cmd.Start()
	}()
	return <-started
}

// standBack adds to the niceness of the calling thread.
func standBack(nice int) error {
	const worst = 19
	raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0) // 20 less the niceness: the kernel's own answer
	if err != nil {
		return err
	}
	return syscall.Setpriority(syscall.PRIO_PROCESS, 0, min(20-raw+nice, worst))
}

// readEvents takes the child's events until it ends. The library may print lines of its own.
func (s *Supervisor) readEvents(c *child, r io.Reader) {
	defer io.Copy(io.Discard, r) //nolint:errcheck // a line too long to scan must not block the child
	for sc := bufio.NewScanner(r); sc.Scan(); {
		var e event
		switch json.Unmarshal(sc.Bytes(), &e); e.Event {
		case "ready":
			close(c.ready)
		case "fatal":
			c.fatal = &startError{fatalKinds[e.Kind], e.Error}
		default:
			s.log.Warn("engine says", "line", sc.Text())
		}
	}
}

func (s *Supervisor) readLog(r io.Reader) {
	defer io.Copy(io.Discard, r) //nolint:errcheck // as above
	for sc := bufio.NewScanner(r); sc.Scan(); {
		s.log.Warn("engine says", "line", sc.Text())
	}
}

// startError is a final error told by the child, in its own words.
type startError struct {
	kind error
	text string
}

func (e *startError) Error() string { return e.text }
func (e *startError) Unwrap() error { return e.kind }

// stop orders the child to stop and kills it when it does not.
func (s *Supervisor) stop(c *child) {
	_ = c.stdin.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(3*s.opts.StopTimeout + 5*time.Second):
		s.log.Error("engine does not stop, killing it")
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}
