package main

import "testing"

// TestG3PortsAreOTLPs: the defaults of every exporter (H2 for HTTP).
func TestG3PortsAreOTLPs(t *testing.T) {
	c := DefaultConfig()
	if c.OTLPGRPC != "127.0.0.1:4317" || c.OTLPHTTP != "127.0.0.1:4318" {
		t.Errorf("gRPC at %s, HTTP at %s", c.OTLPGRPC, c.OTLPHTTP)
	}
}
