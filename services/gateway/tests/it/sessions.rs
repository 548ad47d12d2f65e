//! Log-out, and the time for which an ended session is still accepted.

use reqwest::{Method, StatusCode};

use crate::stage::{Broker, PATIENCE, Stage, token};

async fn status(stage: &Stage, method: Method, path: &str) -> StatusCode {
    stage.as_player(method, path).send().await.expect("an answer").status()
}

/// Cached sessions outlast every test, so a session is rejected here only because it was ended.
fn long_memory(config: &mut gateway::Config) {
    config.sessions.known_for_ms = 3_600_000;
}

#[tokio::test]
async fn a_log_out_ends_reads_and_writes_at_once() {
    let stage = Stage::set_with(Broker::Settles, long_memory).await;
    assert_eq!(stage.bet(&testkit::unique("k")).await.status(), StatusCode::OK);
    assert_eq!(status(&stage, Method::GET, "/api/v1/me").await, StatusCode::OK);
    for _ in 0..2 {
        let ended = status(&stage, Method::DELETE, "/api/v1/sessions/current").await;
        assert_eq!(ended, StatusCode::NO_CONTENT, "ended now, or before");
        for path in
            ["/api/v1/me", "/api/v1/me/balance", "/api/v1/me/bets", "/api/v1/bets/b", "/api/v1/payments/p"]
        {
            assert_eq!(status(&stage, Method::GET, path).await, StatusCode::UNAUTHORIZED, "{path}");
        }
        assert_eq!(stage.bet(&testkit::unique("k")).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(stage.published().len(), 1);
    let other = stage.request(Method::GET, "/api/v1/me").bearer_auth(token("p-2", "s-2"));
    assert_eq!(
        other.send().await.expect("an answer").status(),
        StatusCode::OK,
        "another's session is another's"
    );
}

#[tokio::test]
async fn a_session_that_stood_a_moment_ago_is_not_asked_for_again() {
    let stage = Stage::set_with(Broker::Settles, long_memory).await;
    for _ in 0..3 {
        assert_eq!(stage.bet(&testkit::unique("k")).await.status(), StatusCode::OK);
        assert_eq!(status(&stage, Method::GET, "/api/v1/me").await, StatusCode::OK);
    }
    assert_eq!(stage.behind.session_checks(), 1);
    let stolen = stage.request(Method::GET, "/api/v1/me").bearer_auth(token("p-2", "s-1"));
    assert_eq!(
        stolen.send().await.expect("an answer").status(),
        StatusCode::UNAUTHORIZED,
        "what is known is whose it is"
    );
}

#[tokio::test]
async fn that_a_session_does_not_stand_is_asked_each_time() {
    let stage = Stage::set_with(Broker::Settles, long_memory).await;
    let asked = async || {
        let request = stage.request(Method::GET, "/api/v1/me").bearer_auth(token("p-1", "s-new"));
        request.send().await.expect("an answer").status()
    };
    for _ in 0..2 {
        assert_eq!(asked().await, StatusCode::UNAUTHORIZED);
    }
    stage.behind.open_session("s-new", "p-1");
    assert_eq!(asked().await, StatusCode::OK);
    assert_eq!(stage.behind.session_checks(), 3);
}

/// The session has ended, but the log-out got an error as its answer.
#[tokio::test]
async fn after_a_log_out_that_failed_the_session_is_looked_at_again() {
    let stage = Stage::set_with(Broker::Settles, long_memory).await;
    assert_eq!(status(&stage, Method::GET, "/api/v1/me").await, StatusCode::OK);
    stage.behind.break_log_outs();
    let log_out = status(&stage, Method::DELETE, "/api/v1/sessions/current").await;
    assert_eq!(log_out, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status(&stage, Method::GET, "/api/v1/me").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_that_was_ended_elsewhere_is_over_a_moment_later() {
    let stage = Stage::set_with(Broker::Settles, |config| config.sessions.known_for_ms = 50).await;
    assert_eq!(status(&stage, Method::GET, "/api/v1/me").await, StatusCode::OK);
    stage.behind.end_session("s-1");
    testkit::eventually("the end of the session", PATIENCE, || async {
        (status(&stage, Method::GET, "/api/v1/me").await == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

/// A session's id grants access, and URLs end up in logs and spans.
#[tokio::test]
async fn no_address_names_a_session() {
    let stage = Stage::set(Broker::Settles).await;
    assert_eq!(stage.bet(&testkit::unique("k")).await.status(), StatusCode::OK);
    for (method, path) in [(Method::GET, "/api/v1/me"), (Method::DELETE, "/api/v1/sessions/current")] {
        assert!(status(&stage, method, path).await.is_success());
    }
    let targets = stage.behind.targets();
    assert!(targets.len() >= 4, "{targets:?}");
    assert!(targets.iter().all(|target| !target.contains("s-1")), "{targets:?}");
}
