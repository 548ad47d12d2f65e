//! Internal token: payment refuses every request without it, and sends it to the card provider.

use bson::DateTime;
use chassis::config::Secret;
use chassis::internal::Internal;
use money::Currency;
use payment::http::App;
use payment::ledger::StoredKind;
use payment::provider::client::{CardProvider, Unknown};
use payment::provider::intent::{Intent, State};
use telemetry::propagation::StoredTrace;
use testkit::guard::{every_route_refuses, without_internal_token};

use crate::provider::Provider;
use crate::service::{Running, TOKEN};
use crate::world::World;

/// Returns the paths of all routes of payment.
fn paths(world: &World) -> Vec<String> {
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    let app = App {
        ledger,
        intents,
        producer: world.producer.clone(),
        webhook_secret: Secret::default(),
        webhook_secret_old: Secret::default(),
    };
    chassis::http::paths(&payment::http::routes(app))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_requires_internal_token() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let paths = paths(&world);
    assert!(paths.len() >= 3 && paths.iter().any(|path| path.ends_with("/card-provider")), "{paths:?}");
    let service = Running::start(&world, &provider).await;
    service.is_up().await;
    let credentials = without_internal_token(TOKEN);
    let client = telemetry::http::Client::new().unwrap();
    let send = |method: &'static str, path: String, headers: Vec<(String, String)>| {
        let mut request = client.request(method.parse().unwrap(), &service.url(&path));
        for (name, value) in headers {
            request = request.header_str(&name, &value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    every_route_refuses(&paths, &credentials, 401, send).await;
    assert_eq!(service.get("/internal/v1/payments/x").await.0, 404, "the token is accepted");
    service.stop().await;
    world.end().await;
}

#[tokio::test]
async fn provider_requests_carry_internal_token() {
    let provider = Provider::start().await;
    let url = format!("http://{}", provider.address);
    let client = |token: &str| CardProvider::new(&url, 30_000, Internal::new(Secret::from(token))).unwrap();
    let intent = Intent {
        payment_id: "d".to_owned(),
        player_id: "p".to_owned(),
        kind: StoredKind::Deposit,
        amount_minor: 100,
        currency: Currency::Eur,
        state: State::Requested,
        captured: None,
        provider_reference: None,
        attempts: 1,
        void_wanted: false,
        reports: 0,
        escalated: false,
        next_attempt_at: DateTime::from_millis(0),
        created_at: DateTime::from_millis(0),
        trace: StoredTrace::default(),
    };
    let stranger = client("an internal token of another platform");
    for answer in
        [stranger.request(&intent).await, stranger.look_up(&intent).await, stranger.void(&intent).await]
    {
        assert!(matches!(answer, Err(Unknown::Status(status)) if status.as_u16() == 401), "{answer:?}");
    }
    assert_eq!(provider.requests(), 0, "the test provider checks the token");
    let client = client(TOKEN);
    for answer in [client.request(&intent).await, client.look_up(&intent).await, client.void(&intent).await] {
        assert!(answer.unwrap().captured);
    }
}
