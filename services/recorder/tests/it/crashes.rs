//! Native crashes: a minidump in an envelope or in a form becomes one issue, once, and hostile files become nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;

use crate::support::{Recorder, fetch, key};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const EVENT: &str = "9ec79c33ec9942ab8353589fcb2e04dc";
const WITHIN: Duration = Duration::from_secs(30);

/// The smallest minidump that says something: the thread 7 of a Linux process was killed by SIGABRT.
fn minidump() -> Vec<u8> {
    let mut file = b"MDMP".to_vec();
    let mut word = |number: u32| file.extend(number.to_le_bytes());
    // Header: version, two streams, at 32, and nothing else
    for number in [0, 2, 32, 0, 0, 0, 0] {
        word(number);
    }
    // Streams: type, length, offset
    for number in [6, 168, 56, 7, 56, 224] {
        word(number);
    }
    let exception = [7, 0, 6];
    for index in 0..42 {
        word(exception.get(index).copied().unwrap_or_default());
    }
    // The processor is x86-64, and the system Linux
    for index in 0..14 {
        word(match index {
            0 => 9,
            5 => 0x8201,
            _ => 0,
        });
    }
    file
}

/// An envelope as a crash reporter sends it.
fn report(dump: &[u8]) -> Vec<u8> {
    report_of(EVENT, dump)
}

fn report_of(event_id: &str, dump: &[u8]) -> Vec<u8> {
    let event =
        json!({"event_id": event_id, "level": "fatal", "platform": "native", "release": "pitboss@1.0.0",
        "contexts": {"trace": {"trace_id": TRACE, "span_id": "b7ad6b7169203331"}}})
        .to_string();
    let head = json!({"type": "attachment", "length": dump.len(), "filename": "a.dmp",
        "attachment_type": "event.minidump"});
    let mut body =
        format!("{{\"event_id\":\"{event_id}\"}}\n{{\"type\":\"event\"}}\n{event}\n{head}\n").into_bytes();
    body.extend_from_slice(dump);
    body.push(b'\n');
    body
}

async fn only_issue(recorder: &Recorder) -> Value {
    eventually("an issue", WITHIN, || async {
        let mut issues = recorder.lines("/api/v1/issues").await;
        assert!(issues.len() <= 1, "{issues:?}");
        issues.pop()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn minidump_of_an_envelope_is_one_issue_in_its_trace() {
    let recorder = Recorder::start(&[]).await;
    let seq = recorder.store(4, report(&minidump())).await;
    let issue = only_issue(&recorder).await;
    assert_eq!(issue["title"], "SIGABRT: Fatal Error: SIGABRT");
    assert_eq!((&issue["count"], &issue["last_trace_id"]), (&json!(1), &json!(TRACE)));
    let id = issue["id"].as_str().expect("an id");
    let detail: Value = recorder.get(&format!("/api/v1/issues/{id}")).await.json().await.expect("JSON");
    let event = &detail["events"][0];
    assert_eq!((&event["event_id"], &event["handled"]), (&json!(EVENT), &json!(false)));
    let listed = recorder.lines("/api/v1/events").await;
    let ids: Vec<_> = listed.iter().map(|event| (&event["event_id"], &event["issue_id"])).collect();
    assert_eq!(ids, [(&json!(EVENT), &issue["id"])], "only the finished event is listed");
    let crash = &event["crash"];
    assert_eq!((&crash["thread_id"], &crash["envelope_seq"]), (&json!(7), &json!(seq)));
    let file = json!({"filename": "a.dmp", "content_type": null, "bytes": minidump().len()});
    assert_eq!(event["attachments"], json!([file]));
    let html = recorder.get(&format!("/issues/{id}")).await.text().await.expect("text");
    assert!(html.contains("Native crash") && html.contains("SIGABRT at 0x0 in thread"), "{html}");
    assert!(html.contains("a.dmp"), "{html}");

    // The same report again, and an index that is built again, change nothing
    recorder.store(4, report(&minidump())).await;
    let folder = recorder.stop().await;
    for file in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let path = folder.path().join("data").join(file);
        if path.exists() {
            std::fs::remove_file(path).expect("deleted");
        }
    }
    let recorder = Recorder::start_in(folder, &[]).await;
    let again = only_issue(&recorder).await;
    assert_eq!((&again["id"], &again["count"]), (&issue["id"], &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn minidumps_stored_together_at_the_start_are_read_once_each() {
    const REPORTS: usize = 24;
    let recorder = Recorder::start(&[]).await;
    let dump = minidump();
    let reports = (0..REPORTS).map(|number| recorder.store(4, report_of(&format!("{number:032x}"), &dump)));
    futures::future::join_all(reports).await;
    let mut ids = eventually("an event of each", WITHIN, || async {
        let listed = recorder.lines("/api/v1/events").await;
        (listed.len() >= REPORTS)
            .then(|| listed.iter().map(|event| event["event_id"].clone()).collect::<Vec<_>>())
    })
    .await;
    ids.sort_by_key(ToString::to_string);
    let expected: Vec<Value> = (0..REPORTS).map(|number| format!("{number:032x}").into()).collect();
    assert_eq!(ids, expected);
    assert_eq!(only_issue(&recorder).await["count"], REPORTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_compressed_minidump_is_read() {
    use std::io::Write as _;
    let recorder = Recorder::start(&[]).await;
    let mut dump = minidump();
    dump.resize(3 * 1024 * 1024, 7);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&report(&dump)).expect("memory");
    let request = recorder.post(4, encoder.finish().expect("memory")).header("content-encoding", "gzip");
    assert_eq!(fetch(request).await.status(), 200);
    assert_eq!(only_issue(&recorder).await["title"], "SIGABRT: Fatal Error: SIGABRT");
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content) in parts {
        body.extend(format!("--xyz\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").into_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn uploaded_form_is_answered_as_by_sentry() {
    let recorder = Recorder::start(&[]).await;
    let url = |key: &str| format!("{}/api/4/minidump/?sentry_key={key}", recorder.ingest);
    let upload = |key: &str, body: Vec<u8>| {
        recorder.client.post(url(key)).header("content-type", "multipart/form-data; boundary=xyz").body(body)
    };
    let compressed = zstd::encode_all(minidump().as_slice(), 3).expect("memory");
    let parts: [(&str, &[u8]); 2] = [
        ("name=\"sentry[release]\"", b"shop@7".as_slice()),
        ("name=\"upload_file_minidump\"; filename=\"b.dmp\"", compressed.as_slice()),
    ];
    let whole = form(&parts);
    assert_eq!(fetch(upload("", whole.clone())).await.status(), 401);
    assert_eq!(fetch(upload(&key(3), whole.clone())).await.status(), 403);
    for refused in [form(&parts[..1]), form(&[(parts[1].0, b"text".as_slice())]), b"--xyz".to_vec()] {
        assert_eq!(fetch(upload(&key(4), refused)).await.status(), 400);
    }
    let answer = fetch(upload(&key(4), whole)).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("text/plain"));
    let id = uuid::Uuid::parse_str(&answer.text().await.expect("text")).expect("an id");
    let issue = only_issue(&recorder).await;
    assert_eq!(issue["last_event_id"], id.simple().to_string());
    assert_eq!(issue["releases"], json!(["shop@7"]));
    assert_eq!(issue["title"], "SIGABRT: Fatal Error: SIGABRT", "a minidump in zstd is read");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_minidump_says_so() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(4, report(b"MDMP and nothing behind it")).await;
    let issue = only_issue(&recorder).await;
    assert_eq!(issue["title"], "Minidump: Invalid Minidump");
}
