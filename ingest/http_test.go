package ingest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/storage/schema"
)

// TestH4WrongPathsNameTheRightOnes, in the request's encoding.
func TestH4WrongPathsNameTheRightOnes(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for _, path := range []string{"/", "/v1", "/v1/log", "/otlp/v1/logs", "/v1/profiles", "/v1development/profiles", "/v1/logs/x"} {
		for _, contentType := range []string{protoType, jsonType} {
			st := wantStatus(t, g.post(path, strings.NewReader("{}"), "key", key, "Content-Type", contentType), 404, contentType, "not-found")
			if !strings.Contains(st.GetMessage(), "/v1/traces") || strings.Contains(path, "development") && !strings.Contains(st.GetMessage(), "profiles") {
				t.Errorf("%s: %q", path, st.GetMessage())
			}
		}
	}
}

func TestH3SlashesDoNotMatter(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for _, path := range []string{"/v1/logs/", "//v1/logs", "/v1//logs//"} {
		want200(t, g.post(path, strings.NewReader("{}"), "key", key, "Content-Type", jsonType), jsonType, "{}")
	}
}

// TestH31ProbesAreAnswered without a key, and without counting as requests.
func TestH31ProbesAreAnswered(t *testing.T) {
	g := start(t, Options{})
	for _, client := range []*http.Client{http.DefaultClient, http2Client(t)} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, path := range []string{"/", "/healthz"} {
				req, _ := http.NewRequestWithContext(t.Context(), method, g.http+path, nil)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("%s %s: %d", method, path, resp.StatusCode)
				}
			}
		}
	}
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "headgate_ingest_requests_total" {
			t.Errorf("probes are counted: %v", f)
		}
	}
}

// TestH9OtherMethodsAreNotAllowed: HEAD without a body, all with Allow.
func TestH9OtherMethodsAreNotAllowed(t *testing.T) {
	g := start(t, Options{})
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"} {
		req, _ := http.NewRequestWithContext(t.Context(), method, g.http+"/v1/logs", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" || (method == "HEAD") != (len(body) == 0) {
			t.Errorf("%s: %d, Allow %q, %q", method, resp.StatusCode, resp.Header.Get("Allow"), body)
		}
	}
}

// TestH19WhatIsNoRequestGetsAStatusToo: answers that fasthttp makes itself.
func TestH19WhatIsNoRequestGetsAStatusToo(t *testing.T) {
	g := start(t, Options{})
	for sent, want := range map[string]int{
		"nonsense\r\n\r\n": 400,
		"POST /v1/logs HTTP/1.1\r\nbad header\r\n\r\n":                                                 400,
		"POST /v1/logs HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", maxHeaderBytes1) + "\r\n\r\n": 431,
	} {
		c := dialRaw(t, g.http)
		fmt.Fprint(c, sent)
		a := readAnswer(t, bufio.NewReader(c))
		id := map[int]string{400: "malformed", 431: "headers-too-large"}[want]
		wantStatus(t, a, want, jsonType, id)
	}
}

// TestH20BadDataSaysWhatIsBad in a BadRequest detail, that clients parse.
func TestH20BadDataSaysWhatIsBad(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	st := wantStatus(t, g.post("/v1/logs", strings.NewReader("\xff"), "key", key, "Content-Type", protoType), 400, protoType, "undecodable")
	found := false
	for _, d := range st.GetDetails() {
		var bad errdetails.BadRequest
		if d.UnmarshalTo(&bad) == nil {
			found = len(bad.GetFieldViolations()) == 1 && bad.GetFieldViolations()[0].GetDescription() != ""
		}
	}
	if !found {
		t.Errorf("details: %v", st.GetDetails())
	}
}

// TestH14AnswersAreSmall: however long the text, an error stays far below what the collector reads (64 KiB), a partial
// success below the 4 MiB of the specification, and the counts are kept.
func TestH14AnswersAreSmall(t *testing.T) {
	long := strings.Repeat("x", 8<<20)
	for _, f := range []*failure{fail(undecodable, "%s", long), retryable(unavailable, long)} {
		raw, err := proto.Marshal(f.status())
		text, err2 := protojson.Marshal(f.status())
		if err != nil || err2 != nil || len(raw) > 8<<10 || len(text) > 8<<10 {
			t.Errorf("%s: %d and %d bytes, %v, %v", f.id, len(raw), len(text), err, err2)
		}
	}
	for _, enc := range []encoding{protobuf, jsonEncoding} {
		for _, sig := range []otlp.Signal{otlp.Logs, otlp.Traces, otlp.Metrics} {
			raw, err := encodeResponse(sig, enc, partial{rejected: 3, message: strings.Repeat("é", 8<<20)})
			if err != nil || len(raw) > 64<<10 || enc == jsonEncoding && !bytes.Contains(raw, []byte(`:"3"`)) {
				t.Errorf("%s: %d bytes, %v", sig, len(raw), err)
			}
		}
	}
}

// TestA1EveryPlaceForAKey on both transports.
func TestA1EveryPlaceForAKey(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	raw := encode(t, logs(1), protobuf)
	places := [][2]string{{"authorization", "Bearer " + key}, {"authorization", "ApiKey " + key}, {"authorization", key}, {"x-api-key", key}, {"api-key", key}}
	for _, h := range places {
		want200(t, g.post("/v1/logs", bytes.NewReader(raw), h[0], h[1], "Content-Type", protoType), protoType, "")
		if a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(0, raw)), h[0], h[1]); a.code != 0 {
			t.Errorf("grpc %s: %v %s", h[0], a.code, a.message)
		}
	}
	if n := g.rows(schema.Logs, id); n != uint64(2*len(places)) {
		t.Errorf("%d rows, want %d", n, 2*len(places))
	}
	_, other := g.tenant("other", auth.NewTenant{})
	wantStatus(t, g.post("/v1/logs", bytes.NewReader(raw), "api-key", key, "x-api-key", other, "Content-Type", protoType), 401, protoType, "credential-ambiguous")
}

// TestX9LabelsAreOurs: nothing that a client sends becomes a label.
func TestX9LabelsAreOurs(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for _, path := range []string{"/canary", "/v1/logs/canary", "/v1/canary"} {
		g.post(path, strings.NewReader("canary"), "key", key, "Content-Type", "canary/canary", "User-Agent", "canary", "Content-Encoding", "canary")
	}
	req, _ := http.NewRequestWithContext(t.Context(), "CANARY", g.http+"/v1/logs", nil)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
	callGRPC(t, "http://"+g.grpc, strings.NewReader("canary"), "key", key, "Grpc-Encoding", "canary")
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(strings.ToLower(f.String()), "canary") {
			t.Errorf("a client chose a label: %v", f)
		}
	}
}

// TestH1PathsMayHaveAPrefix that a proxy left there, and are served without it too.
func TestH1PathsMayHaveAPrefix(t *testing.T) {
	g := start(t, Options{PathPrefix: "/otlp"})
	_, key := g.tenant("acme", auth.NewTenant{})
	for path, want := range map[string]int{
		"/otlp/v1/logs": 200, "//otlp//v1/logs/": 200, "/v1/logs": 200, "/otlp/otlp/v1/logs": 404, "/otlpv1/logs": 404, "/otlp": 404, "/x/v1/logs": 404,
	} {
		if a := g.post(path, strings.NewReader("{}"), "key", key, "Content-Type", jsonType); a.status != want {
			t.Errorf("%s: %d %s, want %d", path, a.status, a.body, want)
		}
	}
}
