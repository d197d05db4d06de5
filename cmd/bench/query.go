package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// query runs a query over all that otlpgen makes and returns its rows as NDJSON.
func (s *server) query(ctx context.Context, key, text string) ([]byte, error) {
	body, err := json.Marshal(map[string]string{
		"query": text, "format": "ndjson", "start": "2026-09-01T00:00:00Z", "end": "2026-09-02T00:00:00Z",
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api+"/api/v1/query", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	return answer(req)
}

// answer sends a request and returns the body of a good answer.
func answer(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, raw)
	}
	return raw, err
}

// logs counts the log records that a key may read.
func (s *server) logs(ctx context.Context, key string) (int64, error) {
	raw, err := s.query(ctx, key, "logs | count")
	if err != nil {
		return 0, err
	}
	var row struct {
		Count json.Number
	}
	if err := json.Unmarshal(raw, &row); err != nil {
		return 0, fmt.Errorf("%q: %w", raw, err)
	}
	return row.Count.Int64()
}

// metric returns the value of a metric without labels.
func (s *server) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.telemetry+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	raw, err := answer(req)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// stored polls until at most so many requests are still in the log alone.
func (s *server) stored(ctx context.Context, most float64) error {
	const patience = 20 * time.Minute
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		got, err := s.metric(ctx, "headgate_storage_log_requests")
		if err != nil || got <= most {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%v requests are not stored after %v", got, patience)
		}
	}
}
