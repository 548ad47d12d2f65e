#!/usr/bin/env bash
# Rust's `opentelemetry_sdk` 0.32.1 (crates.io): `TraceContextPropagator` keeps the parent's ids but silently drops the WHOLE
# `tracestate` if the list has a space after a comma or an empty member. W3C Trace Context allows both: "Optional whitespace (OWS)
# is allowed" around members, "empty list members are allowed". HTTP proxies write ", " when they join two header lines into one.
# Then the trace continues without a vendor's state (sampling probability, tenant). Go's `propagation.TraceContext` of
# go.opentelemetry.io/otel keeps the members of both lists.
# Observed behaviour, which this script demands (exit 1 when it changes):
#   rust "rojo=1,congo=2" -> valid parent, state "rojo=1,congo=2"
#   rust "rojo=1, congo=2" -> valid parent, state ""
#   rust "rojo=1,,congo=2" -> valid parent, state ""
#   go "rojo=1,congo=2" -> valid parent, state "rojo=1,congo=2"
#   go "rojo=1, congo=2" -> valid parent, state "rojo=1,congo=2"
#   go "rojo=1,,congo=2" -> valid parent, state "rojo=1,congo=2"
# Needs: bash, cargo, go. Takes about a minute.
set -euo pipefail
script=$(realpath "$0")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir -p "$work/rust/src" "$work/go"
cd "$work/rust"
cat >Cargo.toml <<'TOML'
[package]
name = "seen"
version = "0.1.0"
edition = "2021"
[dependencies]
opentelemetry = { version = "=0.32.0", default-features = false, features = ["trace"] }
opentelemetry_sdk = { version = "=0.32.1", default-features = false, features = ["trace"] }
[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::collections::HashMap;
use opentelemetry::{propagation::TextMapPropagator, trace::TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

fn main() {
    for state in ["rojo=1,congo=2", "rojo=1, congo=2", "rojo=1,,congo=2"] {
        let mut headers = HashMap::new();
        headers.insert("traceparent".to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_string());
        headers.insert("tracestate".to_string(), state.to_string());
        let context = TraceContextPropagator::new().extract(&headers);
        let parent = context.span().span_context().clone();
        let valid = if parent.is_valid() { "valid" } else { "no" };
        println!("rust {state:?} -> {valid} parent, state {:?}", parent.trace_state().header());
    }
}
RUST
CARGO_TARGET_DIR="$work/target" cargo run --quiet >"$work/seen"
cd "$work/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	for _, state := range []string{"rojo=1,congo=2", "rojo=1, congo=2", "rojo=1,,congo=2"} {
		headers := propagation.MapCarrier{
			"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			"tracestate":  state,
		}
		parent := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers))
		valid := map[bool]string{true: "valid", false: "no"}[parent.IsValid()]
		fmt.Printf("go %q -> %s parent, state %q\n", state, valid, parent.TraceState().String())
	}
}
GO
export GOFLAGS=-mod=mod
go mod init seen >/dev/null 2>&1
go get go.opentelemetry.io/otel@v1.38.0 go.opentelemetry.io/otel/trace@v1.38.0 >/dev/null 2>&1
go run . >>"$work/seen"
cat "$work/seen"
diff <(grep -E '^#   (rust|go) ' "$script" | sed 's/^#   //') "$work/seen"
