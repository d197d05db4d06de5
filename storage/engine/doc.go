// Package engine is ClickHouse as a child process: a host that loads libchdb and serves the ClickHouse HTTP interface on a
// loopback address, and the Supervisor that starts, restarts and stops it.
//
//	headgate serve                                   headgate engine (child)
//	┌───────────────────────────┐                    ┌──────────────────────────────┐
//	│ clickhouse-go ── HTTP ────┼── listener (fd 3) ─┼─> Serve ── libchdb ── files   │
//	│ Supervisor ── stdin ──────┼── config, secrets ─┼─> Main    (one data dir,      │
//	│            <─ stdout ─────┼── ready | fatal ───┼──          one lock)          │
//	└───────────────────────────┘                    └──────────────────────────────┘
//
// Promises:
//   - clickhouse-go with Protocol HTTP works as against a server: queries, parameters, settings, batches, raw formats,
//     LZ4 and ZSTD blocks, exception codes and HTTP statuses. What has no equivalent (sessions, external tables) is refused
//     with an exception, never ignored.
//   - A crash of the engine is an outage of ClickHouse and nothing more: the address and the secrets outlive it, so that a
//     connection pool finds the next child by itself.
//   - The child ends when its parent does, however that ends: it stops at the end of its standard input.
//   - Bodies and results stream; memory, threads and concurrent statements are bounded by Options.
//
// Two identities with secrets made anew at each start: WriterUser may do everything; ReaderUser runs under readonly=1.
//
// Everything exported is safe for concurrent use unless it says otherwise. Linux only.
package engine
