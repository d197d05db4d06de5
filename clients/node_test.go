package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// nodeSDK is the exporters of the Node SDK, in a process of their own. wire is proto, json or grpc.
func nodeSDK(wire string) client {
	return client{"node " + wire, func(ctx context.Context, to target, p plan, t *tally) error {
		text, err := json.Marshal(p.toScript())
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "node", filepath.Join("node", "send.mjs"), wire, string(text))
		endpoint := to.url(to.http)
		if wire == "grpc" {
			endpoint = to.url(to.grpc)
		}
		cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
			"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20"+to.key)
		if to.ca != "" {
			cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_CERTIFICATE="+to.ca)
		}
		var problem bytes.Buffer
		cmd.Stderr = &problem
		cmd.WaitDelay = time.Second
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			if err := t.saidByScript(lines.Bytes()); err != nil {
				t.because("node printed " + lines.Text())
			}
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("node: %w: %s", err, problem.String())
		}
		return lines.Err()
	}}
}

// nodeReady reports why the Node clients cannot run, or nothing.
func nodeReady() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "node is not installed"
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules")); err != nil {
		return "run npm ci in clients/node"
	}
	return ""
}

// toScript is the plan as node/drive.mjs reads it.
func (p plan) toScript() map[string]any {
	return map[string]any{
		"signals": p.signals, "batches": p.batches, "records": p.records, "bad": p.bad, "pad": p.pad, "workers": p.workers,
		"pace": p.pace.Milliseconds(), "finish": p.finish.Milliseconds(),
	}
}

// saidByScript takes over what node/drive.mjs reports.
func (t *tally) saidByScript(text []byte) error {
	var said struct {
		Sent, Acked, Rejected, Retried, Dropped, Held int
		Batches                                       []int
		Reasons                                       map[string]int
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return err
	}
	t.count(func(t *tally) {
		t.sent, t.acked, t.rejected, t.retried = said.Sent, said.Acked, said.Rejected, said.Retried
		t.dropped, t.held, t.batches, t.reasons = said.Dropped, said.Held, said.Batches, said.Reasons
	})
	return nil
}
