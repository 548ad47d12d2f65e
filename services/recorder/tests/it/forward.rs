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
    stub::{ENVELOPE, Stub, forward, forwarding_to, until},
    support::{Recorder, key, lines, transaction},
};

async fn forwarder(other: &Recorder) -> Recorder {
    let host = other.ingest.strip_prefix("http://").expect("http");
    let dsn = format!("http://{}@{host}/2", key(2));
    Recorder::start(&[("PITBOSS__FORWARD__GAME", &dsn)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_arrive_under_the_other_key_and_only_those_that_were_asked_for() {
    let other = Recorder::start(&[]).await;
    let recorder = forwarder(&other).await;
    recorder.keep(3, ENVELOPE).await;
    recorder.keep(1, ENVELOPE).await;
    until(&recorder, "sent", 1).await;
    let arrived = other.lines("/api/v1/envelopes").await;
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0]["project"], "user");
    assert_eq!(arrived[0]["headers"]["trace"]["public_key"], "ours", "a key that is not ours stays");
    assert_eq!(arrived[0]["items"][0]["payload"], json!({"message": "x"}));
    assert_eq!(
        recorder.lines("/api/v1/envelopes").await[0]["headers"]["trace"]["public_key"],
        "ours",
        "kept as it came"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentry_that_hangs_delays_nobody_and_drops_are_counted() {
    let other = Recorder::start(&[]).await;
    let recorder = forwarder(&other).await;
    let hang = other.operate(Method::POST, "/api/v1/ingest/mode").body("{\"mode\":\"hang\"}");
    assert_eq!(hang.send().await.expect("an answer").status(), 200);
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        recorder.keep(3, ENVELOPE).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "200 envelopes took {:?}", begun.elapsed());
    until(&recorder, "dropped_queue_full", 60).await;

    let limit = "{\"mode\":\"rate_limit\",\"retry_after_s\":1000}";
    let limit = other.operate(Method::POST, "/api/v1/ingest/mode").body(limit);
    assert_eq!(limit.send().await.expect("an answer").status(), 200);
    until(&recorder, "dropped_rate_limited", 100).await;
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

fn no_types(payloads: &[&str]) -> Vec<String> {
    payloads.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_category_is_left_out_and_the_rest_goes_on() {
    let limits = (
        "x-sentry-rate-limits",
        "600:transaction;attachment:organization:quota, 600:never_heard_of".to_owned(),
    );
    let (stub, host) = Stub::start(vec![(200, vec![limits]), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    let span = transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "function", "x", 1.0);
    recorder.keep(3, span.clone()).await;
    until(&recorder, "sent", 1).await;
    recorder.keep(3, span).await;
    until(&recorder, "dropped_rate_limited", 1).await;
    recorder.keep(3, error_and_attachment()).await;
    until(&recorder, "sent", 2).await;
    assert_eq!(forward(&recorder).await["left_out"], 2, "a transaction and an attachment");
    let types = stub.types();
    assert_eq!(types.len(), 2, "{types:?}");
    assert_eq!(types[1], no_types(&["event", "client_report"]), "limits on a 200 count, and errors go on");
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
    recorder.keep(3, ENVELOPE).await;
    until(&recorder, "sent", 3).await;
    let got = stub.got.lock().expect("whole").clone();
    let report = got[2].iter().find(|line| line["discarded_events"].is_array()).expect("a report");
    let lost = &report["discarded_events"][0];
    assert_eq!((&lost["category"], &lost["quantity"]), (&json!("attachment"), &json!(3)), "in bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_without_categories_stops_everything_for_its_time() {
    let (stub, host) =
        Stub::start(vec![(429, vec![("retry-after", "600".to_owned())]), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    recorder.keep(3, ENVELOPE).await;
    until(&recorder, "dropped_rate_limited", 1).await;
    for body in [ENVELOPE, "{}\n{\"type\":\"client_report\"}\n{\"discarded_events\":[]}\n", ENVELOPE] {
        recorder.keep(3, body).await;
    }
    until(&recorder, "dropped_rate_limited", 4).await;
    assert_eq!(stub.types().len(), 1, "reports wait too");
    assert_eq!(forward(&recorder).await["sent"], 0);
    let dropped = json!({"error": {"ratelimited_by_server": 1, "ratelimit_backoff": 2}});
    assert_eq!(dropped_of(&recorder).await, dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_dsn_is_shown_with_status_and_reason() {
    let reason = ("x-sentry-error", "event submission rejected with_reason: ProjectId".to_owned());
    let (stub, host) = Stub::start(vec![(403, vec![reason]), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    recorder.keep(3, ENVELOPE).await;
    until(&recorder, "refused", 1).await;
    let error = last_error(&recorder).await;
    assert_eq!(error["status"], 403);
    assert!(error["reason"].as_str().is_some_and(|reason| reason.contains("ProjectId")), "{error}");
    assert!(error["at"].as_f64().is_some_and(|at| at > 1.7e9));
    recorder.keep(3, ENVELOPE).await;
    until(&recorder, "sent", 1).await;
    assert_eq!(
        stub.types()[1],
        no_types(&["event", "client_report"]),
        "what was refused is told as soon as something is taken"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let (elsewhere, elsewhere_host) = Stub::start(vec![(200, Vec::new())]).await;
    let to = ("location", format!("http://{elsewhere_host}/api/7/envelope/"));
    let (_, host) = Stub::start(vec![(307, vec![to])]).await;
    let recorder = forwarding_to(&host).await;
    recorder.keep(3, ENVELOPE).await;
    until(&recorder, "refused", 1).await;
    assert_eq!(last_error(&recorder).await["status"], 307);
    assert!(elsewhere.types().is_empty(), "the envelope and its key went nowhere else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentry_that_cannot_be_reached_is_shown() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let recorder = forwarding_to(&host).await;
    recorder.keep(3, ENVELOPE).await;
    until(&recorder, "dropped_failed", 1).await;
    let error = last_error(&recorder).await;
    assert!(
        error["status"].is_null() && error["reason"].as_str().is_some_and(|text| text.contains("reached")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_envelope_of_a_trace_names_the_key_of_its_root_project() {
    let (stub, host) = Stub::start(vec![(200, Vec::new())]).await;
    let (game, gateway) = (format!("http://theirgame@{host}/7"), format!("http://theirgateway@{host}/8"));
    let recorder =
        Recorder::start(&[("PITBOSS__FORWARD__GAME", &game), ("PITBOSS__FORWARD__GATEWAY", &gateway)]).await;
    let of = |root: u32| {
        format!("{{\"trace\":{{\"public_key\":\"{}\"}}}}\n{{\"type\":\"event\"}}\n{{}}\n", key(root))
    };
    for project in [1, 3] {
        recorder.keep(project, of(1)).await;
    }
    recorder.keep(3, of(4)).await;
    testkit::eventually("copies", Duration::from_secs(20), || async {
        (stub.got.lock().expect("whole").len() == 3).then_some(())
    })
    .await;
    let got = stub.got.lock().expect("whole");
    let mut keys: Vec<_> = got
        .iter()
        .map(|envelope| envelope[0]["trace"]["public_key"].as_str().expect("a key").to_owned())
        .collect();
    keys.sort();
    assert_eq!(keys, ["theirgame", "theirgateway", "theirgateway"], "payment has no project over there");
}

/// A Sentry that sends no response until it is released.
struct Held {
    types: Arc<Mutex<Vec<Vec<String>>>>,
    release: Arc<tokio::sync::Semaphore>,
}

impl Held {
    async fn start() -> (Self, String) {
        let held = Self { types: Arc::default(), release: Arc::new(tokio::sync::Semaphore::new(0)) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let (types, release) = (Arc::clone(&held.types), Arc::clone(&held.release));
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
        (held, host)
    }

    async fn until_got(&self, count: usize) -> Vec<Vec<String>> {
        testkit::eventually("requests over there", Duration::from_secs(20), || async {
            let types = self.types.lock().expect("whole").clone();
            (types.len() >= count).then_some(types)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_go_before_transactions_and_on_a_request_of_their_own() {
    let (held, host) = Held::start().await;
    let recorder = forwarding_to(&host).await;
    let span = || transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "function", "x", 1.0);
    for _ in 0..3 {
        recorder.keep(3, span()).await;
    }
    assert_eq!(held.until_got(3).await.len(), 3, "several are on their way at once");
    for _ in 0..147 {
        recorder.keep(3, span()).await;
    }
    recorder.keep(3, ENVELOPE).await;
    let types = held.until_got(4).await;
    assert_eq!(types[3][0], "event", "no transaction takes the last request: {types:?}");
    // 128 copies wait, and the older ones are dropped.
    until(&recorder, "dropped_queue_full", 19).await;
    assert_eq!(dropped_of(&recorder).await["transaction"], json!({"queue_overflow": 19}));
    assert_eq!(dropped_of(&recorder).await["error"], Value::Null);
    held.release.add_permits(1_000);
    until(&recorder, "sent", 132).await;
}
