//! Tests that the routes to list and retry e-mails that were given up require the internal token.

use testkit::guard::{every_route_refuses, without_internal_token};

use crate::harness::{INTERNAL_TOKEN, Platform};

#[tokio::test(flavor = "multi_thread")]
async fn routes_require_internal_token() {
    let platform = Platform::start().await;
    let process = platform.process();
    let paths = ["/internal/v1/parked", "/internal/v1/parked/{event_id}/retry"].map(str::to_owned);
    let credentials = without_internal_token(INTERNAL_TOKEN);
    let request = |method: &'static str, path: String, headers: Vec<(String, String)>| async move {
        process.request(method, &path, &headers).await.0
    };
    every_route_refuses(&paths, &credentials, 401, request).await;
}
