#!/usr/bin/env bash
# Python's `sentry-sdk` 2.75.0 (PyPI) sends an attribute of a log or a metric as the `repr` of the Python object, typed "string",
# unless it is a scalar or a list of one type. None becomes the text "None", which can also be a user's name. An integer beyond
# 64 bits keeps the type "integer".
# Sentry's SDK document "Scopes" says that an attribute is "either an attribute value or an object" with `value` and `unit`. Its
# example for Python sets `app.session_duration` to `{"value": 3600, "unit": "s"}` on the global scope. That example arrives as
# text, so its number and its unit cannot be queried. The document "Attributes" has no type for null, so an expert expects None to
# be left out. It says "Integers should be 64-bit signed integers" and "use the `string` type" for unsigned ones. The page for
# users names `str`, `int`, `float`, `bool` and lists of these. It does not say what happens to other values.
# Issue 6441 of getsentry/sentry-python mentions the text for dicts and mixed lists, but not None, units and integers.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   scope app.session_duration = {'value': 3600, 'unit': 's'} -> {"value": "{'value': 3600, 'unit': 's'}", "type": "string"}
#   log name = 'None' -> {"value": "None", "type": "string"}
#   log none = None -> {"value": "None", "type": "string"}
#   log mixed = [1, 'a'] -> {"value": "[1, 'a']", "type": "string"}
#   log some = ['a', None] -> {"value": "['a', None]", "type": "string"}
#   log big = 9223372036854775808 -> {"value": 9223372036854775808, "type": "integer"}
#   metric name = 'None' -> {"value": "None", "type": "string"}
#   metric none = None -> {"value": "None", "type": "string"}
#   metric mixed = [1, 'a'] -> {"value": "[1, 'a']", "type": "string"}
#   metric some = ['a', None] -> {"value": "['a', None]", "type": "string"}
#   metric big = 9223372036854775808 -> {"value": 9223372036854775808, "type": "integer"}
# Needs: bash, python3 with venv. Takes about 15 seconds.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip -q --disable-pip-version-check install sentry-sdk==2.75.0
cat >see.py <<'PY'
import json
import sentry_sdk
from sentry_sdk.transport import Transport

written = []


class Keep(Transport):
    def capture_envelope(self, envelope):
        written.append(envelope.serialize())


sentry_sdk.init(dsn="http://key@sentry.test/1", transport=Keep, enable_logs=True)
given = {
    "name": "None",
    "none": None,
    "mixed": [1, "a"],
    "some": ["a", None],
    "big": 2**63,
}
session = {"app.session_duration": {"value": 3600, "unit": "s"}}
sentry_sdk.get_global_scope().set_attributes(session)
sentry_sdk.logger.info("a log", attributes=given)
sentry_sdk.metrics.count("a metric", 1, attributes=given)
sentry_sdk.flush()

for kind, label in (("log", "log"), ("trace_metric", "metric")):
    for body in written:
        header, payload = body.split(b"\n")[1:3]
        if json.loads(header)["type"] == kind:
            attributes = json.loads(payload)["items"][0]["attributes"]
            if label == "log":
                for key, value in session.items():
                    print(f"scope {key} = {value!r} -> {json.dumps(attributes.get(key))}")
            for key, value in given.items():
                print(f"{label} {key} = {value!r} -> {json.dumps(attributes.get(key))}")
PY
py/bin/python see.py >seen
cat seen
if ! diff <(grep -E '^#   (scope|log|metric) ' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
