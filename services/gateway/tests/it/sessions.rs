//! Log-out, and the time for which an ended session is still accepted.

use reqwest::{Method, StatusCode};

use crate::harness::{Broker, TIMEOUT, TestGateway, send, token};

async fn status(gateway: &TestGateway, method: Method, path: &str) -> StatusCode {
    send(gateway.as_player(method, path)).await.status()
}

/// Cached sessions outlast every test, so a session is rejected here only because it was ended.
fn long_cache(config: &mut gateway::Config) {
    config.sessions.known_for_ms = 3_600_000;
}

#[tokio::test]
async fn log_out_ends_reads_and_writes_at_once() {
    let gateway = TestGateway::start_with(Broker::Settles, long_cache).await;
    assert_eq!(gateway.bet(&testkit::unique("k")).await.status(), StatusCode::OK);
    assert_eq!(status(&gateway, Method::GET, "/api/v1/me").await, StatusCode::OK);
    for _ in 0..2 {
        let ended = status(&gateway, Method::DELETE, "/api/v1/sessions/current").await;
        assert_eq!(ended, StatusCode::NO_CONTENT, "ended now or before");
        for path in
            ["/api/v1/me", "/api/v1/me/balance", "/api/v1/me/bets", "/api/v1/bets/b", "/api/v1/payments/p"]
        {
            assert_eq!(status(&gateway, Method::GET, path).await, StatusCode::UNAUTHORIZED, "{path}");
        }
        assert_eq!(gateway.bet(&testkit::unique("k")).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(gateway.published().len(), 1);
    let other = gateway.request(Method::GET, "/api/v1/me").bearer_auth(token("p-2", "s-2"));
    assert_eq!(send(other).await.status(), StatusCode::OK, "another player's session stays open");
}

#[tokio::test]
async fn open_session_is_cached() {
    let gateway = TestGateway::start_with(Broker::Settles, long_cache).await;
    for _ in 0..3 {
        assert_eq!(gateway.bet(&testkit::unique("k")).await.status(), StatusCode::OK);
        assert_eq!(status(&gateway, Method::GET, "/api/v1/me").await, StatusCode::OK);
    }
    assert_eq!(gateway.peers.records().session_checks, 1);
    let stolen = gateway.request(Method::GET, "/api/v1/me").bearer_auth(token("p-2", "s-1"));
    let refused = send(stolen).await.status();
    assert_eq!(refused, StatusCode::UNAUTHORIZED, "a cached session belongs to one player");
}

#[tokio::test]
async fn unknown_session_is_checked_each_time() {
    let gateway = TestGateway::start_with(Broker::Settles, long_cache).await;
    let check = async || {
        let request = gateway.request(Method::GET, "/api/v1/me").bearer_auth(token("p-1", "s-new"));
        send(request).await.status()
    };
    for _ in 0..2 {
        assert_eq!(check().await, StatusCode::UNAUTHORIZED);
    }
    gateway.peers.open_session("s-new", "p-1");
    assert_eq!(check().await, StatusCode::OK);
    assert_eq!(gateway.peers.records().session_checks, 3);
}

/// The session has ended, but the log-out got an error as its answer.
#[tokio::test]
async fn failed_log_out_evicts_the_session() {
    let gateway = TestGateway::start_with(Broker::Settles, long_cache).await;
    assert_eq!(status(&gateway, Method::GET, "/api/v1/me").await, StatusCode::OK);
    gateway.peers.records().log_outs_fail = true;
    let log_out = status(&gateway, Method::DELETE, "/api/v1/sessions/current").await;
    assert_eq!(log_out, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&gateway, Method::GET, "/api/v1/me").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn session_ended_elsewhere_expires_here() {
    let gateway = TestGateway::start_with(Broker::Settles, |config| config.sessions.known_for_ms = 50).await;
    assert_eq!(status(&gateway, Method::GET, "/api/v1/me").await, StatusCode::OK);
    gateway.peers.records().sessions.remove("s-1");
    testkit::eventually("the end of the session", TIMEOUT, || async {
        (status(&gateway, Method::GET, "/api/v1/me").await == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

/// A session's id grants access, and URLs end up in logs and spans.
#[tokio::test]
async fn no_url_contains_a_session_id() {
    let gateway = TestGateway::start(Broker::Settles).await;
    assert_eq!(gateway.bet(&testkit::unique("k")).await.status(), StatusCode::OK);
    for (method, path) in [(Method::GET, "/api/v1/me"), (Method::DELETE, "/api/v1/sessions/current")] {
        assert!(status(&gateway, method, path).await.is_success());
    }
    let targets = gateway.peers.records().targets.clone();
    assert!(targets.len() >= 4, "{targets:?}");
    assert!(targets.iter().all(|target| !target.contains("s-1")), "{targets:?}");
}
