// What drives the exporters of the OpenTelemetry JS SDK through a plan, in Node and in browsers.
import { diag, DiagLogLevel } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { LoggerProvider } from '@opentelemetry/sdk-logs';
import { AggregationTemporality, DataPointType } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base';

const wait = ms => new Promise(done => setTimeout(done, ms));

// drive sends a plan (see client_test.go; times in milliseconds) by the exporters of {logs, traces, metrics}. It hands the tally to
// report whenever that may have changed, the last time whole. requests says how many requests were made so far.
export async function drive(plan, exporterOf, requests, report) {
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

  const resource = resourceFromAttributes({ 'service.name': 'js' });
  const attributes = (batch, i) => ({ seq: `${batch}.${i}`, pad: 'x'.repeat(plan.pad) });
  const good = i => i < plan.records - plan.bad;

  const make = {
    logs(batch) {
      const kept = [];
      const keep = { onEmit: r => kept.push(r), forceFlush: async () => {}, shutdown: async () => {} };
      const logger = new LoggerProvider({ resource, processors: [keep] }).getLogger('clients');
      for (let i = 0; i < plan.records; i++) logger.emit({ body: 'a line', attributes: attributes(batch, i) });
      return kept;
    },
    traces(batch) {
      const kept = [];
      const keep = { onStart() {}, onEnd: s => kept.push(s), forceFlush: async () => {}, shutdown: async () => {} };
      const tracer = new BasicTracerProvider({ resource, spanProcessors: [keep] }).getTracer('clients');
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
        { descriptor, dataPointType: DataPointType.GAUGE, aggregationTemporality: AggregationTemporality.CUMULATIVE, dataPoints },
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

  const say = () => report({ ...tally, retried: Math.max(0, requests() - tally.sent / plan.records) });
  const reporter = setInterval(say, 100);
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
  await say();
}
