#!/usr/bin/env bash
# Python's `sentry-sdk` 2.75.0 (PyPI): ONE metric whose value is NaN takes every other metric of the same batch with it. Nothing arrives,
# nothing is raised, and no client report counts the loss.
# `sentry_sdk.metrics.gauge(name, value: float)` takes any float, and NaN is one: an average over no samples gives it. The batch is sent as
# JSON with `allow_nan=False`, so writing it fails in the upload thread, which swallows the error. Attributes are guarded: there NaN becomes
# the string "nan". An expert expects the same care for the value, or the loss of that one metric at most.
# Sentry's SDK document "Metrics" says "SDKs should track client outcomes to monitor how often metrics are dropped". Below, a metric that
# `before_send_metric` turns down IS counted, in the same run that loses six others uncounted. (The report's line in bytes is left out.)
# Seen, and what this script demands (exit 1 when it changes):
#   gauge 0.5: metrics received: good x5, gauge x1
#   gauge 0.5: logs received: 1
#   gauge 0.5: discarded_events: before_send trace_metric 1
#   gauge nan: metrics received: none
#   gauge nan: logs received: 1
#   gauge nan: discarded_events: before_send trace_metric 1
#   gauge inf: metrics received: none
#   gauge inf: logs received: 1
#   gauge inf: discarded_events: before_send trace_metric 1
# Needs: bash, python3 with venv. Takes about 15 seconds.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip -q --disable-pip-version-check install sentry-sdk==2.75.0
cat >see.py <<'PY'
import collections, gzip, http.server, json, sys, threading
import sentry_sdk

bodies = []


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()

value = sys.argv[1]
sentry_sdk.init(
    dsn=f"http://key@127.0.0.1:{server.server_port}/1",
    enable_logs=True,
    before_send_metric=lambda metric, hint: None if metric["name"] == "unwanted" else metric,
)
for _ in range(5):
    sentry_sdk.metrics.count("good", 1)
sentry_sdk.metrics.gauge("gauge", float(value))
sentry_sdk.metrics.count("unwanted", 1)
sentry_sdk.logger.info("a log", attributes={"share": float(value)})
sentry_sdk.flush(10)
sentry_sdk.get_client().close(10)

metrics, logs, discarded = collections.Counter(), 0, []
for body in bodies:
    lines = body.strip().split(b"\n")[1:]
    for header, payload in zip(lines[::2], lines[1::2]):
        kind, payload = json.loads(header)["type"], json.loads(payload)
        if kind == "trace_metric":
            metrics.update(metric["name"] for metric in payload["items"])
        elif kind == "log":
            logs += len(payload["items"])
        elif kind == "client_report":
            discarded += [f"{lost['reason']} {lost['category']} {lost['quantity']}"
                          for lost in payload["discarded_events"]
                          if not lost["category"].endswith("_byte")]
print(f"gauge {value}: metrics received: {', '.join(f'{name} x{count}' for name, count in metrics.items()) or 'none'}")
print(f"gauge {value}: logs received: {logs}")
print(f"gauge {value}: discarded_events: {', '.join(discarded) or 'none'}")
PY
for value in 0.5 nan inf; do py/bin/python see.py "$value"; done >seen
cat seen
if ! diff <(grep -E '^#   gauge ' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
