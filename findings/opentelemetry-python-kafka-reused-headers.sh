#!/usr/bin/env bash
# PyPI's `opentelemetry-instrumentation-confluent-kafka` and `opentelemetry-instrumentation-aiokafka` 0.66b1 append `traceparent`
# to the header list that the CALLER passed. If a program sends its messages with one shared list, each send leaves one
# `traceparent` more in it, and the record carries those of all sends before. The consumers' side of the same packages reads the
# first one. So the consumer's span of every later message refers to the trace of the FIRST request, and nothing warns.
# OpenTelemetry's specification says of the propagators' `Set`: "Replaces a propagated field with the given value". An expert
# expects that tracing leaves the caller's list alone, or at least that a record has one `traceparent`.
# The broker is librdkafka's own mock cluster (`test.mock.num.brokers`), so none has to be installed. Each request below has its
# own trace.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   confluent-kafka, shared list: record of request 1 has 1 traceparent, consumer's span refers to request 1
#   confluent-kafka, shared list: record of request 2 has 2 traceparent, consumer's span refers to request 1
#   confluent-kafka, shared list: record of request 3 has 3 traceparent, consumer's span refers to request 1
#   confluent-kafka, shared list: afterwards app, traceparent, traceparent, traceparent
#   confluent-kafka, new lists: record of request 1 has 1 traceparent, consumer's span refers to request 1
#   confluent-kafka, new lists: record of request 2 has 1 traceparent, consumer's span refers to request 2
#   confluent-kafka, new lists: record of request 3 has 1 traceparent, consumer's span refers to request 3
#   aiokafka, shared list: record of request 1 has 1 traceparent, consumer's span refers to request 1
#   aiokafka, shared list: record of request 2 has 2 traceparent, consumer's span refers to request 1
#   aiokafka, shared list: record of request 3 has 3 traceparent, consumer's span refers to request 1
#   aiokafka, shared list: afterwards app, traceparent, traceparent, traceparent
#   aiokafka, new lists: record of request 1 has 1 traceparent, consumer's span refers to request 1
#   aiokafka, new lists: record of request 2 has 1 traceparent, consumer's span refers to request 2
#   aiokafka, new lists: record of request 3 has 1 traceparent, consumer's span refers to request 3
# Needs: bash, python3 with venv. Takes about 45 seconds.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip -q --disable-pip-version-check install opentelemetry-sdk==1.45.1 confluent-kafka==2.16.1 aiokafka==0.14.0 \
  opentelemetry-instrumentation-confluent-kafka==0.66b1 opentelemetry-instrumentation-aiokafka==0.66b1
cat >see.py <<'PY'
import asyncio

from opentelemetry import trace
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.confluent_kafka import ConfluentKafkaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = provider.get_tracer("user")
ConfluentKafkaInstrumentor().instrument()
AIOKafkaInstrumentor().instrument()
import aiokafka
import confluent_kafka

REQUESTS = ("request 1", "request 2", "request 3")
names = {}


def in_request(name):
    span = tracer.start_span(name)
    names[span.get_span_context().trace_id] = name
    return trace.use_span(span, end_on_exit=True)


def show(label, seen, shared):
    for request, headers, trace_id in sorted(seen):
        count = [name for name, _ in headers].count("traceparent")
        print(f"{label}: record of {request} has {count} traceparent, consumer's span refers to {names.get(trace_id, 'none')}")
    if shared:
        print(f"{label}: afterwards {', '.join(name for name, _ in shared)}")


def confluent(label, producer, broker, topic, shared):
    for request in REQUESTS:
        with in_request(request):
            producer.produce(topic, request.encode(), headers=[("app", b"1")] if shared is None else shared)
    producer.flush(20)
    settings = {"bootstrap.servers": broker, "group.id": topic, "auto.offset.reset": "earliest", "log_level": 0}
    consumer = confluent_kafka.Consumer(settings)
    consumer.subscribe([topic])
    seen = []
    while len(seen) < len(REQUESTS):
        record = consumer.poll(30)
        (link,) = trace.get_current_span().links
        seen.append((record.value().decode(), record.headers(), link.context.trace_id))
    consumer.close()
    show(label, seen, shared)


async def aio(label, broker, topic, shared):
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=broker)
    await producer.start()
    for request in REQUESTS:
        with in_request(request):
            await producer.send_and_wait(topic, request.encode(), headers=[("app", b"1")] if shared is None else shared)
    await producer.stop()
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=broker, group_id=topic, auto_offset_reset="earliest")
    await consumer.start()
    seen = []
    while len(seen) < len(REQUESTS):
        record = await asyncio.wait_for(consumer.getone(), 30)
        span = exporter.get_finished_spans()[-1]
        seen.append((record.value.decode(), record.headers, span.context.trace_id))
    await consumer.stop()
    show(label, seen, shared)


mock = confluent_kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
(broker,) = [f"{one.host}:{one.port}" for one in mock.list_topics(timeout=20).brokers.values()]
confluent("confluent-kafka, shared list", mock, broker, "confluent-shared", [("app", b"1")])
confluent("confluent-kafka, new lists", mock, broker, "confluent-new", None)
asyncio.run(aio("aiokafka, shared list", broker, "aio-shared", [("app", b"1")]))
asyncio.run(aio("aiokafka, new lists", broker, "aio-new", None))
PY
timeout 180 py/bin/python -W ignore see.py >seen
cat seen
if ! diff <(grep -E '^#   (confluent-kafka|aiokafka), ' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
