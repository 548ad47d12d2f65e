//! Debug faults at the gateway: they exist only where they are enabled, only for operators, within a limit, and are forwarded.

use std::io::Read as _;

use contracts::{DebugFault, Part, debug::SERVICES};
use jsonwebtoken::Algorithm;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::harness::{
    Broker, JWT_SECRET, OPERATOR_TOKEN, TestGateway, claims, json_of, problem, send, sign, token,
};

fn fault(gateway: &TestGateway, service: &str, fault: &str) -> RequestBuilder {
    gateway.request(Method::POST, &format!("/api/v1/{service}/debug/{fault}"))
}

fn by_operator(gateway: &TestGateway, service: &str, name: &str) -> RequestBuilder {
    fault(gateway, service, name).header("x-operator-token", OPERATOR_TOKEN)
}

#[tokio::test]
async fn they_are_an_unknown_path_by_default() {
    let gateway = TestGateway::start_without_debug().await;
    let unknown = gateway.request(Method::POST, "/api/v1/no/such/path");
    let mut unknown = json_of(send(unknown).await).await;
    for request in [fault(&gateway, "gateway", "crash"), by_operator(&gateway, "gateway", "crash")] {
        let response = send(request).await;
        assert_eq!(response.status(), 404);
        let mut body = json_of(response).await;
        for body in [&mut body, &mut unknown] {
            body.as_object_mut().expect("an object").remove("trace_id");
        }
        assert_eq!(body, unknown);
    }
    let other_method = gateway.request(Method::GET, "/api/v1/gateway/debug/crash");
    assert_eq!(send(other_method).await.status(), 404, "not 405, which would show that it exists");
}

#[tokio::test]
async fn every_service_and_fault_needs_operators_token() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let mut expired = claims("p-1", "s-1");
    expired["exp"] = json!(1_000_000_000);
    let expired = sign(&expired, JWT_SECRET, Algorithm::HS256);
    for service in SERVICES {
        for name in DebugFault::of(service) {
            let request = || fault(&gateway, service.as_str(), name.as_str());
            let refused = [
                request(),
                request().bearer_auth(token("p-1", "s-1")),
                request().bearer_auth(&expired),
                request().header("x-operator-token", ""),
                request().header("x-operator-token", "another token of an operator"),
            ];
            for request in refused {
                let answer = problem(send(request).await).await;
                assert_eq!(answer, (401, "/problems/unauthorized".to_owned()), "{service} {name}");
            }
        }
    }
    assert!(gateway.peers.records().debug.is_empty(), "nothing was forwarded");
}

#[tokio::test]
async fn unknown_names_are_answered_with_those_that_exist() {
    let gateway = TestGateway::start(Broker::Silent).await;
    for (service, name, listed) in [
        ("recorder", "crash", "notification"),
        ("game", "no-such-fault", "thread-error"),
        ("user", "thread-error", "slow-query"),
    ] {
        let response = send(by_operator(&gateway, service, name)).await;
        assert_eq!(response.status(), 404, "{service} {name}");
        let body = json_of(response).await;
        assert!(body["detail"].as_str().is_some_and(|detail| detail.contains(listed)), "{body}");
    }
    assert!(gateway.peers.records().debug.is_empty());
}

#[tokio::test]
async fn faults_of_other_services_are_forwarded_and_their_answers_returned() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let failing = by_operator(&gateway, "analytics", "crash").json(&json!({ "player_id": "p-9" }));
    let response = send(failing).await;
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.status(), 500);
    assert_eq!(json_of(response).await["sentry_event_id"], "e1");

    // Without a body, which the description allows.
    let response = send(by_operator(&gateway, "game", "memory-leak")).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.status(), 200);
    assert_eq!(json_of(response).await["sentry_event_id"], "e2");

    let response = send(by_operator(&gateway, "game", "infinite-loop")).await;
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(problem(response).await, (429, "/problems/debug-busy".to_owned()));

    let forwarded = gateway.peers.records().debug.clone();
    let expected = [
        ("crash".to_owned(), json!({ "player_id": "p-9", "release": false })),
        ("memory-leak".to_owned(), json!({ "release": false })),
        ("infinite-loop".to_owned(), json!({ "release": false })),
    ];
    assert_eq!(forwarded, expected);
}

#[tokio::test]
async fn service_that_died_of_a_fault_is_answered_for() {
    // A service that closes each connection after it has read something of a request
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let dies = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut connection, _) = listener.accept().expect("a connection");
            let read = connection.read(&mut [0; 4_096]).expect("a request");
            assert!(read > 0, "the request is empty");
        }
    });
    let change = |config: &mut gateway::Config| {
        config.peers.payment = format!("http://{address}").parse().expect("a URL");
    };
    let gateway = TestGateway::start_with(Broker::Silent, change).await;
    let response = send(by_operator(&gateway, "payment", "abort")).await;
    let body = json_of(response).await;
    assert_eq!((&body["status"], &body["type"]), (&json!(502), &json!("/problems/service-died")));
    // Of another fault no service dies, so this one is broken
    let answer = problem(send(by_operator(&gateway, "payment", "deadlock")).await).await;
    assert_eq!(answer.0, 503);
    dies.join().expect("two requests");
}

/// The gateway causes its own faults itself. Its other requests still work afterwards.
#[tokio::test]
async fn own_faults_do_not_leave_the_process() {
    let gateway = TestGateway::start(Broker::Silent).await;
    for name in DebugFault::of(Part::Gateway) {
        let status = send(by_operator(&gateway, "gateway", name.as_str())).await.status();
        assert_eq!(status, name.definition().status, "{name}");
    }
    assert!(gateway.peers.records().debug.is_empty());
    gateway.get_json("/api/v1/me").await;
}

#[tokio::test]
async fn they_have_a_limit_of_their_own() {
    let limited = |config: &mut gateway::Config| {
        config.limits.debug_per_min = 1;
        config.limits.debug_burst = 2;
    };
    let gateway = TestGateway::start_with(Broker::Silent, limited).await;
    // Those without the token do not count.
    for _ in 0..3 {
        assert_eq!(send(fault(&gateway, "gateway", "error-parse")).await.status(), 401);
    }
    for service in ["gateway", "game"] {
        assert_eq!(send(by_operator(&gateway, service, "error-parse")).await.status(), 500);
    }
    let refused = send(by_operator(&gateway, "payment", "error-parse")).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await, (429, "/problems/too-many-requests".to_owned()));
    gateway.get_json("/api/v1/me").await;
}
