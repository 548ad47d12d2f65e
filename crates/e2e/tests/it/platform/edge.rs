//! Edge of a whole platform: host names that its listeners accept, and idempotency keys that name the same request.

use std::time::Duration;

use contracts::parts::Part;
use reqwest::StatusCode;
use reqwest::header::HOST;
use serde_json::{Value, json};
use testkit::eventually;
use uuid::Uuid;

use super::{CURRENCY, Platform, console, ports, shared};

#[tokio::test]
async fn listeners_refuse_unknown_host_names() {
    let (platform, _lock) = shared().await;
    let mut listeners = vec![ports().recorder_query()];
    for part in Part::SERVICES {
        listeners.push(ports().http(*part));
        listeners.extend(ports().ops(*part));
    }
    for port in listeners {
        let request_status = |host: String| {
            let request = platform.http.get(format!("http://127.0.0.1:{port}/livez")).header(HOST, host);
            async { request.send().await.map(|answer| answer.status()) }
        };
        assert_eq!(
            request_status(format!("rebound.example:{port}")).await.ok(),
            Some(StatusCode::MISDIRECTED_REQUEST),
            "{port}"
        );
        assert_ne!(
            request_status(format!("127.0.0.1:{port}")).await.ok(),
            Some(StatusCode::MISDIRECTED_REQUEST),
            "{port}"
        );
    }
}

/// Time for a busy platform to settle a bet.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

async fn bet(platform: &Platform, token: &str, keys: &[&str]) -> (StatusCode, Value) {
    let body = json!({ "game": "slots", "stake_minor": 100, "currency": CURRENCY });
    let mut request = platform.http.post(format!("{}/api/v1/bets", platform.gateway_url)).bearer_auth(token);
    for key in keys {
        request = request.header("idempotency-key", *key);
    }
    let answer = request.json(&body).send().await.expect("answered");
    (answer.status(), answer.json().await.expect("JSON"))
}

/// Repeats a bet with its key until it has a result, and returns the result.
async fn settled(platform: &Platform, token: &str, key: &str) -> Value {
    eventually("the result of a bet", SETTLES_WITHIN, || async {
        let (status, body) = bet(platform, token, &[key]).await;
        let is_early = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        assert!(status == StatusCode::OK || is_early, "{status}: {body}");
        (!is_early).then_some(body)
    })
    .await
}

#[tokio::test]
async fn two_keys_are_refused_and_quotes_are_ignored() {
    let (platform, _lock) = shared().await;
    let player = console::player(platform, CURRENCY).await;
    let [one, other] = [(); 2].map(|()| Uuid::new_v4().to_string());
    for keys in [[one.as_str(), &other], [&other, &one]] {
        assert_eq!(bet(platform, &player.token, &keys).await.0, StatusCode::BAD_REQUEST);
    }
    let plain = settled(platform, &player.token, &one).await;
    let quoted = settled(platform, &player.token, &format!("\"{one}\"")).await;
    assert_eq!(plain["bet_id"], quoted["bet_id"]);
    assert_eq!(console::history(platform, &player, 1).await.len(), 1, "the refused requests placed no bet");
}
