package engine_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
)

func BenchmarkSelectOne(b *testing.B) {
	conn := chtest.Start(b).Open(b, "")
	for b.Loop() {
		mustExec(b, conn, "SELECT 1")
	}
}

// A body of Native blocks into a table that drops them: the cost of the way in.
func BenchmarkInsertNative(b *testing.B) {
	conn := chtest.Start(b).Open(b, "")
	mustExec(b, conn, "CREATE TABLE IF NOT EXISTS bench_void (a UInt64, s String) ENGINE = Null")
	r, err := conn.QueryFormat(b.Context(), "Native", "SELECT number AS a, toString(number) AS s FROM numbers(100000)")
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		b.Fatal(err)
	}
	_ = r.Close()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := conn.InsertFormat(b.Context(), "Native", "INSERT INTO bench_void", bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
}

// A streamed result: the cost of the way out.
func BenchmarkQueryNative(b *testing.B) {
	conn := chtest.Start(b).Open(b, "")
	for b.Loop() {
		r, err := conn.QueryFormat(b.Context(), "Native", "SELECT number FROM numbers(10000000)")
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
		_ = r.Close()
	}
}
