//! Sentry's own ingestion library accepts everything that was sent.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::receiver::{Behaviour, Receiver};
use super::scenario;

fn check(python: &str, envelopes: &[Vec<u8>]) -> (bool, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay_check.py");
    let mut checker = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = String::new();
    for envelope in envelopes {
        for item in super::receiver::parse_envelope(envelope) {
            let line = serde_json::json!({"project": 3, "headers": item.envelope, "items": [{"headers": item.header, "payload": item.payload}]});
            lines.push_str(&format!("{line}\n"));
        }
    }
    checker.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[test]
fn relay_accepts_envelopes() {
    let Ok(python) = std::env::var("PITBOSS_TEST_PYTHON") else {
        panic!(
            "PITBOSS_TEST_PYTHON is not set: run this test through `./pitboss test`, which installs sentry-relay"
        );
    };
    let receiver = Receiver::start(Behaviour::Normal);
    for name in ["handler", "links", "linked", "server", "client", "canaries", "late"] {
        scenario::run(name, &receiver.dsn(), &[]);
    }
    for name in ["handler", "links", "server", "late"] {
        scenario::run(name, &receiver.dsn(), &[scenario::STREAMED]);
    }
    assert!(!receiver.items_of("span").is_empty(), "no streamed span was checked");
    let envelopes: Vec<Vec<u8>> = receiver.received().into_iter().map(|request| request.body).collect();
    let (accepted, text) = check(&python, &envelopes);
    println!("{text}");
    assert!(accepted, "{text}");

    // The check detects an invalid envelope
    let broken = envelopes.iter().find(|e| e.windows(13).any(|w| w == b"queue.process")).unwrap().clone();
    let broken = String::from_utf8(broken).unwrap().replace(r#""span_id":""#, r#""span_id":"zz"#);
    let (_, rest) = broken.split_once('\n').unwrap();
    let (_, payload) = rest.split_once('\n').unwrap();
    let payload = payload.trim_end();
    let broken = format!("{{}}\n{{\"type\":\"transaction\",\"length\":{}}}\n{payload}\n", payload.len());
    let (accepted, text) = check(&python, &[broken.into_bytes()]);
    assert!(!accepted, "a malformed span id was accepted: {text}");
}
