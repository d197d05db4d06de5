package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// attack is one way to misbehave.
type attack struct {
	name     string
	senders  int
	encoding string        // of content
	content  func() []byte // of each request; nil: run says
	json     bool
	run      func(s *sender) (string, error) // sends one request and returns what became of it
}

const limit = 64 << 20 // the default of --max-body

var attacks = []attack{
	{name: "object bomb, 64 MiB of empty records, once at a time", senders: 1, content: emptyRecords},
	{name: "object bomb, 16 senders", senders: 16, content: emptyRecords},
	{name: "object bomb, gzip, once at a time", senders: 1, encoding: "gzip", content: emptyRecords},
	{name: "object bomb, gzip, 200 senders", senders: 200, encoding: "gzip", content: emptyRecords},
	{name: "object bomb, gzip, 1000 senders", senders: 1000, encoding: "gzip", content: emptyRecords},
	{name: "object bomb, JSON", senders: 200, encoding: "gzip", json: true, content: emptyJSON},
	{name: "zeros, 256 MiB, gzip", senders: 200, encoding: "gzip", content: zeros},
	{name: "zeros, 256 MiB, zstd", senders: 200, encoding: "zstd", content: zeros},
	{name: "zeros, 256 MiB, deflate", senders: 200, encoding: "deflate", content: zeros},
	{name: "zeros, 256 MiB, lz4", senders: 50, encoding: "lz4", content: zeros},
	{name: "zeros, 256 MiB, x-snappy-framed", senders: 20, encoding: "x-snappy-framed", content: zeros},
	{name: "snappy block that claims 64 MiB", senders: 200, encoding: "raw-snappy", content: claimedSnappy},
	{name: "zstd frame that claims a window of 8 MiB", senders: 200, encoding: "raw-zstd", content: claimedZstd},
	{name: "value nested 200,000 deep", senders: 50, encoding: "gzip", content: nested},
	{name: "JSON nested 10,000,000 deep", senders: 50, encoding: "gzip", json: true, content: nestedJSON},
	{name: "lengths that lie", senders: 200, content: lies},
	{name: "slow writers of 64 MiB", senders: 3000, run: (*sender).trickle},
	{name: "slow readers", senders: 500, run: (*sender).deaf},
	{name: "unknown keys", senders: 200, run: (*sender).guess},
}

// emptyRecords is an export request of logs that is 32 million records of two bytes.
func emptyRecords() []byte {
	return wrap(bytes.Repeat([]byte{0x12, 0}, limit/2-32), 2, 1)
}

func emptyJSON() []byte {
	return []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Repeat("{},", limit/3-40) + `{}]}]}]}`)
}

func zeros() []byte { return make([]byte, 256<<20) }

// claimedSnappy is a block of four bytes whose header says 64 MiB less one.
func claimedSnappy() []byte { return []byte{0xff, 0xff, 0xff, 0x1f, 0, 'x', 'y', 'z'} }

// claimedZstd is the head of a frame with a window of 8 MiB, and a raw block that is not there (RFC 8878, 3.1.1).
func claimedZstd() []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0xff, 0xff} }

func nested() []byte {
	var out []byte
	// AnyValue{array_value: ArrayValue{values: AnyValue{…}}}, the lengths of all levels computed from the end.
	size, levels := 0, make([]int, 0, 400_000)
	for range 200_000 {
		levels = append(levels, size)
		size += 1 + varintBytes(size)
		levels = append(levels, size)
		size += 1 + varintBytes(size)
	}
	for i := len(levels) - 1; i >= 0; i-- {
		tag := byte(0x2a) // AnyValue.array_value
		if i%2 == 0 {
			tag = 0x0a // ArrayValue.values
		}
		out = appendVarint(append(out, tag), levels[i])
	}
	return wrap(out, 5, 2, 2, 1)
}

func nestedJSON() []byte {
	return []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":` + strings.Repeat(`{"arrayValue":{"values":[`, 2_500_000))
}

// lies is a request whose innermost field says that it is longer than any machine's memory.
func lies() []byte {
	return append(wrap(nil, 2, 1), 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x0a)
}

// wrap puts b into fields with the given numbers, the first innermost.
func wrap(b []byte, numbers ...byte) []byte {
	for _, n := range numbers {
		b = append(appendVarint([]byte{n<<3 | 2}, len(b)), b...)
	}
	return b
}

func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b, n = append(b, byte(n)|0x80), n>>7
	}
	return append(b, byte(n))
}

func varintBytes(n int) int { return len(appendVarint(nil, n)) }

func compress(encoding string, b []byte) []byte {
	var buf bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&buf)
	case "deflate":
		w = zlib.NewWriter(&buf)
	case "lz4":
		w = lz4.NewWriter(&buf)
	case "x-snappy-framed":
		w = s2.NewWriter(&buf, s2.WriterSnappyCompat())
	case "zstd":
		w, _ = zstd.NewWriter(&buf)
	default:
		return b
	}
	_, _ = w.Write(b)
	_ = w.Close()
	return buf.Bytes()
}

// sender is one attacker on a connection of its own.
type sender struct {
	ctx     context.Context
	addr    string
	key     string
	request []byte
	conn    net.Conn
	answers *bufio.Reader
	n       int
}

// runAttack is the attackers' process: it prepares, says so in a line, attacks for the duration and tells the outcome in
// JSON.
func runAttack(ctx context.Context, o options, stdout io.Writer) error {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19)
	i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == o.attack })
	if i < 0 {
		return fmt.Errorf("no attack %q", o.attack)
	}
	a := attacks[i]
	var request []byte
	if a.content != nil {
		body := compress(a.encoding, a.content())
		request = append(head(o.key, strings.TrimPrefix(a.encoding, "raw-"), a.json, len(body)), body...)
	}
	fmt.Fprintln(stdout, "ready")
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var mu sync.Mutex
	got, took := outcome{Answers: map[string]int{}}, []time.Duration(nil)
	run := a.run
	if run == nil {
		run = (*sender).send
	}
	var wg sync.WaitGroup
	for i := range a.senders {
		wg.Go(func() {
			s := &sender{ctx: ctx, addr: strings.TrimPrefix(o.target, "http://"), key: o.key, request: request, n: i}
			defer s.hangUp()
			for ctx.Err() == nil {
				begin := time.Now()
				answer, err := run(s)
				if errors.Is(err, os.ErrDeadlineExceeded) || err != nil && ctx.Err() != nil {
					return // the attack is over
				}
				if err != nil {
					s.hangUp()
					answer = "broken off: " + reason(err)
				}
				mu.Lock()
				got.Answers[answer]++
				took = append(took, time.Since(begin))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if slices.Sort(took); len(took) > 0 {
		got.Fastest, got.Median, got.Slowest = took[0], took[len(took)/2], took[len(took)-1]
	}
	return json.NewEncoder(stdout).Encode(got)
}

// reason is the innermost error: the outer ones name ports.
func reason(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err.Error()
}

func head(key, encoding string, json bool, length int) []byte {
	contentType := "application/x-protobuf"
	if json {
		contentType = "application/json"
	}
	h := fmt.Sprintf("POST /v1/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", key, contentType, length)
	if encoding != "" {
		h += "Content-Encoding: " + encoding + "\r\n"
	}
	return []byte(h + "\r\n")
}

func (s *sender) dial() error {
	if s.conn != nil {
		return nil
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}} // not the neighbour's
	c, err := d.DialContext(s.ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	deadline, _ := s.ctx.Deadline()
	_ = c.SetDeadline(deadline)
	s.conn, s.answers = c, bufio.NewReader(c)
	return nil
}

func (s *sender) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// send sends the request and reads the answer.
func (s *sender) send() (string, error) { return s.exchange(s.request) }

// exchange reads the answer while it writes, as agents do, and does not end what is answered before.
func (s *sender) exchange(request []byte) (string, error) {
	if err := s.dial(); err != nil {
		return "", err
	}
	written := make(chan error, 1)
	go func(c net.Conn) {
		_, err := c.Write(request)
		written <- err
	}(s.conn)
	answer, err := s.answer()
	select {
	case failed := <-written:
		if err == nil && failed != nil {
			s.hangUp()
		}
	default:
		s.hangUp()
		<-written
	}
	return answer, err
}

func (s *sender) answer() (string, error) {
	resp, err := http.ReadResponse(s.answers, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", err
	}
	if resp.Close {
		s.hangUp()
	}
	return resp.Status, nil
}

// trickle announces 64 MiB and sends a byte per second.
func (s *sender) trickle() (string, error) {
	if err := s.dial(); err != nil {
		return "", err
	}
	if _, err := s.conn.Write(head(s.key, "", false, limit)); err != nil {
		return "", err
	}
	go func(c net.Conn) {
		for t := time.NewTicker(time.Second); ; {
			select {
			case <-s.ctx.Done():
				return
			case <-t.C:
				if _, err := c.Write([]byte{0x0a}); err != nil {
					return
				}
			}
		}
	}(s.conn)
	answer, err := s.answer()
	s.hangUp()
	return answer, err
}

// deaf sends requests that are answered at length, as long as the connection takes them, and reads nothing.
func (s *sender) deaf() (string, error) {
	if err := s.dial(); err != nil {
		return "", err
	}
	request := append(head(s.key, "", true, 1), 'x')
	for s.ctx.Err() == nil {
		if _, err := s.conn.Write(request); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			return "cut off", nil
		}
	}
	<-s.ctx.Done()
	return "not read until the end", nil
}

// guess tries keys.
func (s *sender) guess() (string, error) {
	s.n++
	key := fmt.Sprintf("hg_01M80NR5CA4EKNE2MCQ617%04d_%040d", s.n%10000, s.n)
	return s.exchange(append(head(key, "", false, 2), 0x0a, 0))
}
