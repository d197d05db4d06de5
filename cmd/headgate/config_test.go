package main

import "testing"

// TestG3PortsAreOTLPs: the defaults of every exporter (H2 for HTTP).
func TestG3PortsAreOTLPs(t *testing.T) {
	c := DefaultConfig()
	if c.OTLPGRPC != "127.0.0.1:4317" || c.OTLPHTTP != "127.0.0.1:4318" {
		t.Errorf("gRPC at %s, HTTP at %s", c.OTLPGRPC, c.OTLPHTTP)
	}
}

func TestMeasuredBytesAreShownInFewDigits(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 99: "99B", 1 << 20: "1MiB", 42959236 << 10: "41952MiB", 150<<30 + 1: "150GiB", 102399: "102399B", 200<<20 + 7: "200MiB",
	} {
		if got := roughBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
