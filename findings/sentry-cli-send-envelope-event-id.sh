#!/usr/bin/env bash
# `sentry-cli send-envelope` (npm `@sentry/cli` 3.8.0) does not send the file. It reads the envelope, and writes it again from what it
# understood: the event gets a new `event_id`, which is not that of the envelope's header, and members that it does not know are gone.
# The item has no id of its own before, which the envelope format allows: the header's is the event's. So one stored event has two
# ids, and which one a receiver keeps decides whether the id that the sender wrote down finds it. `--raw` sends the bytes of the file.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   send-envelope: header aaaa8c0c7d1e4f5a9b3c2d1e0f9a8b7c, event another id, unknown member lost
#   send-envelope --raw: header aaaa8c0c7d1e4f5a9b3c2d1e0f9a8b7c, event no id, unknown member kept
# Needs: bash, python3, node with npm. Takes some seconds.
set -euo pipefail
work=$(mktemp -d)
receiver=
trap '[ -z "$receiver" ] || kill "$receiver" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @sentry/cli@3.8.0

cat >receive.py <<'PY'
import gzip, http.server, json, os

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        chunks = []
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        else:
            chunks.append(self.rfile.read(int(self.headers["content-length"])))
        body = b"".join(chunks)
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        header, _, event = body.split(b"\n")[:3]
        header, event = json.loads(header), json.loads(event)
        name = "no id" if "event_id" not in event else "the same id" if event["event_id"] == header["event_id"] else "another id"
        member = "kept" if "of_tomorrow" in event else "lost"
        with open("seen", "a") as seen:
            seen.write(f"header {header['event_id'].replace('-', '')}, event {name}, unknown member {member}\n")
        answer = json.dumps({"id": header["event_id"]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
with open("port.new", "w") as file:
    file.write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
PY
python3 receive.py &
receiver=$!
until [ -e port ]; do kill -0 "$receiver"; sleep 0.05; done

printf '%s\n' '{"event_id":"aaaa8c0c7d1e4f5a9b3c2d1e0f9a8b7c"}' '{"type":"event"}' \
  '{"message":"a stake was refused","level":"error","of_tomorrow":1}' >event.envelope
export SENTRY_DSN="http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@127.0.0.1:$(cat port)/1"
for option in "" --raw; do
  # shellcheck disable=SC2086
  npx sentry-cli send-envelope $option event.envelope >/dev/null
  echo "send-envelope${option:+ $option}: $(tail -n 1 seen)"
done | tee said

cat >expected <<'TEXT'
send-envelope: header aaaa8c0c7d1e4f5a9b3c2d1e0f9a8b7c, event another id, unknown member lost
send-envelope --raw: header aaaa8c0c7d1e4f5a9b3c2d1e0f9a8b7c, event no id, unknown member kept
TEXT
diff expected said
