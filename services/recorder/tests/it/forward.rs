//! Forwarded copies. A second recorder serves as a target that works, so that copies pass a real ingest endpoint. A stub
//! with scripted responses serves as one that does not.

use std::{
    io::Read as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    stub::{ENVELOPE, Stub, forward, forwarding_to, wait_for_count},
    support::{Recorder, fetch, key, lines, transaction},
};

async fn forwarder(other: &Recorder) -> Recorder {
    let host = other.ingest.strip_prefix("http://").expect("http");
    let dsn = format!("http://{}@{host}/2", key(2));
    Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_projects_get_the_targets_key() {
    let other = Recorder::start(&[]).await;
    let recorder = forwarder(&other).await;
    recorder.store(3, ENVELOPE).await;
    recorder.store(1, ENVELOPE).await;
    wait_for_count(&recorder, "sent", 1).await;
    let arrived = other.lines("/api/v1/envelopes").await;
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0]["project"], "user");
    assert_eq!(arrived[0]["headers"]["trace"]["public_key"], "ours", "an unknown key is not replaced");
    assert_eq!(arrived[0]["items"][0]["payload"], json!({"message": "x"}));
    assert_eq!(
        recorder.lines("/api/v1/envelopes").await[0]["headers"]["trace"]["public_key"],
        "ours",
        "the stored envelope is unchanged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_target_does_not_delay_ingest() {
    let other = Recorder::start(&[]).await;
    let recorder = forwarder(&other).await;
    let hang = other.operator_request(Method::POST, "/api/v1/ingest/mode").body("{\"mode\":\"hang\"}");
    assert_eq!(fetch(hang).await.status(), 200);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        recorder.store(3, ENVELOPE).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "200 envelopes took {:?}", begun.elapsed());
    wait_for_count(&recorder, "dropped_queue_full", 60).await;

    let limit = "{\"mode\":\"rate_limit\",\"retry_after_s\":1000}";
    let limit = other.operator_request(Method::POST, "/api/v1/ingest/mode").body(limit);
    assert_eq!(fetch(limit).await.status(), 200);
    wait_for_count(&recorder, "dropped_rate_limited", 100).await;
    assert_eq!(other.lines("/api/v1/envelopes").await.len(), 0);
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 200);
}

/// Returns the losses by category and reason.
async fn dropped_of(recorder: &Recorder) -> Value {
    forward(recorder).await["dropped"].take()
}

async fn last_error(recorder: &Recorder) -> Value {
    forward(recorder).await["last_error"].take()
}

fn error_and_attachment() -> String {
    "{}\n{\"type\":\"event\"}\n{\"message\":\"x\"}\n{\"type\":\"attachment\",\"length\":3}\nabc\n".to_owned()
}

fn type_names(payloads: &[&str]) -> Vec<String> {
    payloads.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn limited_category_is_omitted_and_reported() {
    let limits =
        ("x-sentry-rate-limits", "600:transaction;attachment:organization:quota, 600:unknown".to_owned());
    let (stub, host) = Stub::start(vec![(200, vec![limits]), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    let span = transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "function", "x", 1.0);
    recorder.store(3, span.clone()).await;
    wait_for_count(&recorder, "sent", 1).await;
    recorder.store(3, span).await;
    wait_for_count(&recorder, "dropped_rate_limited", 1).await;
    recorder.store(3, error_and_attachment()).await;
    wait_for_count(&recorder, "sent", 2).await;
    assert_eq!(forward(&recorder).await["left_out"], 2, "a transaction and an attachment");
    let types = stub.types();
    assert_eq!(types.len(), 2, "{types:?}");
    assert_eq!(
        types[1],
        type_names(&["event", "client_report"]),
        "limits in a response of 200 apply, and errors are still sent"
    );
    let got = stub.got.lock().expect("whole").clone();
    let report = got[1].iter().find(|line| line["discarded_events"].is_array()).expect("a report");
    let lost = |category: &str| {
        let entries = report["discarded_events"].as_array().expect("a list");
        entries
            .iter()
            .find(|entry| entry["category"] == category)
            .map(|entry| (entry["reason"].clone(), entry["quantity"].clone()))
    };
    assert_eq!(lost("transaction"), Some((json!("ratelimit_backoff"), json!(1))));
    assert_eq!(lost("span"), Some((json!("ratelimit_backoff"), json!(2))));
    // The next copy reports what this copy leaves out.
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "sent", 3).await;
    let got = stub.got.lock().expect("whole").clone();
    let report = got[2].iter().find(|line| line["discarded_events"].is_array()).expect("a report");
    let lost = &report["discarded_events"][0];
    assert_eq!((&lost["category"], &lost["quantity"]), (&json!("attachment"), &json!(3)), "in bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn global_429_stops_all_copies() {
    let (stub, host) =
        Stub::start(vec![(429, vec![("retry-after", "600".to_owned())]), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "dropped_rate_limited", 1).await;
    for body in [ENVELOPE, "{}\n{\"type\":\"client_report\"}\n{\"discarded_events\":[]}\n", ENVELOPE] {
        recorder.store(3, body).await;
    }
    wait_for_count(&recorder, "dropped_rate_limited", 4).await;
    assert_eq!(stub.types().len(), 1, "reports are not sent either");
    assert_eq!(forward(&recorder).await["sent"], 0);
    let dropped = json!({"error": {"ratelimited_by_server": 1, "ratelimit_backoff": 2}});
    assert_eq!(dropped_of(&recorder).await, dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_copy_shows_status_and_reason() {
    let reason = ("x-sentry-error", "event submission rejected with_reason: ProjectId".to_owned());
    let (stub, host) = Stub::start(vec![(403, vec![reason]), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "refused", 1).await;
    let error = last_error(&recorder).await;
    assert_eq!(error["status"], 403);
    assert!(error["reason"].as_str().is_some_and(|reason| reason.contains("ProjectId")), "{error}");
    assert!(error["at"].as_f64().is_some_and(|at| at > 1.7e9));
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "sent", 1).await;
    assert_eq!(
        stub.types()[1],
        type_names(&["event", "client_report"]),
        "the loss is reported with the next accepted copy"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_is_not_followed() {
    let (elsewhere, elsewhere_host) = Stub::start(vec![(200, Vec::new())]).await;
    let to = ("location", format!("http://{elsewhere_host}/api/7/envelope/"));
    let (_, host) = Stub::start(vec![(307, vec![to])]).await;
    let recorder = forwarding_to(&host).await;
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "refused", 1).await;
    assert_eq!(last_error(&recorder).await["status"], 307);
    assert!(elsewhere.types().is_empty(), "the envelope and its key are sent to no other host");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_target_is_shown() {
    // Bound but not listening: no other process gets the port, and connections are refused.
    let refusing = tokio::net::TcpSocket::new_v4().expect("a socket");
    refusing.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let host = refusing.local_addr().expect("an address").to_string();
    let recorder = forwarding_to(&host).await;
    recorder.store(3, ENVELOPE).await;
    wait_for_count(&recorder, "dropped_failed", 1).await;
    let error = last_error(&recorder).await;
    assert!(
        error["status"].is_null() && error["reason"].as_str().is_some_and(|text| text.contains("reached")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_envelopes_of_a_trace_have_one_key() {
    let (stub, host) = Stub::start(vec![(200, Vec::new())]).await;
    let (game, gateway) = (format!("http://theirgame@{host}/7"), format!("http://theirgateway@{host}/8"));
    let recorder =
        Recorder::start(&[("PITBOSS__FORWARD__GAME", &game), ("PITBOSS__FORWARD__GATEWAY", &gateway)]).await;
    let of = |root: u32| {
        format!("{{\"trace\":{{\"public_key\":\"{}\"}}}}\n{{\"type\":\"event\"}}\n{{}}\n", key(root))
    };
    for project in [1, 3] {
        recorder.store(project, of(1)).await;
    }
    recorder.store(3, of(4)).await;
    testkit::eventually("copies", Duration::from_secs(60), || async {
        (stub.got.lock().expect("whole").len() == 3).then_some(())
    })
    .await;
    let got = stub.got.lock().expect("whole");
    let mut keys: Vec<_> = got
        .iter()
        .map(|envelope| envelope[0]["trace"]["public_key"].as_str().expect("a key").to_owned())
        .collect();
    keys.sort();
    assert_eq!(keys, ["theirgame", "theirgateway", "theirgateway"], "payment has no target");
}

/// A Sentry that sends no response until it is released.
struct BlockedSentry {
    types: Arc<Mutex<Vec<Vec<String>>>>,
    release: Arc<tokio::sync::Semaphore>,
}

impl BlockedSentry {
    async fn start() -> (Self, String) {
        let blocked = Self { types: Arc::default(), release: Arc::new(tokio::sync::Semaphore::new(0)) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let (types, release) = (Arc::clone(&blocked.types), Arc::clone(&blocked.release));
        let routes = Router::new().fallback(move |body: Bytes| {
            let (types, release) = (Arc::clone(&types), Arc::clone(&release));
            async move {
                let mut text = String::new();
                flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("gzip");
                let items =
                    lines(&text).iter().filter_map(|line| line["type"].as_str().map(str::to_owned)).collect();
                types.lock().expect("whole").push(items);
                release.acquire().await.expect("open").forget();
                StatusCode::OK
            }
        });
        telemetry::spawn(async move { axum::serve(listener, routes).await });
        (blocked, host)
    }

    async fn wait_for_requests(&self, count: usize) -> Vec<Vec<String>> {
        testkit::eventually("requests at the target", Duration::from_secs(60), || async {
            let types = self.types.lock().expect("whole").clone();
            (types.len() >= count).then_some(types)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_sent_before_transactions() {
    let (blocked, host) = BlockedSentry::start().await;
    let recorder = forwarding_to(&host).await;
    let span = || transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "function", "x", 1.0);
    for _ in 0..3 {
        recorder.store(3, span()).await;
    }
    assert_eq!(blocked.wait_for_requests(3).await.len(), 3, "several requests are in flight");
    for _ in 0..147 {
        recorder.store(3, span()).await;
    }
    recorder.store(3, ENVELOPE).await;
    let types = blocked.wait_for_requests(4).await;
    assert_eq!(types[3][0], "event", "no transaction takes the last request: {types:?}");
    // 128 copies wait, and the older ones are dropped.
    wait_for_count(&recorder, "dropped_queue_full", 19).await;
    assert_eq!(dropped_of(&recorder).await["transaction"], json!({"queue_overflow": 19}));
    assert_eq!(dropped_of(&recorder).await["error"], Value::Null);
    blocked.release.add_permits(1_000);
    wait_for_count(&recorder, "sent", 132).await;
}
