#!/usr/bin/env bash
# Python's `sentry-sdk` 2.75.0 (PyPI): if `before_send` returns an event without `event_id`, `capture_message` and `capture_event`
# raise KeyError in the APPLICATION. `capture_exception` and the logging integration lose the same event silently. An exception
# INSIDE `before_send` never reaches the application.
# A hook that keeps only a list of harmless fields returns such an event. The page "Filtering" allows that: "adding data to the
# event and modifying or deleting existing event fields, will be reflected in Sentry". In the SDK's type `Event` no field is
# required. An event without `timestamp` or `contexts` is sent. An expert expects the SDK to use the id that it gave the event, or
# at least the same outcome for all four functions, and no error in the application.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   without timestamp: capture_message sent, capture_event sent, capture_exception sent, logging sent
#   without contexts: capture_message sent, capture_event sent, capture_exception sent, logging sent
#   without event_id: capture_message raised KeyError('event_id'), capture_event raised KeyError('event_id'), capture_exception lost, logging lost
#   only harmless: capture_message raised KeyError('event_id'), capture_event raised KeyError('event_id'), capture_exception lost, logging lost
#   hook raises: capture_message lost, capture_event lost, capture_exception lost, logging lost
# Needs: bash, python3 with venv. Takes about 15 seconds.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip -q --disable-pip-version-check install sentry-sdk==2.75.0
cat >see.py <<'PY'
import logging
import sentry_sdk
from sentry_sdk.transport import Transport

written = []


class Keep(Transport):
    def capture_envelope(self, envelope):
        written.append(envelope)


def without(field):
    return lambda event, hint: {key: value for key, value in event.items() if key != field}


def only_harmless(event, hint):
    return {key: event[key] for key in ("message", "logentry", "level", "exception", "release") if key in event}


def raises(event, hint):
    raise ValueError("in the hook")


def capture_exception():
    try:
        raise RuntimeError("order failed")
    except RuntimeError as error:
        sentry_sdk.capture_exception(error)


hooks = {
    "without timestamp": without("timestamp"),
    "without contexts": without("contexts"),
    "without event_id": without("event_id"),
    "only harmless": only_harmless,
    "hook raises": raises,
}
calls = {
    "capture_message": lambda: sentry_sdk.capture_message("order failed"),
    "capture_event": lambda: sentry_sdk.capture_event({"message": "order failed"}),
    "capture_exception": capture_exception,
    "logging": lambda: logging.getLogger("shop").error("order failed"),
}
logging.getLogger("shop").addHandler(logging.NullHandler())
for label, hook in hooks.items():
    sentry_sdk.init(dsn="http://key@sentry.test/1", transport=Keep, before_send=hook)
    outcomes = []
    for name, call in calls.items():
        written.clear()
        try:
            call()
            outcomes.append(f"{name} {'sent' if written else 'lost'}")
        except Exception as error:
            outcomes.append(f"{name} raised {error!r}")
    print(f"{label}: {', '.join(outcomes)}")
PY
py/bin/python see.py >seen
cat seen
if ! diff <(grep -E '^#   (without|only|hook) ' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
