// Drives the exporters of the OpenTelemetry JS SDK in Node and prints the tally.
//
// Arguments: one of proto, json, grpc; then the plan as JSON. Endpoint and key come from OTEL_EXPORTER_OTLP_ENDPOINT and
// OTEL_EXPORTER_OTLP_HEADERS, as in any application. Prints one line of JSON whenever the tally may have changed.
import diagnostics from 'node:diagnostics_channel';
import { drive } from './drive.mjs';

const [kind, plan] = process.argv.slice(2);
const wire = { proto: 'proto', json: 'http', grpc: 'grpc' }[kind];
const load = async signal => import(`@opentelemetry/exporter-${signal}-otlp-${wire}`);
const exporterOf = {
  logs: new (await load('logs')).OTLPLogExporter(),
  traces: new (await load('trace')).OTLPTraceExporter(),
  metrics: new (await load('metrics')).OTLPMetricExporter(),
};
let requests = 0;
diagnostics.subscribe('http.client.request.start', () => requests++);
await drive(JSON.parse(plan), exporterOf, () => requests, tally => console.log(JSON.stringify(tally)));
process.exit(0);
