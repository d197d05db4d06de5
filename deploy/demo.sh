#!/bin/sh
# The tour of the product: two tenants ship real OTLP, a third runs into its daily limit, each queries its own rows, and
# the usage table closes it. Runs in a directory of its own on free ports and leaves nothing running.
set -eu
headgate=${HEADGATE_BIN:-bin/headgate}
telemetrygen=${TELEMETRYGEN_BIN:-bin/telemetrygen}
dir=$(mktemp -d)
pid=
stop() {
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
hg() { printf '$ headgate %s\n' "$*"; "$headgate" "$@" --data-dir "$dir/data"; }
die() { echo "demo: $1" >&2; tail -20 "$dir/log" >&2; exit 1; }
address() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$dir/data/addresses.json"; }
key() { "$headgate" key create --tenant "$1" --scope ingest --scope query --data-dir "$dir/data" 2>/dev/null; }

step 'Start headgate with its embedded engine'
"$headgate" serve --data-dir "$dir/data" --otlp-grpc 127.0.0.1:0 --otlp-http 127.0.0.1:0 --api 127.0.0.1:0 \
  --telemetry 127.0.0.1:0 --log-level warn >"$dir/log" 2>&1 &
pid=$!
i=0
while [ ! -f "$dir/data/addresses.json" ]; do
  i=$((i + 1))
  [ $i -lt 300 ] || die 'not ready within 30 s'
  kill -0 "$pid" 2>/dev/null || die 'headgate ended'
  sleep 0.1
done
cat "$dir/data/addresses.json"
grpc=$(address otlp_grpc)
http=$(address otlp_http)

step 'Three tenants; the third may send 64 KiB a day'
hg tenant create acme --daily-bytes 1GiB
hg tenant create globex --retention-days 7
hg tenant create tiny --daily-bytes 64KiB
acme=$(key acme)
globex=$(key globex)
tiny=$(key tiny)

send() { # tenant key signal count transport-flags…
  name=$1 k=$2 signal=$3 n=$4
  shift 4
  printf '$ telemetrygen %s --%s %s --service %s-shop %s\n' "$signal" "$signal" "$n" "$name" "$*"
  "$telemetrygen" "$signal" "--$signal" "$n" --rate 0 --workers 1 --service "$name-shop" --otlp-insecure \
    --otlp-header "authorization=\"Bearer $k\"" "$@" >"$dir/agent" 2>&1
}

query() { # tenant key query
  printf '$ headgate query --key $%s_KEY '"'%s'"'\n' "$1" "$3"
  "$headgate" query --key "$2" --data-dir "$dir/data" "$3"
}

step 'acme sends logs, traces and metrics over gRPC, globex over HTTP'
for signal in logs traces metrics; do
  send acme "$acme" $signal 500 --otlp-endpoint "$grpc" || { cat "$dir/agent"; die "acme's agent failed"; }
  send globex "$globex" $signal 300 --otlp-http --otlp-endpoint "$http" || { cat "$dir/agent"; die "globex's agent failed"; }
done

step 'tiny sends until its daily limit refuses: it is warned from 80 % on; this agent ends at each word of the server'
for try in 1 2 3 4 5 6; do
  if send tiny "$tiny" logs 5000 --otlp-endpoint "$grpc"; then die 'the limit did not refuse'; fi
  if grep -o -m 1 'rpc error: [^"]*' "$dir/agent"; then break; fi
  grep -o -m 1 'OTLP partial success: [^"]*' "$dir/agent" || die 'the agent saw neither a warning nor a refusal'
  [ "$try" -lt 6 ] || die 'the agent saw no refusal'
done
printf '$ headgate limits --key $TINY_KEY\n'
"$headgate" limits --key "$tiny" --data-dir "$dir/data"

step 'Each tenant queries, and sees its own rows only'
sleep 2 # what was acknowledged is there within a second
query ACME "$acme" 'logs | summarize records=count() by service, severity'
query ACME "$acme" 'spans | summarize spans=count(), p95=percentile(duration, 95) by service, name'
query GLOBEX "$globex" 'logs | summarize records=count() by service, severity'
query GLOBEX "$globex" 'metrics("gen") | summarize points=count(), max=max(value) by service, kind'
query ACME "$acme" 'logs | where service == "globex-shop" | count'

step 'What was metered'
sleep 2 # refusals reach the ledger once a second
hg usage --by day --group signal
