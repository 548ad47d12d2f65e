//! No personal data leaves the platform. A canary is put into every field that a player fills in. It and the session's token must
//! be in no envelope and in no log file.

use std::time::{Duration, SystemTime};

use contracts::parts::Part;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;
use uuid::Uuid;

use super::trace_from_envelopes::{envelopes, items, last_seq, rebuild_trace};
use super::{CURRENCY, Platform, operator_token, shared, state_folder};

const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// Time for a busy machine to hash a password.
const ANSWERED_WITHIN: Duration = Duration::from_secs(120);
/// Sentry's SDK sends the collected log lines every 5 s. One more second is for a slow machine.
const LOGS_SENT_WITHIN_S: f64 = 6.0;

/// Sends a form, and repeats it with its key while a service is too busy.
async fn post(platform: &Platform, path: &str, body: &Value) -> Response {
    let key = Uuid::new_v4().to_string();
    eventually("an answer to a form", ANSWERED_WITHIN, || async {
        let request = platform.http.post(format!("{}{path}", platform.gateway_url)).json(body);
        // Forms of other tests must not use up the limit of this address.
        let request = request.header("idempotency-key", &key).header("x-operator-token", operator_token());
        let response = request.send().await.expect("answered");
        (response.status() != StatusCode::SERVICE_UNAVAILABLE).then_some(response)
    })
    .await
}

fn trace_of(response: &Response) -> String {
    response.headers()["x-trace-id"].to_str().expect("ASCII").to_owned()
}

/// Registers, logs in, and sends invalid forms of every kind, because refused input tends to end in messages and error texts.
/// Returns the session's token and the traces. The registration's trace is the first.
async fn fill_in_forms(platform: &Platform, canary: &str) -> (String, Vec<String>) {
    let (email, password) = (format!("{canary}@players.example"), format!("pw-{canary}"));
    let name = format!("name {canary}");
    let profile = |email: &str| {
        let mut profile = json!({ "email": email, "password": password, "display_name": name });
        profile["currency"] = CURRENCY.into();
        profile
    };
    let unknown_field = json!({ "email": email, "password": password, "colour": canary });
    let forms = [
        ("/api/v1/players", profile(&email), true),
        ("/api/v1/sessions", json!({ "email": email, "password": password }), true),
        ("/api/v1/players", profile(&email.replace('@', "@@")), false),
        ("/api/v1/players", profile(&email), false),
        ("/api/v1/sessions", json!({ "email": email, "password": format!("no-{canary}") }), false),
        ("/api/v1/sessions", unknown_field, false),
    ];
    let (mut token, mut traces) = (String::new(), Vec::new());
    for (path, form, is_accepted) in forms {
        let response = post(platform, path, &form).await;
        traces.push(trace_of(&response));
        let status = response.status();
        let body: Value = response.json().await.expect("JSON");
        assert!(
            if is_accepted { status.is_success() } else { status.is_client_error() },
            "{path}: {status} {body}"
        );
        if let Some(issued) = body["token"].as_str() {
            issued.clone_into(&mut token);
        }
    }
    (token, traces)
}

/// Waits until a trace is a complete tree of these services in which every HTTP call has its server span.
async fn arrived(platform: &Platform, since: u64, trace_id: &str, services: &[Part]) {
    eventually(&format!("trace {trace_id}"), ARRIVES_WITHIN, || async {
        let transactions = items(platform, since, "transaction").await;
        let trace = rebuild_trace(trace_id, &transactions);
        let answered = |id: &str| trace.spans.iter().any(|s| s.parent_span_id.as_deref() == Some(id));
        let all_calls = trace.spans.iter().filter(|s| s.op == "http.client").all(|s| answered(&s.span_id));
        let all_services = services.iter().all(|s| trace.services.iter().any(|t| t == s.as_str()));
        (trace.defects().is_empty() && all_calls && all_services).then_some(())
    })
    .await;
}

/// Waits until gateway and user have sent all logs from before this call. They may have none, so it waits for their counters,
/// which are collected in the same way: one that was recorded after the interval must have arrived.
async fn logs_arrived(platform: &Platform, since: u64, token: &str) {
    let epoch_s =
        |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let sent_by_s = epoch_s(SystemTime::now()) + LOGS_SENT_WITHIN_S;
    eventually("the metrics of gateway and user", ARRIVES_WITHIN, || async {
        // One request a second through both, so that both have new counters.
        let me = platform.http.get(format!("{}/api/v1/me", platform.gateway_url)).bearer_auth(token);
        assert!(me.send().await.expect("answered").status().is_success());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let batches = items(platform, since, "trace_metric").await;
        let has_reported = |service: &str| {
            let own = batches.iter().filter(|(project, _)| project == service);
            let mut taken_at_s = own.flat_map(|(_, batch)| batch["items"].as_array().into_iter().flatten());
            taken_at_s.any(|metric| metric["timestamp"].as_f64().is_some_and(|at| at > sent_by_s))
        };
        (has_reported("gateway") && has_reported("user")).then_some(())
    })
    .await;
}

/// Every log file of this run's platform: its name and its content.
fn log_files() -> Vec<(String, String)> {
    let folder = std::fs::read_dir(state_folder().join("logs")).expect("a folder of logs");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, String::from_utf8_lossy(&std::fs::read(&path).expect("a readable log")).into_owned())
    };
    folder.map(read).collect()
}

#[tokio::test]
async fn personal_data_is_in_no_envelope_or_log() {
    let (platform, _lock) = shared().await;
    let canary = format!("canary{}", Uuid::new_v4().simple());
    let since = last_seq(platform).await;

    let (token, traces) = fill_in_forms(platform, &canary).await;
    // A registration is published to the services that need the player's name and address.
    let receivers = [Part::Gateway, Part::User, Part::Payment, Part::Analytics, Part::Notification];
    arrived(platform, since, &traces[0], &receivers).await;
    for trace_id in &traces[1..] {
        arrived(platform, since, trace_id, &[Part::Gateway]).await;
    }
    logs_arrived(platform, since, &token).await;
    let log_out = platform.http.delete(format!("{}/api/v1/sessions/current", platform.gateway_url));
    let log_out = log_out.bearer_auth(&token).send().await.expect("answered");
    assert!(log_out.status().is_success(), "{}", log_out.status());
    arrived(platform, since, &trace_of(&log_out), &[Part::Gateway, Part::User]).await;
    let secrets = [canary.as_str(), token.as_str()];

    let envelopes: Vec<String> = envelopes(platform, since).await.iter().map(ToString::to_string).collect();
    for trace_id in &traces {
        assert!(envelopes.iter().any(|e| e.contains(trace_id)), "no envelope has {trace_id}");
    }
    for envelope in &envelopes {
        assert!(!secrets.iter().any(|secret| envelope.contains(secret)), "personal data in {envelope}");
    }
    let logs = log_files();
    for service in Part::SERVICES {
        let name = format!("{service}.log");
        assert!(
            logs.iter().any(|(log, text)| *log == name && !text.is_empty()),
            "{name} is missing or empty"
        );
    }
    for (name, text) in &logs {
        let line = text.lines().find(|line| secrets.iter().any(|secret| line.contains(secret)));
        assert_eq!(line, None, "personal data in {name}");
    }
}
