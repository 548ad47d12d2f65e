#!/usr/bin/env bash
# Go's `github.com/getsentry/sentry-go` v0.50.0 sends the parameters of a log as `sentry.message.parameters.0`, with one "s" too
# many. So a search for `message.parameter.0` over services in several languages silently misses those in Go.
# Sentry's conventions (npm's `@sentry/conventions` 0.32.0, attribute `sentry.message.parameter.<key>`) demand the singular.
# Sentry's SDKs for Python and JavaScript send it. Python's SDK once sent the plural and was corrected "as per spec"
# (sentry-python 4387). The template of the same log has the right name, `sentry.message.template`. So an expert expects the right
# name for the parameters, too.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   conventions: sentry.message.parameter.<key>
#   go: sentry.message.parameters.0 = "ada"
#   go: sentry.message.parameters.1 = "5"
#   go: sentry.message.template = "user %s bought %d"
#   python: sentry.message.parameter.0 = "ada"
#   python: sentry.message.parameter.1 = 5
#   python: sentry.message.template = "user %s bought %d"
# Needs: bash, go, node with npm, python3 with venv. Takes about half a minute.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir "$work/go" "$work/node"
cd "$work/node"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @sentry/conventions@0.32.0
node -e 'console.log("conventions:", require("@sentry/conventions/attributes").SENTRY_MESSAGE_PARAMETER_KEY)' >"$work/seen"

cd "$work/go"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"
)

func main() {
	bodies := make(chan []byte, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- body
	}))
	dsn := strings.Replace(receiver.URL, "http://", "http://key@", 1) + "/1"
	if err := sentry.Init(sentry.ClientOptions{Dsn: dsn}); err != nil {
		panic(err)
	}
	sentry.NewLogger(context.Background()).Info().Emitf("user %s bought %d", "ada", 5)
	sentry.Flush(10 * time.Second)
	var logs struct {
		Items []struct {
			Attributes map[string]struct{ Value json.RawMessage }
		}
	}
	if err := json.Unmarshal(bytes.SplitN(<-bodies, []byte("\n"), 4)[2], &logs); err != nil {
		panic(err)
	}
	attributes := logs.Items[0].Attributes
	for _, key := range slices.Sorted(maps.Keys(attributes)) {
		if strings.HasPrefix(key, "sentry.message.") {
			fmt.Printf("go: %s = %s\n", key, attributes[key].Value)
		}
	}
}
GO
export GOFLAGS=-mod=mod
go mod init seen >/dev/null 2>&1
go get github.com/getsentry/sentry-go@v0.50.0 >/dev/null 2>&1
go run . >>"$work/seen"

cd "$work"
python3 -m venv py
py/bin/pip -q --disable-pip-version-check install sentry-sdk==2.75.0
cat >see.py <<'PY'
import json, logging
import sentry_sdk
from sentry_sdk.transport import Transport

written = []


class Keep(Transport):
    def capture_envelope(self, envelope):
        written.append(envelope.serialize())


sentry_sdk.init(dsn="http://key@sentry.test/1", transport=Keep, enable_logs=True)
logging.getLogger("shop").warning("user %s bought %d", "ada", 5)
sentry_sdk.flush()
attributes = json.loads(written[0].split(b"\n")[2])["items"][0]["attributes"]
for key in sorted(attributes):
    if key.startswith("sentry.message."):
        print(f"python: {key} = {json.dumps(attributes[key]['value'])}")
PY
py/bin/python see.py >>seen 2>/dev/null
cat seen
if ! diff <(grep -E '^#   (conventions|go|python): ' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
