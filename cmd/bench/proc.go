package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/mem"
)

// stat returns the fields of /proc/<pid>/stat from the third on (proc(5)); nil for a process that is gone.
func stat(pid int) []string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return strings.Fields(rest)
}

func field(fields []string, i int) int64 {
	if i >= len(fields) {
		return 0
	}
	n, _ := strconv.ParseInt(fields[i], 10, 64)
	return n
}

// cpu returns user and system time of a process so far, in steps of 10 ms.
func cpu(pid int) time.Duration {
	f := stat(pid)
	return time.Duration(field(f, 11)+field(f, 12)) * 10 * time.Millisecond
}

// rss returns the resident memory of a process in bytes.
func rss(pid int) int64 { return field(stat(pid), 21) * int64(os.Getpagesize()) }

// peakRSS returns the largest resident memory that a process has had, in bytes (VmHWM of proc(5)).
func peakRSS(pid int) int64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	kib, _ := strconv.ParseInt(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]), 10, 64)
	return kib << 10
}

// childOf returns the one child process of a process.
func childOf(parent int) (int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if f := stat(pid); field(f, 1) == int64(parent) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d has no child: is the embedded engine running?", parent)
}

// bytesCodec sends messages, without copying them, and receives bytes.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	m := v.(message)
	return mem.BufferSlice{mem.SliceBuffer(m.body), mem.SliceBuffer(m.suffix)}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
