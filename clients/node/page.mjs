// Drives the exporters of the OpenTelemetry JS SDK in a page. The page's own server tells it what to send and where, and takes the tally.
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { drive } from './drive.mjs';

const { plan, url, key } = await (await fetch('errand')).json();
const fetchOf = globalThis.fetch;
let requests = 0;
globalThis.fetch = (target, ...rest) => {
  if (String(target).startsWith(url)) requests++;
  return fetchOf(target, ...rest);
};
const config = path => ({ url: `${url}/v1/${path}`, headers: { authorization: `Bearer ${key}` } });
const exporterOf = {
  logs: new OTLPLogExporter(config('logs')),
  traces: new OTLPTraceExporter(config('traces')),
  metrics: new OTLPMetricExporter(config('metrics')),
};
let told = Promise.resolve(); // one after another
const tell = (where, what) => told = told.then(() => fetchOf(where, { method: 'POST', body: JSON.stringify(what) }));
await drive(plan, exporterOf, () => requests, tally => tell('tally', tally));
await tell('done', {});
