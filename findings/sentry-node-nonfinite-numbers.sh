#!/usr/bin/env bash
# npm's `@sentry/node` 11.12.0 sends a number that is not finite differently in each place. The VALUE of a metric becomes `null`.
# An ATTRIBUTE with Infinity becomes `null` of type "double". An attribute with NaN becomes the string "null" on a metric or a
# log, like null itself, and is missing on a span.
# Sentry's SDK document "Metrics" demands for `value`: "Number, required". An expert expects the SDK to drop such a metric, and
# not to send an item that breaks the protocol. The SDK document "Attributes" has one format for "Spans, Logs, Metrics". Its
# `value` "must match the specified type". An expert expects the same outcome in all three, and no null under "double". Python's
# `sentry-sdk` 2.75.0 sends the strings "nan" and "inf" there.
# The typings accept any `number`, including NaN and Infinity. An average over no samples is NaN, and a division by zero is
# Infinity.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   0.5: metric value 0.5
#   0.5: metric attribute {"value":0.5,"type":"double"}
#   0.5: log attribute {"value":0.5,"type":"double"}
#   0.5: span attribute {"value":0.5,"type":"double"}
#   NaN: metric value null
#   NaN: metric attribute {"value":"null","type":"string"}
#   NaN: log attribute {"value":"null","type":"string"}
#   NaN: span attribute missing
#   Infinity: metric value null
#   Infinity: metric attribute {"value":null,"type":"double"}
#   Infinity: log attribute {"value":null,"type":"double"}
#   Infinity: span attribute {"value":null,"type":"double"}
#   null: log attribute {"value":"null","type":"string"}
# Needs: bash, node with npm. Takes about 15 seconds.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @sentry/node@11.12.0
cat >see.js <<'JS'
const http = require("http");
const zlib = require("zlib");
const Sentry = require("@sentry/node");

const items = [];
const receiver = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    let body = Buffer.concat(parts);
    if (request.headers["content-encoding"] === "gzip") body = zlib.gunzipSync(body);
    const lines = body.toString().trim().split("\n").slice(1);
    for (let at = 0; at + 1 < lines.length; at += 2) items.push({ type: JSON.parse(lines[at]).type, payload: JSON.parse(lines[at + 1]) });
    response.end("{}");
  });
});

receiver.listen(0, "127.0.0.1", async () => {
  Sentry.init({
    dsn: `http://key@127.0.0.1:${receiver.address().port}/1`,
    tracesSampleRate: 1, enableLogs: true,
    traceLifecycle: "stream",
  });
  const numbers = [0.5, NaN, Infinity];
  for (const number of numbers) {
    const attributes = { share: number };
    Sentry.metrics.gauge(`metric ${number}`, number, { attributes });
    Sentry.logger.info(`log ${number}`, attributes);
    Sentry.startSpan({ name: `span ${number}`, attributes }, () => {});
  }
  Sentry.logger.info("log null", { share: null });
  await Sentry.flush(10000);
  await Sentry.close(10000);
  const all = (type) => items.filter((item) => item.type === type).flatMap((item) => item.payload.items);
  for (const number of numbers) {
    const metric = all("trace_metric").find((one) => one.name === `metric ${number}`);
    const log = all("log").find((one) => one.body === `log ${number}`);
    const span = all("span").find((one) => one.name === `span ${number}`);
    console.log(`${number}: metric value ${JSON.stringify(metric.value)}`);
    for (const [label, one] of Object.entries({ metric, log, span })) {
      console.log(`${number}: ${label} attribute ${JSON.stringify(one.attributes.share) ?? "missing"}`);
    }
  }
  const log = all("log").find((one) => one.body === "log null");
  console.log(`null: log attribute ${JSON.stringify(log.attributes.share)}`);
  process.exit(0);
});
JS
node see.js >seen
cat seen
if ! diff <(grep -E '^#   (0.5|NaN|Infinity|null): ' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
