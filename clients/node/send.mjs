// Drives the exporters of the OpenTelemetry JS SDK through a plan and prints the tally.
//
// Arguments: one of proto, json, grpc; then the plan as JSON (see client_test.go; times in milliseconds). Endpoint and
// key come from OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS, as in any application. Prints one line of
// JSON whenever the tally has changed, the last one whole.
import diagnostics from 'node:diagnostics_channel';
import { createRequire } from 'node:module';
import { setTimeout as wait } from 'node:timers/promises';

const require = createRequire(import.meta.url);
const { diag, DiagLogLevel } = require('@opentelemetry/api');
const { node, logs, metrics, resources } = require('@opentelemetry/sdk-node');

const [kind, planText] = process.argv.slice(2);
const plan = JSON.parse(planText);
const tally = { sent: 0, acked: 0, rejected: 0, retried: 0, dropped: 0, held: 0, batches: [], reasons: {} };
const because = text => {
  const reason = String(text).slice(0, 300);
  tally.reasons[reason] = (tally.reasons[reason] ?? 0) + 1;
};

// Partial success is told by a warning alone, and a retry by nothing but the request it makes.
diag.setLogger({
  error() {}, info() {}, debug() {}, verbose() {},
  warn(...args) {
    const found = String(args.at(-1)).match(/^{.*}$/);
    if (!String(args[0]).includes('Partial Success') || !found) return because(args.join(' '));
    const { rejectedSpans, rejectedLogRecords, rejectedDataPoints, errorMessage } = JSON.parse(found[0]);
    tally.rejected += Number(rejectedSpans ?? rejectedLogRecords ?? rejectedDataPoints ?? 0);
    because('partial success: ' + errorMessage);
  },
}, DiagLogLevel.WARN);
let requests = 0;
diagnostics.subscribe('http.client.request.start', () => requests++);

const wire = { proto: 'proto', json: 'http', grpc: 'grpc' }[kind];
const exporterOf = {
  logs: new (require(`@opentelemetry/exporter-logs-otlp-${wire}`).OTLPLogExporter)(),
  traces: new (require(`@opentelemetry/exporter-trace-otlp-${wire}`).OTLPTraceExporter)(),
  metrics: new (require(`@opentelemetry/exporter-metrics-otlp-${wire}`).OTLPMetricExporter)(),
};

const resource = resources.resourceFromAttributes({ 'service.name': 'node' });
const attributes = (batch, i) => ({ seq: `${batch}.${i}`, pad: 'x'.repeat(plan.pad) });
const good = i => i < plan.records - plan.bad;

const make = {
  logs(batch) {
    const kept = [];
    const keep = { onEmit: r => kept.push(r), forceFlush: async () => {}, shutdown: async () => {} };
    const logger = new logs.LoggerProvider({ resource, processors: [keep] }).getLogger('clients');
    for (let i = 0; i < plan.records; i++) logger.emit({ body: 'a line', attributes: attributes(batch, i) });
    return kept;
  },
  traces(batch) {
    const kept = [];
    const keep = { onStart() {}, onEnd: s => kept.push(s), forceFlush: async () => {}, shutdown: async () => {} };
    const tracer = new node.NodeTracerProvider({ resource, spanProcessors: [keep] }).getTracer('clients');
    for (let i = 0; i < plan.records; i++) {
      const span = tracer.startSpan('work', { attributes: attributes(batch, i) });
      if (!good(i)) {
        const id = { ...span.spanContext(), spanId: '0000000000000000' };
        span.spanContext = () => id;
      }
      span.end();
    }
    return kept;
  },
  metrics(batch) {
    const now = Date.now();
    const dataPoints = Array.from({ length: plan.records }, (_, i) => {
      const time = good(i) ? [Math.floor(now / 1000), (now % 1000) * 1e6] : [0, 0];
      return { startTime: time, endTime: time, attributes: attributes(batch, i), value: i };
    });
    const descriptor = { name: 'level', description: '', unit: '', valueType: 0, advice: {} };
    return { resource, scopeMetrics: [{ scope: { name: 'clients' }, metrics: [
      { descriptor, dataPointType: metrics.DataPointType.GAUGE, aggregationTemporality: metrics.AggregationTemporality.CUMULATIVE, dataPoints },
    ] }] };
  },
};

const started = Date.now();
let open = 0;
let rejectedBefore = 0;
async function send(batch) {
  const signal = plan.signals[batch % plan.signals.length];
  tally.sent += plan.records;
  open++;
  const result = await new Promise(done => exporterOf[signal].export(make[signal](batch), done));
  open--;
  if (result.code === 0) {
    const rejected = tally.rejected - rejectedBefore; // the warning comes just before the result
    rejectedBefore = tally.rejected;
    tally.acked += plan.records - rejected;
    if (rejected === plan.bad) tally.batches.push(batch);
  } else {
    tally.dropped += plan.records;
    because(result.error?.data || result.error?.message || result.error);
  }
}

const report = () => console.log(JSON.stringify({ ...tally, retried: Math.max(0, requests - tally.sent / plan.records) }));
const reporter = setInterval(report, 100);
const running = new Set();
for (let batch = 0; batch < plan.batches; batch++) {
  await wait(plan.pace);
  while (running.size >= plan.workers) await Promise.race(running);
  const sent = send(batch).finally(() => running.delete(sent));
  running.add(sent);
}
const left = plan.batches * plan.pace + plan.finish - (Date.now() - started);
await Promise.race([Promise.all(running), wait(Math.max(0, left))]);
tally.held = open * plan.records;
clearInterval(reporter);
report();
process.exit(0);
