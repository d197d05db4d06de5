# headgate: make run and make test do all their set-up; Go and npm are all they assume.
export CGO_ENABLED = 0
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
TELEMETRYGEN := github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 30s
KILLS ?= 200
REVOCATIONS ?= 100
CRASHTIME ?= 10m
SCHEDULES ?= 100000
QUERIES ?= 5000
READING ?=

.PHONY: build run test race demo bench bench-reading compare hostile hostile-queries schedules replicas kill revocation deletion isolation crash fuzz clients promql lint fmt engine-lib postgres scale clean
build: ; go build -trimpath -ldflags '$(LDFLAGS)' -o bin/headgate ./cmd/headgate
run: engine-lib build ; exec bin/headgate serve --data-dir ./data --demo
test: engine-lib postgres bin/telemetrygen ; HEADGATE_TELEMETRYGEN=$(CURDIR)/bin/telemetrygen go test -timeout 25m ./...
race: engine-lib postgres ; CGO_ENABLED=1 go test -race -timeout 25m ./...
scale: postgres ; HEADGATE_SCALE=1 go test -count=1 -v -run TestTenThousand ./auth
demo: engine-lib build bin/telemetrygen ; sh deploy/demo.sh
bench: engine-lib build ; go test -run '^$$' -bench . -benchtime 1s ./ingest/otlp ./cmd/bench && go run ./cmd/bench && go run ./cmd/bench -reading -rows 200000 -times 3 -growth=false
bench-reading: engine-lib build ; go run ./cmd/bench -reading $(READING)
compare: engine-lib build ; cd clients/collector && go build -o ../../bin/collector . && cd ../.. && go run ./cmd/bench -collector bin/collector -loads 4x1000
hostile: engine-lib build ; go run ./cmd/bench -hostile -duration 30s
hostile-queries: engine-lib build ; go run ./cmd/bench -reading -hostile -duration 60s $(READING)
schedules: postgres ; HEADGATE_TEST_SCHEDULES=$(SCHEDULES) go test -count=1 -timeout 60m -v -run TestNoScheduleOfReplicasPassesALimit ./metering
replicas: engine-lib postgres ; HEADGATE_TEST_KILLS=$(KILLS) go test -count=1 -timeout 60m -v -run 'TestReplicasTogether|TestRolesTogether' ./cmd/headgate
kill: engine-lib postgres ; HEADGATE_TEST_KILLS=$(KILLS) go test -count=1 -timeout 60m -v -run 'TestKills' ./cmd/headgate
revocation: engine-lib postgres ; HEADGATE_TEST_REVOCATIONS=$(REVOCATIONS) HEADGATE_TEST_REVOCATION_RATE=1000 go test -count=1 -timeout 30m -v -run TestRevocationReaches ./cmd/headgate
deletion: engine-lib postgres ; HEADGATE_TEST_KILLS=$(KILLS) go test -count=1 -timeout 60m -v -run 'TestKillsDoNotStopADeletion|TestADeletionIsKilled' ./cmd/headgate
isolation: engine-lib ; HEADGATE_TEST_ISOLATION=$(QUERIES) go test -count=1 -timeout 120m -parallel 4 -v -run 'AnswersDoNotDepend|EachTableIsRead|PoliciesHoldWithout|Attack' ./query/... ./cmd/headgate
crash: ; HEADGATE_WAL_CRASH=$(CRASHTIME) go test -count=1 -timeout 90m -v -run 'Crash|Tear|Recovery|Failed|Failure' ./storage/wal
fuzz: engine-lib ; sh .ci/fuzz $(FUZZTIME)
clients: engine-lib build bin/telemetrygen ; cd clients/node && npm ci --ignore-scripts --no-audit --no-fund && cd .. && go test -count=1 -timeout 12m -v . $(CLIENTFLAGS)
promql: engine-lib ; HEADGATE_TEST_ISOLATION=$(QUERIES) HEADGATE_TEST_UPSTREAM=full go test -count=1 -timeout 90m -v ./query/prom
lint: ; STATICCHECK=$(STATICCHECK) sh .ci/lint
fmt: ; gofmt -w $$(git ls-files '*.go')
engine-lib: ; @sh storage/engine/fetch.sh
postgres: ; @sh internal/pgtest/fetch.sh
clean: ; rm -rf bin
bin/telemetrygen: ; GOBIN=$(CURDIR)/bin go install $(TELEMETRYGEN)
