//! Debug faults at a real service: what depends on the service itself, as its routes and its store.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::Listeners;
use chassis::config::DebugConfig;
use contracts::{DebugFault, Part};
use serde_json::Value;

use crate::http::request;

/// Time limit of the slow query. Its rows are written first, which takes long on a busy machine.
const SLOW_QUERY_MAX: Duration = Duration::from_secs(180);

/// Listeners on free ports, of a service with debug faults.
///
/// # Panics
/// When no port is free.
pub async fn listeners() -> Listeners {
    let mut listeners = Listeners::local(&[]).await.expect("free ports");
    listeners.common.debug = DebugConfig { enabled: true };
    listeners
}

/// Causes a fault at the internal interface. Returns status and body.
async fn cause(service: SocketAddr, fault: &str, token: Option<&str>) -> (u16, Value) {
    let headers: Vec<_> =
        token.into_iter().map(|token| ("x-internal-token".to_owned(), token.to_owned())).collect();
    let path = format!("/internal/v1/debug/{fault}");
    request(service, "POST", &path, &headers).await.expect("a complete response")
}

/// Checks a service with debug faults: they need the internal token, and those of the store reach its store.
///
/// # Panics
/// When an answer differs.
pub async fn check(service: SocketAddr, part: Part, internal_token: &str) {
    for token in [None, Some("another internal token of the platform")] {
        assert_eq!(cause(service, "crash", token).await.0, 401, "{part} with {token:?}");
    }
    let (status, body) = cause(service, "no-such-fault", Some(internal_token)).await;
    assert!(
        status == 404 && body["detail"].as_str().is_some_and(|text| text.contains(part.as_str())),
        "{body}"
    );
    for _ in 0..2 {
        let (status, body) = cause(service, "crash", Some(internal_token)).await;
        assert_eq!((status, &body["type"]), (500, &Value::from("/problems/internal")), "it survives a panic");
    }
    if DebugFault::DatabaseError.is_offered_by(part) {
        let (status, body) = cause(service, "database-error", Some(internal_token)).await;
        assert_eq!((status, &body["detail"]), (500, &Value::from("the store refused a command")), "{body}");
    }
    if DebugFault::SlowQuery.is_offered_by(part) {
        crate::eventually("a slow query", SLOW_QUERY_MAX, || async {
            let (status, body) = cause(service, "slow-query", Some(internal_token)).await;
            assert!(matches!(status, 200 | 503), "{body}");
            (status == 200).then_some(())
        })
        .await;
    }
}

/// Checks a service without debug faults: they are an unknown path.
///
/// # Panics
/// When an answer differs.
pub async fn check_absent(service: SocketAddr, internal_token: &str) {
    for fault in ["crash", "no-such-fault"] {
        let (status, body) = cause(service, fault, Some(internal_token)).await;
        assert!(status == 404 && body.get("detail").is_none(), "{fault}: {status} {body}");
    }
}
