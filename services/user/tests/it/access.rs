//! Only calls with the internal token are answered, on every route. The routes come from the router, so a new one is tested
//! without a change here.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::platform::{INTERNAL_TOKEN, Platform, config};

const METHODS: [Method; 6] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_requires_internal_token() {
    let platform = Platform::start_with(config()).await;
    let paths = user::paths();
    assert!(paths.len() >= 9 && paths.iter().all(|path| path.starts_with("/internal/v1/")), "{paths:?}");
    let credentials: [(&str, &[(&str, &str)]); 6] = [
        ("no token", &[]),
        ("a player's token", &[("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln")]),
        ("the operator's token", &[("x-operator-token", INTERNAL_TOKEN)]),
        ("the token in the wrong place", &[("authorization", INTERNAL_TOKEN)]),
        ("an empty token", &[("x-internal-token", "")]),
        ("another token", &[("x-internal-token", "the internal token of the tests of usee")]),
    ];
    for path in &paths {
        for method in METHODS {
            for (who, headers) in credentials {
                let request =
                    headers.iter().fold(request_to(&platform, &method, path), |request, (name, value)| {
                        request.header(*name, *value)
                    });
                assert_eq!(status(request).await, 401, "{method} {path} with {who}");
            }
            let authorised = request_to(&platform, &method, path).header("x-internal-token", INTERNAL_TOKEN);
            let status = status(authorised).await;
            assert_ne!(status, 401, "{method} {path} with the internal token");
        }
    }
    assert_eq!(
        status(request_to(&platform, &Method::GET, "/no/such/path")).await,
        401,
        "an unknown path needs the token too"
    );
    platform.stop().await;
}

fn request_to(platform: &Platform, method: &Method, path: &str) -> RequestBuilder {
    let path = path.replace("{player_id}", "p-1");
    let request = platform.client.request(method.clone(), format!("{}{path}", platform.base));
    request.header("idempotency-key", "k").json(&json!({}))
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}
