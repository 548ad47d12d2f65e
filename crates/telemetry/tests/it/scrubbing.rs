//! Canaries in every field that can hold text, none of which may arrive.

use telemetry::metric::{self, Metric};
use telemetry::spans;

use super::receiver::{Behaviour, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    (name == "canaries").then_some(canaries)
}

const EMAIL: &str = "jo.canary@example.com";
const CARD: &str = "4111 1111 1111 1111";
const PLAIN_CARD: &str = "5555555555554444";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ";
const BEARER: &str = "Bearer canaryCANARY0123456789";
const PASSWORD: &str = "password=canary-hunter2";

#[derive(Debug, thiserror::Error)]
#[error("no mail to {EMAIL}: {PASSWORD}")]
struct Inner;

#[derive(Debug, thiserror::Error)]
#[error("login of {EMAIL} with {BEARER} and card {CARD} failed")]
struct Outer(#[source] Inner);

fn canaries() {
    let telemetry = scenario::telemetry();
    let everything = format!("{EMAIL} / {CARD} / {PLAIN_CARD} / {JWT} / {BEARER} / {PASSWORD}");
    let root = spans::background(&format!("work for {everything}"), []);
    root.in_scope(|| {
        let db = spans::db(
            "mongodb",
            "game",
            "bets",
            "find",
            &format!(r#"{{"find":"x","filter":{{"mail":"{EMAIL}"}}}}"#),
        );
        spans::set_attr(&db, "note", everything.clone());
        spans::set_attr(&db, "user.password", "canary-hunter2");
        spans::set_attr(&db, "http.request.header.authorization", BEARER);
        spans::set_attr(&db, "card", 5_555_555_555_554_444_i64);
        drop(db);
        drop(spans::cache_get(&format!("session:{JWT}")));
        tracing::info!(note = everything, password = "canary-hunter2", "logged in {everything}");
        tracing::warn!(session.token = "canary-hunter2", "crumb {everything}");
        tracing::error!(detail = %everything, "failed {everything}");
        telemetry::report(&Outer(Inner), &[("mail", EMAIL), ("token", "canary-hunter2")]);
        metric::count(Metric::NotificationsSent, 1, &[("channel", EMAIL), ("secret", "canary-hunter2")]);
        std::panic::catch_unwind(|| panic!("panicked over {EMAIL} {CARD}")).unwrap_err();
    });
    drop(root);
    let page = metric::render_prometheus();
    assert!(!page.contains(EMAIL), "{page}");
    scenario::finish(telemetry);
}

#[test]
fn personal_data_is_scrubbed() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("canaries", &receiver.dsn(), &[scenario::STREAMED]);
    let output = scenario::run("canaries", &receiver.dsn(), &[]);
    let sent: String =
        receiver.received().iter().map(|request| String::from_utf8(request.body.clone()).unwrap()).collect();
    for kind in ["transaction", "span", "event", "log", "trace_metric"] {
        assert!(!receiver.items_of(kind).is_empty(), "the canaries were given a chance in {kind}");
    }
    for (what, canary) in [
        ("mail address", "jo.canary"),
        ("card", "4111 1111"),
        ("card", PLAIN_CARD),
        ("JWT", "eyJhbGci"),
        ("JWT", "c2lnbmF0dXJl"),
        ("bearer token", "canaryCANARY"),
        ("password", "canary-hunter2"),
    ] {
        let at =
            sent.find(canary).map(|at| sent[at.saturating_sub(200)..].chars().take(400).collect::<String>());
        assert!(at.is_none(), "{what} left: {at:?}");
    }
    assert!(sent.matches("[Filtered]").count() > 20, "and the rest is still there");
    // The standard library writes the panic's own line, to standard error
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let ours: Vec<&str> =
        lines.lines().filter(|line| line.contains(" it::") || line.contains("telemetry::")).collect();
    assert!(ours.len() >= 3, "{lines}");
    assert!(
        ours.iter().all(|line| !line.contains("canary") || line.contains("canaries")),
        "log lines: {ours:#?}"
    );
}
