//! Faults: the header that gives one request a fault, the list, the routes that arm and disarm, and the clock.

use std::path::PathBuf;

use faults::{FaultId, Faults, Options, Scope, State, Subject, Values};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::faults::Flags;

use crate::harness::{Broker, FAULT_SECRET, OPERATOR_TOKEN, TIMEOUT, TestGateway, json_of, problem, send};

/// What a service with this key reads from an entry.
fn values_in(entry: &str, secret: &str) -> Option<Values> {
    let service = Faults::watch(Options {
        file: PathBuf::from("/nowhere/faults.json"),
        service: "game",
        release: String::new(),
        secret: secret.as_bytes().to_vec(),
    });
    service.active(FaultId::ConsumerSlow, &Subject { request: Some(entry), ..Subject::default() })
}

fn with_fault(request: RequestBuilder, fault: &str, token: Option<&str>) -> RequestBuilder {
    let request = request.header("x-pitboss-fault", fault).header("idempotency-key", testkit::unique("k"));
    match token {
        Some(token) => request.header("x-operator-token", token),
        None => request,
    }
}

#[tokio::test]
async fn operators_header_becomes_signed_baggage() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let bet = || gateway.bet_request(100);
    let slow = "consumer.slow;delay_ms=70";
    assert!(send(with_fault(bet(), slow, Some(OPERATOR_TOKEN))).await.status().is_success());
    let entry = gateway.carried_faults()[0].clone().expect("the command carries the fault");
    assert_eq!(values_in(&entry, FAULT_SECRET).map(|values| values.get("delay_ms")), Some(70));
    assert_eq!(values_in(&entry, "another key of the faults, long enough"), None);
    let baggage = gateway.peers.records().baggage.clone();
    assert!(
        !baggage.is_empty() && baggage.iter().all(|line| line.contains("pitboss.faults=")),
        "{baggage:?}"
    );

    gateway.peers.records().baggage.clear();
    let own = format!("pitboss.faults={entry}");
    let strangers = [
        with_fault(bet(), slow, None),
        with_fault(bet(), slow, Some("wrong")),
        with_fault(bet(), "no.such-fault", None),
        gateway.bet_request(100).header("idempotency-key", testkit::unique("k")).header("baggage", &own),
        gateway
            .bet_request(100)
            .header("idempotency-key", testkit::unique("k"))
            .header("baggage", &own)
            .header("x-operator-token", OPERATOR_TOKEN),
    ];
    for request in strangers {
        assert!(send(request).await.status().is_success());
    }
    assert_eq!(gateway.carried_faults()[1..].to_vec(), vec![None; 5], "only the operator's header counts");
    assert!(gateway.peers.records().baggage.iter().all(|baggage| !baggage.contains("pitboss.")));
}

#[tokio::test]
async fn invalid_faults_of_an_operator_are_refused() {
    let gateway = TestGateway::start(Broker::Settles).await;
    for invalid in [
        "no.such-fault",
        "",
        "consumer.slow;delay_ms=-1",
        "consumer.slow;delay=5",
        "consumer.slow;x",
        "consumer.stuck",
        "consumer.slow;delay_ms=5;delay_ms=6",
    ] {
        let request = with_fault(gateway.bet_request(100), invalid, Some(OPERATOR_TOKEN));
        let refused = problem(send(request).await).await;
        assert_eq!(refused, (400, "/problems/invalid-fault".to_owned()), "{invalid:?}");
    }
    let twice = with_fault(gateway.bet_request(100), "consumer.slow;delay_ms=5", Some(OPERATOR_TOKEN));
    let refused = problem(send(twice.header("x-pitboss-fault", "consumer.slow;delay_ms=6")).await).await;
    assert_eq!(refused, (400, "/problems/invalid-fault".to_owned()), "one fault twice");
    assert!(gateway.published().is_empty());
}

#[tokio::test]
async fn list_shows_every_fault_with_its_state() {
    let scope = Scope::SharePercent(5);
    let flags = Flags::scoped("gateway", &[(FaultId::ConsumerSlow, scope, &[("delay_ms", 70)])]);
    let gateway = TestGateway::start_with_faults(Broker::Silent, flags.faults(), |_| {}).await;
    let request = gateway.request(Method::GET, "/api/v1/faults").header("x-operator-token", OPERATOR_TOKEN);
    let response = send(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let list = json_of(response).await;
    let listed = list["faults"].as_array().expect("faults");
    let ids: Vec<&str> = listed.iter().filter_map(|fault| fault["id"].as_str()).collect();
    assert_eq!(ids, FaultId::ALL.map(FaultId::as_str));
    let armed: Vec<&Value> = listed.iter().filter(|fault| fault.get("armed").is_some()).collect();
    assert_eq!(armed.len(), 1, "{armed:?}");
    assert_eq!(armed[0]["id"], "consumer.slow");
    assert_eq!(armed[0]["armed"], json!({ "scope": "share 5 %", "values": { "delay_ms": 70 } }));
    assert!(list.get("problem").is_none() && list.get("invalid").is_none(), "{list}");
    let fault = |id: &str| listed.iter().find(|fault| fault["id"] == id).expect("the fault");
    let stuck = fault("consumer.stuck");
    assert_eq!(
        (&stuck["one_request"], &stuck["scopes"]),
        (&json!(false), &json!(["all", "release", "service"]))
    );
    assert_eq!(fault("consumer.slow")["one_request"], true);
}

#[tokio::test]
async fn fault_is_in_shared_file_until_disarmed() {
    let flags = Flags::armed("gateway", FaultId::ConsumerDuplicate, &[]);
    let gateway = TestGateway::start_with_faults(Broker::Silent, flags.faults(), |_| {}).await;
    let path = "/api/v1/faults/consumer.slow";
    let operator = |method: Method| gateway.request(method, path).header("x-operator-token", OPERATOR_TOKEN);
    let body = json!({ "scope": { "player": "p-1" }, "values": { "delay_ms": 70 }, "for_s": 600 });
    let armed = send(operator(Method::PUT).json(&body)).await;
    assert_eq!(armed.status(), StatusCode::OK);
    let armed = json_of(armed).await;
    assert_eq!((&armed["id"], &armed["armed"]["scope"]), (&json!("consumer.slow"), &json!("player p-1")));

    let state = State::read(&flags.file()).unwrap();
    let ids: Vec<FaultId> = state.armed.iter().map(|armed| armed.id).collect();
    assert_eq!(ids, [FaultId::ConsumerSlow, FaultId::ConsumerDuplicate], "other faults stay armed");
    assert_eq!(state.armed[0].values.get("delay_ms"), 70);
    assert!(state.armed[0].expires_at_ms.unwrap() > faults::now_ms());
    testkit::eventually("the gateway to read the file", TIMEOUT, || async {
        let shown = json_of(send(operator(Method::GET)).await).await;
        (shown["armed"]["values"]["delay_ms"] == 70).then_some(())
    })
    .await;

    for _ in 0..2 {
        assert_eq!(send(operator(Method::DELETE)).await.status(), StatusCode::NO_CONTENT);
    }
    let state = State::read(&flags.file()).unwrap();
    assert_eq!(state.armed.len(), 1, "{state:?}");
}

#[tokio::test]
async fn invalid_flag_is_listed_and_kept() {
    let flags = Flags::armed("gateway", FaultId::ConsumerDuplicate, &[]);
    let text = std::fs::read_to_string(flags.file()).unwrap();
    std::fs::write(
        flags.file(),
        text.replace("\"game.rtp-drift\": {", "\"game.new\": 7, \"game.rtp-drift\": {"),
    )
    .unwrap();
    let gateway = TestGateway::start_with_faults(Broker::Silent, flags.faults(), |_| {}).await;
    let list = testkit::eventually("the invalid flag", TIMEOUT, || async {
        let request = gateway.request(Method::GET, "/api/v1/faults");
        let list = json_of(send(request.header("x-operator-token", OPERATOR_TOKEN)).await).await;
        list.get("invalid").is_some().then_some(list)
    })
    .await;
    assert_eq!(list["invalid"][0]["name"], "game.new");
    assert!(list["invalid"][0]["reason"].as_str().unwrap().contains("invalid type"), "{list}");
    let arm = gateway.request(Method::PUT, "/api/v1/faults/consumer.slow").json(&json!({}));
    assert_eq!(send(arm.header("x-operator-token", OPERATOR_TOKEN)).await.status(), StatusCode::OK);
    let state = State::read(&flags.file()).unwrap();
    assert_eq!((state.armed.len(), state.invalid.len()), (2, 1), "{state:?}");
}

#[tokio::test]
async fn fault_that_cannot_be_armed_changes_nothing() {
    let flags = Flags::armed("gateway", FaultId::ConsumerDuplicate, &[]);
    let gateway = TestGateway::start_with_faults(Broker::Silent, flags.faults(), |_| {}).await;
    let before = State::read(&flags.file()).unwrap();
    for (path, body, refused) in [
        ("consumer.fast", json!({}), (404, "/problems/not-found")),
        ("consumer.slow", json!({ "values": { "delay_ms": 0 } }), (400, "/problems/invalid-fault")),
        ("consumer.slow", json!({ "scope": { "share_percent": 300 } }), (400, "/problems/invalid-fault")),
        ("consumer.slow", json!({ "for_s": -1 }), (400, "/problems/invalid-fault")),
        ("consumer.slow", json!({ "for_s": "a minute" }), (422, "/problems/invalid-body")),
        ("consumer.slow", json!({ "scope": {} }), (422, "/problems/invalid-body")),
        (
            "consumer.slow",
            json!({ "scope": { "player": "a", "release": "b" } }),
            (422, "/problems/invalid-body"),
        ),
        ("mongo.stall", json!({ "scope": { "player": "p-1" } }), (400, "/problems/invalid-fault")),
    ] {
        let request = gateway.request(Method::PUT, &format!("/api/v1/faults/{path}")).json(&body);
        let (status, kind) = problem(send(request.header("x-operator-token", OPERATOR_TOKEN)).await).await;
        assert_eq!((status, kind.as_str()), refused, "{path} {body}");
    }
    assert_eq!(State::read(&flags.file()).unwrap(), before);
    let unknown = gateway.request(Method::PUT, "/api/v1/faults/consumer.fast").json(&json!({}));
    let answer = send(unknown.header("x-operator-token", OPERATOR_TOKEN)).await.text().await.unwrap();
    assert!(answer.contains("./pitboss fault list"), "{answer}");
    std::fs::write(flags.file(), "{").unwrap();
    let request = gateway.request(Method::PUT, "/api/v1/faults/consumer.slow").json(&json!({}));
    let (status, _) = problem(send(request.header("x-operator-token", OPERATOR_TOKEN)).await).await;
    assert_eq!(status, 503, "a damaged file is not replaced");
    assert_eq!(std::fs::read_to_string(flags.file()).unwrap(), "{");
}

#[tokio::test]
async fn skewed_clock_shifts_the_time_of_commands() {
    for offset_ms in [120_000, -120_000] {
        let flags = Flags::armed("gateway", FaultId::ClockSkew, &[("offset_ms", offset_ms)]);
        let gateway = TestGateway::start_with_faults(Broker::Settles, flags.faults(), |_| {}).await;
        let began_ms = faults::now_ms();
        assert!(gateway.bet(&format!("skew{offset_ms}")).await.status().is_success(), "the bet settles");
        let command = gateway.first_command().await;
        let shifted_ms = command.time.unix_timestamp() * 1_000;
        let wanted = began_ms + offset_ms - 1_000..faults::now_ms() + offset_ms + 1_000;
        assert!(wanted.contains(&shifted_ms), "{shifted_ms} is not in {wanted:?}");
        assert!(command.sent_at_ms.is_some_and(|sent_at_ms| wanted.contains(&sent_at_ms)), "{command:?}");
        assert_eq!(flags.applied(FaultId::ClockSkew), 1);
    }
}
