#!/usr/bin/env bash
# npm's `@opentelemetry/instrumentation-kafkajs` 0.32.0 (0.33.0 does the same) with `kafkajs` 2.2.4: a message that is sent in a
# Kafka transaction leaves the sender's trace. Its `send` span is the child of a span `transaction` and not of the active span.
# The span `transaction` got its parent when `producer.transaction()` was called. If no span was active then, it is the root of a
# new trace. The message's `traceparent` names that trace, so the consumer's spans join it, too. No link leads back to the
# request. OpenTelemetry normally uses the span in the current Context as the parent, and "send" outside a transaction does so. So
# an expert expects the span that is active around `transaction.send()` as the parent, or at least a link to it. Below, two
# requests that share a transaction end up together in a third trace.
# The README lists the emitted spans. It names `send <topic-name>` and no `transaction`. It does not say that a transaction
# changes the parent.
# The script needs no broker. It replaces kafkajs's own module `cluster` by one that always succeeds. Producer, transaction and
# instrumentation are real.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   no transaction: span "send orders" is child of "plain request", same trace, links 0
#   no transaction: traceparent is of the trace of "plain request"
#   opened outside, request 1: span "send orders" is child of "transaction", other trace, links 0
#   opened outside, request 1: traceparent is of the trace of "transaction"
#   opened outside, request 2: span "send orders" is child of "transaction", other trace, links 0
#   opened outside, request 2: traceparent is of the trace of "transaction"
#   opened in request 1, request 2: span "send orders" is child of "transaction", other trace, links 0
#   opened in request 1, request 2: traceparent is of the trace of "request 1"
# Needs: bash, node with npm. Takes about 15 seconds.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @opentelemetry/instrumentation-kafkajs@0.32.0 kafkajs@2.2.4 \
  @opentelemetry/api@1.9.1 @opentelemetry/sdk-trace-node@2.12.1
cat >see.js <<'JS'
const { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { KafkaJsInstrumentation } = require("@opentelemetry/instrumentation-kafkajs");

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();
new KafkaJsInstrumentation().setTracerProvider(provider);
const tracer = provider.getTracer("user");

const arrived = [];
const broker = {
  nodeId: "1",
  initProducerId: async () => ({ producerId: 1, producerEpoch: 0 }),
  addPartitionsToTxn: async () => {},
  endTxn: async () => {},
  async produce({ topicData }) {
    const topics = topicData.map(({ topic, partitions }) => {
      for (const { messages } of partitions) arrived.push(...messages);
      return { topicName: topic, partitions: partitions.map(({ partition }) => ({ partition, errorCode: 0, baseOffset: "0" })) };
    });
    return { topics };
  },
};
class YesCluster {
  retry = {};
  targetTopics = new Set();
  isConnected = () => true;
  async connect() {}
  async disconnect() {}
  async refreshMetadataIfNecessary() {}
  async addMultipleTargetTopics() {}
  findBroker = async () => broker;
  findControllerBroker = async () => broker;
  findGroupCoordinator = async () => broker;
  findTopicPartitionMetadata = () => [{ partitionId: 0, leader: 1, isr: [1] }];
  findLeaderForPartitions = () => ({ 1: [0] });
}
const file = require.resolve("kafkajs/src/cluster");
require.cache[file] = { id: file, filename: file, loaded: true, exports: YesCluster };
const { Kafka, logLevel } = require("kafkajs");

const inSpan = (name, act) => tracer.startActiveSpan(name, async (span) => {
  try { return await act(); } finally { span.end(); }
});
const send = (sender, value) => inSpan(value, () => sender.send({ topic: "orders", messages: [{ value }] }));

function show(label, requests) {
  const spans = exporter.getFinishedSpans();
  for (const request of requests) {
    const user = spans.find((span) => span.name === request);
    const [, trace, id] = arrived.find((message) => message.value === request).headers.traceparent.toString().split("-");
    const sent = spans.find((span) => span.spanContext().spanId === id);
    const parent = spans.find((span) => span.spanContext().spanId === sent.parentSpanContext?.spanId);
    const same = sent.spanContext().traceId === user.spanContext().traceId ? "same" : "other";
    const root = spans.find((span) => span.spanContext().traceId === trace && !span.parentSpanContext);
    const prefix = label === "no transaction" ? label : `${label}, ${request}`;
    console.log(`${prefix}: span "${sent.name}" is child of "${parent?.name}", ${same} trace, links ${sent.links.length}`);
    console.log(`${prefix}: traceparent is of the trace of "${root.name}"`);
  }
  exporter.reset();
  arrived.length = 0;
}

(async () => {
  const kafka = new Kafka({ brokers: ["none:1"], logLevel: logLevel.NOTHING });
  const plain = kafka.producer();
  await plain.connect();
  await send(plain, "plain request");
  show("no transaction", ["plain request"]);

  const producer = kafka.producer({ transactionalId: "shop", idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  let transaction = await producer.transaction();
  await send(transaction, "request 1");
  await send(transaction, "request 2");
  await transaction.commit();
  show("opened outside", ["request 1", "request 2"]);

  await inSpan("request 1", async () => { transaction = await producer.transaction(); });
  await send(transaction, "request 2");
  await transaction.commit();
  show("opened in request 1", ["request 2"]);
})();
JS
KAFKAJS_NO_PARTITIONER_WARNING=1 node see.js >seen
cat seen
if ! diff <(grep -E '^#   (no transaction|opened)' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
