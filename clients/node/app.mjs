// An application as the OpenTelemetry JS SDK sets it up: everything comes from OTEL_* variables. It logs, traces and
// counts once and ends when the exporters have.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { NodeSDK } = require('@opentelemetry/sdk-node');
const { metrics, trace } = require('@opentelemetry/api');
const { logs } = require('@opentelemetry/api-logs');

process.env.OTEL_LOGS_EXPORTER ??= 'otlp';
process.env.OTEL_METRICS_EXPORTER ??= 'otlp';
const sdk = new NodeSDK({ autoDetectResources: false });
sdk.start();
logs.getLogger('app').emit({ body: 'hello from node' });
trace.getTracer('app').startSpan('hello').end();
metrics.getMeter('app').createCounter('hello').add(1);
await sdk.shutdown();
