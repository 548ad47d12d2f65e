#!/usr/bin/env python3
"""Runs Sentry's own ingestion normalisation over envelopes and reports every complaint.

Needs the package `sentry-relay`. Input: files, or standard input. Each is either lines of JSON as the recorder answers
(`{"project", "headers", "items": [{"headers", "payload"}]}`) or one raw envelope. Exit code: 0 without complaints, 1 with,
2 when nothing was checked (zero checked is no success), 69 when the package is missing.
"""

import json
import re
import sys

try:
    from sentry_relay.processing import StoreNormalizer
except ImportError:
    print("the Python package sentry-relay is missing: pip install sentry-relay", file=sys.stderr)
    sys.exit(69)

HEX32, HEX16 = re.compile(r"^[0-9a-f]{32}$"), re.compile(r"^[0-9a-f]{16}$")


def raw_items(data):
    """Items of one raw envelope."""
    header, rest = data.split(b"\n", 1)
    headers = json.loads(header)
    while rest:
        line, rest = rest.split(b"\n", 1)
        item = json.loads(line)
        length = item.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
        yield headers, item, json.loads(rest[:length])
        rest = rest[length + 1:]


def recorded_items(line):
    """Items of one line as the recorder answers."""
    envelope = json.loads(line)
    for item in envelope["items"]:
        yield envelope.get("headers", {}), item["headers"], item["payload"]


def items(data):
    first = data.split(b"\n", 1)[0]
    if b'"items"' in first:
        for line in data.splitlines():
            if line.strip():
                yield from recorded_items(line)
    elif data.strip():
        yield from raw_items(data)


def complaints_in_meta(meta, path=""):
    """Every error that normalisation left in `_meta`."""
    if not isinstance(meta, dict):
        return
    for error in (meta.get("", {}) or {}).get("err", []):
        yield f"{path or '.'}: {error}"
    for key, value in meta.items():
        if key != "":
            yield from complaints_in_meta(value, f"{path}.{key}")


def store_complaints(headers, payload):
    """Events and transactions pass through the normaliser that Sentry itself uses."""
    normalizer = StoreNormalizer(
        project_id=1, sent_at=None, received_at=None, protocol_version="7", is_renormalize=False,
        remove_other=True, normalize_user_agent=True, enable_trimming=True,
    )
    try:
        event = normalizer.normalize_event(payload)
    except Exception as error:  # whatever it raises is a refusal
        yield f"refused: {error!r}"
        return
    yield from complaints_in_meta(event.get("_meta"))
    if payload.get("type") == "transaction":
        kept, sent = len(event.get("spans") or []), len(payload.get("spans") or [])
        if kept != sent:
            yield f"{sent} spans were sent, {kept} survived"
        for name in ("op", "span_id", "trace_id", "parent_span_id", "status", "origin", "links"):
            before, after = payload["contexts"]["trace"].get(name), event["contexts"]["trace"].get(name)
            if name == "links" and before is not None:
                before, after = len(before), len(after or [])
            if name == "status" and {before, after} == {"unknown_error", "unknown"}:
                continue
            if before is not None and before != after:
                yield f"contexts.trace.{name}: {before!r} became {after!r}"


def dsc_complaints(headers):
    trace = headers.get("trace")
    if trace is None:
        return
    if not HEX32.match(str(trace.get("trace_id", ""))) or not trace.get("public_key"):
        yield f"trace header without trace id or key: {trace}"


def container_complaints(kind, payload):
    """Logs and metrics are not part of the normaliser: their documented shape is checked here."""
    for entry in payload.get("items", []):
        if not HEX32.match(str(entry.get("trace_id", ""))):
            yield f"{kind} without a trace id: {entry}"
        if not isinstance(entry.get("timestamp"), (int, float)):
            yield f"{kind} without a timestamp"
        for name, attribute in (entry.get("attributes") or {}).items():
            if set(attribute) != {"value", "type"} or attribute["type"] not in ("string", "boolean", "integer", "double"):
                yield f"{kind} attribute {name}: {attribute}"
        span = entry.get("span_id")
        if span is not None and not HEX16.match(span):
            yield f"{kind} span id {span!r}"


def span_complaints(headers, item, payload):
    """Streamed spans are not part of the normaliser either: the documented shape, and one trace for each envelope."""
    spans = payload.get("items", [])
    if item.get("content_type") != "application/vnd.sentry.items.span.v2+json" or item.get("item_count") != len(spans):
        yield f"item header {item} of {len(spans)} spans"
    if not 1 <= len(spans) <= 1000:
        yield f"{len(spans)} spans in one item"
    trace_id = (headers.get("trace") or {}).get("trace_id")
    for span in spans:
        if span.get("trace_id") != trace_id or not HEX16.match(str(span.get("span_id", ""))):
            yield f"span {span.get('span_id')} of trace {span.get('trace_id')} under the header of {trace_id}"
        if span.get("status") not in ("ok", "error") or not isinstance(span.get("is_segment"), bool):
            yield f"span {span.get('span_id')}: {span.get('status')}, {span.get('is_segment')}"
        if not span.get("name") or not 0 < span.get("start_timestamp", 0) <= span.get("end_timestamp", 0):
            yield f"span {span.get('span_id')} without a name or a duration"
        holders = [span] + span.get("links", [])
        for name, attribute in (pair for holder in holders for pair in holder.get("attributes", {}).items()):
            if set(attribute) != {"value", "type"} or attribute["type"] not in ("string", "boolean", "integer", "double", "array"):
                yield f"span attribute {name}: {attribute}"


def complaints(headers, item, payload):
    kind = item.get("type")
    yield from dsc_complaints(headers)
    if kind in ("event", "transaction"):
        yield from store_complaints(headers, payload)
    elif kind in ("log", "trace_metric"):
        yield from container_complaints(kind, payload)
    elif kind == "span":
        yield from span_complaints(headers, item, payload)


def main(paths):
    sources = [open(path, "rb").read() for path in paths] or [sys.stdin.buffer.read()]
    checked, found = {}, 0
    for data in sources:
        for headers, item, payload in items(data):
            kind = item.get("type")
            checked[kind] = checked.get(kind, 0) + 1
            for complaint in complaints(headers, item, payload):
                found += 1
                if found <= 50:
                    name = payload.get("transaction") if isinstance(payload, dict) else None
                    print(f"{kind} {name or ''}: {complaint}")
    print(json.dumps({"checked": checked, "complaints": found}))
    if not checked:
        return 2
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
