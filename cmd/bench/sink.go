package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// sinkDelay is about how long headgate lets a sender wait that wastes its work.
const sinkDelay = time.Second

// runSink is a server that does nothing with what it is sent: it reads a request, drops it, and says 503 after a while. The
// first line that it prints is its address. What a neighbour suffers beside attackers of it is what the machine that they
// all share costs: the work of the attackers themselves, of the kernel for their connections, of the load generator.
func runSink(ctx context.Context, _ options, stdout io.Writer) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "http://%s\n", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go drop(c)
	}
}

// drop serves one connection of a sink.
func drop(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		time.Sleep(sinkDelay)
		if _, err := io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

// startSink runs a sink as a process of its own, and returns its address and what ends it.
func startSink(ctx context.Context) (addr string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, os.Args[0], "-sink")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(pipe).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("start a sink: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}
