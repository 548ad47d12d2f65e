#!/usr/bin/env bash
# Go's `github.com/getsentry/sentry-go` v0.50.0 does not mark a recovered panic as unhandled. `Recover` sends the exception of a
# panic without a `mechanism`. So does `sentryhttp` with `Repanic`, which lets the handler crash as before. Only the level
# distinguishes the panic from an error that the user gave to `CaptureException`. A chain of errors has mechanisms, but their type
# is "generic" or "chained", and `handled` is missing. A panic with a string has no exception at all.
# Sentry's SDK document "Exception Interface" says: for "SDK-invoked exception captures, the mechanism `type` value MUST NOT be
# set to `'generic'`". `handled` states "whether the user has handled the exception". The module has
# `Mechanism.SetUnhandled`, "i.e. from a panic", and never calls it. Sentry's SDK for Rust marks panics this way (sentry-rust
# 244). An expert expects a search for unhandled errors to find Go's panics.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   CaptureException, one error: level error, *errors.errorString without mechanism
#   CaptureException, a chain: level error, *errors.errorString {"type":"chained","source":"unwrap","parent_id":0,"exception_id":1}, *fmt.wrapError {"type":"generic","exception_id":0}
#   Recover, panic with one error: level fatal, *errors.errorString without mechanism
#   Recover, panic with a chain: level fatal, *errors.errorString {"type":"chained","source":"unwrap","parent_id":0,"exception_id":1}, *fmt.wrapError {"type":"generic","exception_id":0}
#   Recover, panic of the runtime: level fatal, runtime.plainError without mechanism
#   Recover, panic with a string: level fatal, no exception
#   sentryhttp, panic with one error: level fatal, *errors.errorString without mechanism
# Needs: bash, go. Takes a few seconds once Go's cache is warm, half a minute otherwise.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"
	sentryhttp "github.com/getsentry/sentry-go/http"
)

type sent struct {
	Level     string
	Exception []struct {
		Type      string
		Mechanism json.RawMessage
	}
}

func main() {
	events := make(chan sent, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		lines := bytes.SplitN(body, []byte("\n"), 4)
		var event sent
		if err := json.Unmarshal(lines[2], &event); err != nil {
			panic(err)
		}
		events <- event
	}))
	dsn := strings.Replace(receiver.URL, "http://", "http://key@", 1) + "/1"
	if err := sentry.Init(sentry.ClientOptions{Dsn: dsn, Transport: sentry.NewHTTPSyncTransport()}); err != nil {
		panic(err)
	}
	show := func(label string, act func()) {
		act()
		select {
		case event := <-events:
			parts := []string{}
			for _, exception := range event.Exception {
				mechanism := string(exception.Mechanism)
				if mechanism == "" {
					mechanism = "without mechanism"
				}
				parts = append(parts, exception.Type+" "+mechanism)
			}
			if len(parts) == 0 {
				parts = append(parts, "no exception")
			}
			fmt.Printf("%s: level %s, %s\n", label, event.Level, strings.Join(parts, ", "))
		case <-time.After(10 * time.Second):
			fmt.Printf("%s: nothing sent\n", label)
		}
	}
	recovered := func(act func()) func() {
		return func() {
			defer func() { sentry.CurrentHub().Recover(recover()) }()
			act()
		}
	}
	one := func() error { return errors.New("one") }
	chain := func() error { return fmt.Errorf("two: %w", one()) }

	show("CaptureException, one error", func() { sentry.CaptureException(one()) })
	show("CaptureException, a chain", func() { sentry.CaptureException(chain()) })
	show("Recover, panic with one error", recovered(func() { panic(one()) }))
	show("Recover, panic with a chain", recovered(func() { panic(chain()) }))
	show("Recover, panic of the runtime", recovered(func() {
		var stock map[string]int
		stock["apples"] = 1
	}))
	show("Recover, panic with a string", recovered(func() { panic("a string") }))
	show("sentryhttp, panic with one error", func() {
		defer func() { _ = recover() }()
		handler := sentryhttp.New(sentryhttp.Options{Repanic: true}).HandleFunc(func(http.ResponseWriter, *http.Request) { panic(one()) })
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	})
}
GO
export GOFLAGS=-mod=mod
go mod init seen >/dev/null 2>&1
go get github.com/getsentry/sentry-go@v0.50.0 >/dev/null 2>&1
go run . >seen
cat seen
if ! diff <(grep -E '^#   (CaptureException|Recover|sentryhttp), ' "$script" | sed 's/^#   //') seen; then
  echo "the behaviour has changed"
  exit 1
fi
