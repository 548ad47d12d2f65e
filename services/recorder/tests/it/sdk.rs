//! An SDK of another language: Python's `sentry-sdk`, with its default compression, with gzip and with brotli.
//!
//! `PITBOSS_TEST_PYTHON` names an interpreter that has it. `./pitboss test` creates one. Without it the test fails.

use std::{collections::BTreeMap, process::Command};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::support::{Recorder, key};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/send.py");

#[tokio::test(flavor = "multi_thread")]
async fn python_sdk_envelopes_are_stored_and_parsed() {
    let Some(python) = std::env::var_os("PITBOSS_TEST_PYTHON") else {
        panic!(
            "PITBOSS_TEST_PYTHON is not set: run this test through `./pitboss test`, which makes an environment with sentry-sdk"
        );
    };
    let recorder = Recorder::start(&[]).await;
    let mut tried = BTreeMap::new();
    for compression in ["default", "gzip", "br"] {
        let host = recorder.ingest.strip_prefix("http://").expect("http");
        let dsn = format!("http://{}@{host}/2", key(2));
        let mut command = Command::new(&python);
        command.arg(SCRIPT).arg(dsn).arg(compression).env_remove("http_proxy").env_remove("HTTP_PROXY");
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("no panic")
            .expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let sent: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        tried.insert(compression, sent);
    }
    let mut stored = Vec::new();
    let mut encodings = Vec::new();
    for line in recorder.lines("/api/v1/envelopes?project=user").await {
        let raw = recorder.get(&format!("/api/v1/envelopes/{}/raw", line["seq"])).await;
        encodings.push(raw.headers()["x-recorder-content-encoding"].to_str().expect("text").to_owned());
        stored.push(raw.bytes().await.expect("bytes").to_vec());
    }
    let mut checked = 0;
    for (compression, sent) in &tried {
        for envelope in sent["envelopes"].as_array().expect("a list") {
            let bytes = BASE64_STANDARD.decode(envelope.as_str().expect("base64")).expect("base64");
            assert!(stored.contains(&bytes), "{compression}: an envelope is missing");
            checked += 1;
        }
        let trace_id = sent["trace_id"].as_str().expect("an id");
        let trace: Value =
            recorder.get(&format!("/api/v1/traces/{trace_id}")).await.json().await.expect("JSON");
        let ops: Vec<_> = trace["spans"]
            .as_array()
            .expect("spans")
            .iter()
            .map(|span| span["op"].as_str().expect("an op"))
            .collect();
        assert_eq!(ops, ["queue.process", "db"], "{compression}");
        assert_eq!(trace["spans"][1]["description"], "SELECT 1");
        assert_eq!(trace["errors"][0]["type"], "ZeroDivisionError", "{compression}");
        assert_eq!(trace["errors"][0]["span_id"], trace["spans"][1]["span_id"]);
        assert_eq!(trace["services"], serde_json::json!(["user"]));
        assert!(
            trace["logs"].as_array().expect("logs").iter().any(|log| log["body"] == "from python"),
            "{compression}"
        );
    }
    assert!(checked >= 9, "only {checked} envelopes checked");
    assert!(encodings.contains(&"gzip".to_owned()) && encodings.contains(&"br".to_owned()), "{encodings:?}");
    let issues = recorder.lines("/api/v1/issues?project=user").await;
    assert_eq!((issues.len(), &issues[0]["count"]), (1, &serde_json::json!(3)), "three runs, one issue");
}
