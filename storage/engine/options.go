package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// WriterUser may run any statement; ReaderUser runs under readonly=1.
const (
	WriterUser = "headgate"
	ReaderUser = "reader"
)

// Options say how an engine runs. The zero value of every field but DataDir is usable.
type Options struct {
	// DataDir is the engine's own directory; it is made if need be. One engine at a time may use it.
	DataDir string
	// Library is the path of libchdb.so; "" searches as FindLibrary does.
	Library string
	// UsersFile is a ClickHouse users configuration for the user "default", which both identities are to the engine: row
	// policies go there. "" is no policy.
	UsersFile string
	// OwnComment is the setting log_comment of what WriterUser and the engine itself run, for policies of UsersFile that let
	// pass who has it. It must be a secret then; it reaches the child with its configuration. "" is none.
	OwnComment string
	// MemoryBytes bounds what statements, merges and caches may hold together; the process needs about 200 MB on top. 0 is
	// half of the machine's memory.
	MemoryBytes int64
	// StatementMemoryBytes bounds one statement that does not set max_memory_usage itself. 0 is half of MemoryBytes.
	StatementMemoryBytes int64
	// Threads bounds the threads of one statement and sizes the background pools. 0 is the number of CPUs.
	Threads int
	// MaxStatements run at a time, 0 is 16; MaxWaiting more may wait for a place for MaxWait, 0 is 256 and 10 s. Others get
	// TOO_MANY_SIMULTANEOUS_QUERIES.
	MaxStatements int
	MaxWaiting    int
	MaxWait       time.Duration
	// StallTimeout ends a request whose client neither sends nor takes a byte for so long. 0 is 5 minutes.
	StallTimeout time.Duration
	// StopTimeout is how long running statements may go on after the order to stop. 0 is 10 s.
	StopTimeout time.Duration

	// Nice is added to the child's niceness, 0 to 19: how far it stands back when processors are scarce. Only the Supervisor
	// uses it.
	Nice int `json:"-"`
	// Command starts the child: a program that calls Main, and its arguments. Only the Supervisor uses it.
	Command []string `json:"-"`
}

func (o Options) withDefaults() Options {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = machineMemory() / 2
	}
	setDefault(&o.StatementMemoryBytes, o.MemoryBytes/2)
	setDefault(&o.Threads, runtime.NumCPU())
	setDefault(&o.MaxStatements, 16)
	setDefault(&o.MaxWaiting, 256)
	setDefault(&o.MaxWait, 10*time.Second)
	setDefault(&o.StallTimeout, 5*time.Minute)
	setDefault(&o.StopTimeout, 10*time.Second)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// minMemoryBytes is the least an engine is of use with.
const minMemoryBytes = 256 << 20

// Validate returns all that is wrong with o.
func (o Options) Validate() error {
	var errs []error
	if o.DataDir == "" {
		errs = append(errs, errors.New("engine data directory not set"))
	}
	if o.MemoryBytes != 0 && o.MemoryBytes < minMemoryBytes {
		errs = append(errs, fmt.Errorf("engine memory %d bytes: want at least %d", o.MemoryBytes, minMemoryBytes))
	}
	for name, n := range map[string]int64{
		"statement memory": o.StatementMemoryBytes, "threads": int64(o.Threads), "statements": int64(o.MaxStatements),
		"waiting statements": int64(o.MaxWaiting), "wait": int64(o.MaxWait), "stall timeout": int64(o.StallTimeout), "stop timeout": int64(o.StopTimeout),
	} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("engine %s %d: want none or more than zero", name, n))
		}
	}
	if o.Nice < 0 || o.Nice > 19 {
		errs = append(errs, fmt.Errorf("engine nice %d: want 0 to 19", o.Nice))
	}
	return errors.Join(errs...)
}

// bootArgs are the arguments of the connection that boots the engine: server settings, sized for a machine that runs
// other things too. The engine's own defaults let its caches grow to 5 GB each.
func (o Options) bootArgs(configFile string) []string {
	cache := strconv.FormatInt(min(o.MemoryBytes/16, 1<<30), 10)
	pool := strconv.Itoa(max(2, o.Threads))
	return append(o.connArgs(),
		"--config-file="+configFile,
		"--max_server_memory_usage="+strconv.FormatInt(o.MemoryBytes, 10),
		"--mark_cache_size="+cache,
		"--index_mark_cache_size="+cache,
		"--primary_index_cache_size="+cache,
		"--vector_similarity_index_cache_size=0",
		"--text_index_tokens_cache_size="+cache,
		"--text_index_header_cache_size="+cache,
		"--text_index_postings_cache_size="+cache,
		"--background_pool_size="+pool,
		"--background_schedule_pool_size="+pool,
		"--max_io_thread_pool_size="+strconv.Itoa(4*max(4, o.Threads)),
		"--max_thread_pool_size=1000",
	)
}

// connArgs are the arguments of every connection: the defaults that a request's settings may change. The library turns
// on a few conveniences of clickhouse-local, which a server does not have.
func (o Options) connArgs() []string {
	return []string{
		"--path=" + o.storePath(),
		"--max_threads=" + strconv.Itoa(o.Threads),
		"--max_memory_usage=" + strconv.FormatInt(o.StatementMemoryBytes, 10),
		"--implicit_select=0",
		"--allow_introspection_functions=0",
	}
}

// ownArgs are connArgs for what may see every row.
func (o Options) ownArgs() []string {
	if o.OwnComment == "" {
		return o.connArgs()
	}
	return append(o.connArgs(), "--log_comment="+o.OwnComment)
}

func (o Options) storePath() string { return filepath.Join(o.DataDir, "store") }

var memTotalRe = regexp.MustCompile(`(?m)^MemTotal:\s+(\d+) kB`)

// machineMemory is the memory in bytes that this process may use: that of its control group, else of the machine.
func machineMemory() int64 {
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
			return n
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if m := memTotalRe.FindSubmatch(b); m != nil {
			if kb, err := strconv.ParseInt(string(m[1]), 10, 64); err == nil {
				return kb << 10
			}
		}
	}
	return 2 * minMemoryBytes
}
