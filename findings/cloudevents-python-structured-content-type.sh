#!/usr/bin/env bash
# Python's `cloudevents` 1.13.0 (PyPI) gives a STRUCTURED Kafka message the content type of its DATA (`application/json`), or
# none. So does `cloudevents.v1`, which 2.2.0 keeps for its users. The CloudEvents Kafka binding (3.3.1) demands
# `application/cloudevents+json`. `cloudevents.v1` of 2.2.0 also removes `datacontenttype` from the event. `cloudevents.core` of
# 2.2.0 is correct.
# A reader that selects the mode by the content type, as the binding says, takes such a record for binary mode without attributes.
# npm's `cloudevents` 10.0.0 then fails with "No CloudEvent detected".
# Observed behaviour, which this script demands (exit 1 when it changes):
#   1.13.0 to_structured, application/json -> {'content-type': b'application/json'}, datacontenttype in the value
#   1.13.0 to_structured, no content type -> {}
#   2.2.0 cloudevents.v1 to_structured, application/json -> {'content-type': b'application/json'}, no datacontenttype in the value
#   2.2.0 cloudevents.core to_structured, application/json -> {'content-type': b'application/cloudevents+json'}, datacontenttype in the value
#   npm 10.0.0 reads 1.13.0: No CloudEvent detected
#   npm 10.0.0 reads 2.2.0 cloudevents.v1: No CloudEvent detected
#   npm 10.0.0 reads 2.2.0 cloudevents.core: python
# Needs: bash, python3 with venv, node with npm. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 1.13.0 2.2.0; do
  python3 -m venv "py-$version"
  "py-$version/bin/pip" -q --disable-pip-version-check install "cloudevents==$version"
done
npm init -y >/dev/null
npm install --silent --no-audit --no-fund cloudevents@10.0.0

cat >v1.py <<'PY'
import json, sys
module, label, file = sys.argv[1:4]
http = __import__(module + ".http", fromlist=["CloudEvent"])
kafka = __import__(module + ".kafka", fromlist=["to_structured"])
for content_type in ("application/json", None):
    attributes = {"id": "python", "type": "t", "source": "/s"}
    if content_type:
        attributes["datacontenttype"] = content_type
    message = kafka.to_structured(http.CloudEvent(attributes, {"a": 1}))
    if not content_type:
        print(f"{label} to_structured, no content type -> {message.headers}")
        continue
    inside = "datacontenttype" if "datacontenttype" in json.loads(message.value) else "no datacontenttype"
    print(f"{label} to_structured, {content_type} -> {message.headers}, {inside} in the value")
    open(file, "wb").write(message.value)
PY
cat >core.py <<'PY'
import json
from cloudevents.core.bindings.kafka import to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
attributes = {"id": "python", "type": "t", "source": "/s", "specversion": "1.0", "datacontenttype": "application/json"}
message = to_structured(CloudEvent(attributes=attributes, data={"a": 1}), JSONFormat())
inside = "datacontenttype" if "datacontenttype" in json.loads(message.value) else "no datacontenttype"
print(f"2.2.0 cloudevents.core to_structured, application/json -> {message.headers}, {inside} in the value")
open("core.json", "wb").write(message.value)
PY
cat >read.js <<'JS'
const { Kafka } = require("cloudevents");
const [, , label, contentType, file] = process.argv;
const value = require("fs").readFileSync(file, "utf8");
let answer;
try { answer = Kafka.toEvent({ key: "k", value, headers: { "content-type": contentType } }).id; } catch (error) { answer = error.message; }
console.log(`npm 10.0.0 reads ${label}: ${answer}`);
JS
{
  py-1.13.0/bin/python v1.py cloudevents 1.13.0 one.json
  py-2.2.0/bin/python v1.py cloudevents.v1 "2.2.0 cloudevents.v1" two.json | head -1
  py-2.2.0/bin/python core.py
  node read.js 1.13.0 application/json one.json
  node read.js "2.2.0 cloudevents.v1" application/json two.json
  node read.js "2.2.0 cloudevents.core" application/cloudevents+json core.json
} >found
cat found
cat >wanted <<'OUT'
1.13.0 to_structured, application/json -> {'content-type': b'application/json'}, datacontenttype in the value
1.13.0 to_structured, no content type -> {}
2.2.0 cloudevents.v1 to_structured, application/json -> {'content-type': b'application/json'}, no datacontenttype in the value
2.2.0 cloudevents.core to_structured, application/json -> {'content-type': b'application/cloudevents+json'}, datacontenttype in the value
npm 10.0.0 reads 1.13.0: No CloudEvent detected
npm 10.0.0 reads 2.2.0 cloudevents.v1: No CloudEvent detected
npm 10.0.0 reads 2.2.0 cloudevents.core: python
OUT
if ! diff -u wanted found; then
  echo "the behaviour has changed"
  exit 1
fi
