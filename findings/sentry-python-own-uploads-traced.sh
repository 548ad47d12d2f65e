#!/usr/bin/env bash
# Python's `sentry-sdk` 2.75.0 (PyPI) traces its OWN uploads if the DSN has a port. Each upload becomes an `http.client` span in
# the user's trace, named after the SDK's envelope address.
# The SDK intends to leave itself out: `StdlibIntegration` asks `is_sentry_url`, "whether the given URL matches the Sentry DSN".
# But it passes the bare host, and `is_sentry_url` looks for "host:port" in it. So the check works for a DSN without a port and
# never for one with a port, which a self-hosted server or a local relay often has. An expert expects the port to make no
# difference.
# The upload thread adopts the span that is open when it starts, so this affects the trace in which the first upload happens.
# After an upload before the trace, the spans stay out of it.
# Below, three messages are sent inside one transaction. The script resolves the host name to its own receiver.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   DSN http://key@sentry.test/1: 0 http.client spans in the transaction
#   DSN http://key@sentry.test:8080/1: 3 http.client spans in the transaction
#     POST http://sentry.test:8080/api/1/envelope/, child of the user's span
#     POST http://sentry.test:8080/api/1/envelope/, child of the user's span
#     POST http://sentry.test:8080/api/1/envelope/, child of the user's span
#   DSN http://key@sentry.test:8080/1, one upload before: 0 http.client spans in the transaction
# Needs: bash, python3 with venv. Takes about 15 seconds.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip -q --disable-pip-version-check install sentry-sdk==2.75.0
cat >see.py <<'PY'
import gzip, http.server, json, socket, sys, threading

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
resolve = socket.getaddrinfo


def to_receiver(host, port, *rest, **more):
    if host == "sentry.test":
        host, port = server.server_address
    return resolve(host, port, *rest, **more)


socket.getaddrinfo = to_receiver

import sentry_sdk

dsn, before = sys.argv[1], len(sys.argv) > 2
sentry_sdk.init(dsn=dsn, traces_sample_rate=1.0)
if before:
    sentry_sdk.capture_message("before")
    sentry_sdk.flush(10)
with sentry_sdk.start_transaction(name="work"):
    for number in range(3):
        sentry_sdk.capture_message(f"message {number}")
        sentry_sdk.flush(10)
sentry_sdk.flush(10)

(transaction,) = [json.loads(body.split(b"\n")[2]) for body in bodies if b'"type":"transaction"' in body.split(b"\n")[1]]
root = transaction["contexts"]["trace"]["span_id"]
spans = [span for span in transaction["spans"] if span["op"] == "http.client"]
print(f"DSN {dsn}{', one upload before' if before else ''}: {len(spans)} http.client spans in the transaction")
for span in spans:
    whose = "child of the user's span" if span["parent_span_id"] == root else "elsewhere"
    print(f"  {span['description']}, {whose}")
PY
{
  py/bin/python see.py http://key@sentry.test/1
  py/bin/python see.py http://key@sentry.test:8080/1
  py/bin/python see.py http://key@sentry.test:8080/1 before
} >seen
cat seen
if ! diff <(grep -E '^#   (DSN|  POST)' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
