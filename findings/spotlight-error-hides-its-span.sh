#!/usr/bin/env bash
# Sentry's Spotlight (npm `@spotlightjs/spotlight` 4.11.8) builds the tree of a trace from spans and error events by their span id. An
# error names the span in which it happened, so both have one id. If the error arrived before the transaction, the span loses its
# children to the error. If it arrived after it, the span itself is gone. Either way the answer of its tool `get_traces` is another tree
# than the one that was sent, and the number of its lines says nothing about the number of spans.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   without an error: aaaaaaaa, bbbbbbbb below aaaaaaaa, cccccccc below bbbbbbbb
#   error first: aaaaaaaa, bbbbbbbb below aaaaaaaa, cccccccc below error of bbbbbbbb, error of bbbbbbbb
#   error later: aaaaaaaa, cccccccc below error of bbbbbbbb, error of bbbbbbbb
# It runs the package's own buffer and tree on envelopes, without its server, so nothing listens and nothing is sent.
# Needs: bash, node 20 or newer with npm. Takes some seconds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >package.json <<'JSON'
{"private": true, "dependencies": {"@spotlightjs/spotlight": "4.11.8"}, "overrides": {"hono": "4.12.25"}}
JSON
npm install --silent --no-audit --no-fund --ignore-scripts

cat >trees.mjs <<'JS'
import { pathToFileURL } from "node:url";
const load = (file) => import(pathToFileURL(`node_modules/@spotlightjs/spotlight/dist/server/${file}`));
const { MessageBuffer } = await load("messageBuffer.js");
const { EventContainer } = await load("utils/eventContainer.js");
const { extractTracesFromEnvelopes, buildSpanTree } = await load("formatters/md/traces.js");

const trace_id = "0af7651916cd43dd8448eb211c80319c";
const [a, b, c] = ["a", "b", "c"].map((digit) => digit.repeat(16));
const span = (span_id, parent_span_id, op) =>
  ({ trace_id, span_id, parent_span_id, op, start_timestamp: 2, timestamp: 3 });
const transaction = {
  event_id: "1".repeat(32), type: "transaction", transaction: "POST /bets", start_timestamp: 1, timestamp: 4,
  contexts: { trace: { trace_id, span_id: a, op: "http.server" } },
  spans: [span(b, a, "db"), span(c, b, "db.redis")],
};
const error = {
  event_id: "2".repeat(32), level: "error", timestamp: 2.5, exception: { values: [{ type: "Refused", value: "no" }] },
  contexts: { trace: { trace_id, span_id: b } },
};

function tree(...events) {
  const buffer = new MessageBuffer();
  for (const event of events) {
    const lines = [{ event_id: event.event_id }, { type: event.type ?? "event" }, event];
    const data = Buffer.from(lines.map((line) => JSON.stringify(line)).join("\n") + "\n");
    buffer.put(new EventContainer("application/x-sentry-envelope", data));
  }
  const trace = extractTracesFromEnvelopes(buffer.read({ all: true })).get(trace_id);
  const seen = [];
  const visit = (node, above) => {
    const name = `${node.op === "error" ? "error of " : ""}${node.span_id.slice(0, 8)}`;
    if (node.op !== "trace") seen.push(above ? `${name} below ${above}` : name);
    for (const child of node.children) visit(child, node.op === "trace" ? "" : name);
  };
  for (const root of buildSpanTree(trace)) visit(root, "");
  return seen.sort().join(", ");
}

console.log(`without an error: ${tree(transaction)}`);
console.log(`error first: ${tree(error, transaction)}`);
console.log(`error later: ${tree(transaction, error)}`);
JS
node trees.mjs | tee said

cat >expected <<'TEXT'
without an error: aaaaaaaa, bbbbbbbb below aaaaaaaa, cccccccc below bbbbbbbb
error first: aaaaaaaa, bbbbbbbb below aaaaaaaa, cccccccc below error of bbbbbbbb, error of bbbbbbbb
error later: aaaaaaaa, cccccccc below error of bbbbbbbb, error of bbbbbbbb
TEXT
diff expected said
