//! Sentry's own ingestion library accepts everything that was sent.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::receiver::{Mood, Receiver};
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
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

#[test]
fn relay_accepts_what_we_send() {
    let Ok(python) = std::env::var("PITBOSS_TEST_PYTHON") else {
        panic!(
            "PITBOSS_TEST_PYTHON is not set: run this test through `./pitboss test`, which makes an environment with sentry-relay"
        );
    };
    let receiver = Receiver::start(Mood::Well);
    for name in ["handler", "links", "linked", "server", "client", "canaries", "late"] {
        scenario::run(name, &receiver.dsn(), &[]);
    }
    let envelopes: Vec<Vec<u8>> = receiver.received().into_iter().map(|request| request.body).collect();
    let (well, said) = check(&python, &envelopes);
    println!("{said}");
    assert!(well, "{said}");

    // the check detects an invalid envelope
    let broken = envelopes.iter().find(|e| e.windows(13).any(|w| w == b"queue.process")).unwrap().clone();
    let broken = String::from_utf8(broken).unwrap().replace(r#""span_id":""#, r#""span_id":"zz"#);
    let (_, rest) = broken.split_once('\n').unwrap();
    let (_, payload) = rest.split_once('\n').unwrap();
    let payload = payload.trim_end();
    let broken = format!("{{}}\n{{\"type\":\"transaction\",\"length\":{}}}\n{payload}\n", payload.len());
    let (well, said) = check(&python, &[broken.into_bytes()]);
    assert!(!well, "a malformed span id was accepted: {said}");
}
