//! Tests that the routes to list and retry e-mails that were given up require the internal token.

use testkit::guard::every_route_refuses;

use crate::harness::{INTERNAL_TOKEN, Platform};

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_the_internal_token() {
    let platform = Platform::start().await;
    let process = platform.process();
    let paths = ["/internal/v1/parked", "/internal/v1/parked/{event_id}/retry"].map(str::to_owned);
    let credentials = [
        ("no token", vec![]),
        ("a wrong one", vec![("x-internal-token", INTERNAL_TOKEN.to_uppercase())]),
        ("an operator's", vec![("x-operator-token", INTERNAL_TOKEN.to_owned())]),
    ];
    let ask = |method: &'static str, path: String, headers: Vec<(String, String)>| async move {
        process.ask(method, &path, &headers).await.0
    };
    every_route_refuses(&paths, &credentials, 401, ask).await;
}
