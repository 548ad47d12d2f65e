"""Sends an error inside a span inside a transaction, and a log, with Python's sentry-sdk.

Prints what the SDK put into its requests, before compression: {"trace_id": …, "envelopes": [base64, …]}.
Usage: send.py <dsn> <default|gzip|br>
"""

import base64
import io
import json
import sys

import sentry_sdk
from sentry_sdk.envelope import Envelope

sent = []
serialize_into = Envelope.serialize_into


def remember(self, f):
    buffer = io.BytesIO()
    serialize_into(self, buffer)
    sent.append(buffer.getvalue())
    f.write(buffer.getvalue())


Envelope.serialize_into = remember

dsn, compression = sys.argv[1:]
experiments = {} if compression == "default" else {"transport_compression_algo": compression}
sentry_sdk.init(
    dsn=dsn,
    traces_sample_rate=1.0,
    release="python@1",
    environment="test",
    enable_logs=True,
    _experiments=experiments,
)

with sentry_sdk.start_transaction(op="queue.process", name="casino.bets.commands.v1") as transaction:
    with sentry_sdk.start_span(op="db", name="SELECT 1"):
        sentry_sdk.set_user({"id": "anna"})
        sentry_sdk.logger.info("from python")
        try:
            1 / 0
        except ZeroDivisionError as error:
            sentry_sdk.capture_exception(error)
trace_id = transaction.trace_id
sentry_sdk.flush(timeout=60)
print(json.dumps({"trace_id": trace_id, "envelopes": [base64.b64encode(e).decode() for e in sent]}))
