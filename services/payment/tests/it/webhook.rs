//! Webhooks are accepted or refused by the configured secrets.

use chassis::config::Secret;
use contracts::EventType;
use serde_json::{Value, json};

use crate::provider::{Behaviour, Provider};
use crate::service::{Running, SECRET, answer, deposit, send};
use crate::world::{WAIT_MAX, World};

/// Secret that the provider has changed to.
const NEW_SECRET: &str = "the provider's next secret";

fn captured(payment_id: &str) -> Value {
    json!({
        "payment_id": payment_id, "reference": "ref-0", "status": "captured", "amount_minor": 100, "currency": "EUR",
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_signed_with_old_secret_is_accepted() {
    let (world, provider) = (World::new().await, Provider::start().await);
    provider.set(Behaviour::AcceptsThenSilent);
    let service = Running::start_as(&world, &provider, |config| {
        config.security.webhook_secret = Secret::from(NEW_SECRET);
        config.security.webhook_secret_old = Secret::from(SECRET);
    })
    .await;
    send(&world, "d", deposit(100)).await;
    testkit::eventually("the charge", WAIT_MAX, || async { (provider.captured() == 1).then_some(()) }).await;
    assert_eq!(service.webhook(&captured("d"), "neither of them").await, 401);
    assert_eq!(service.webhook(&captured("d"), SECRET).await, 202, "the old one");
    assert_eq!(answer(&world, "d").await.event_type, EventType::DepositCompleted);
    assert_eq!(service.webhook(&captured("d"), NEW_SECRET).await, 202, "the new one");
    service.stop_and_audit(world, &provider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_without_configured_secret_returns_503() {
    let (world, provider) = (World::new().await, Provider::start().await);
    let service = Running::start_as(&world, &provider, |config| {
        config.security.webhook_secret = Secret::default();
    })
    .await;
    service.is_up().await;
    for secret in ["", SECRET] {
        assert_eq!(service.webhook(&captured("d"), secret).await, 503, "signed with {secret:?}");
    }
    service.stop().await;
    world.end().await;
}
