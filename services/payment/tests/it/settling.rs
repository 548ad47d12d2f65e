//! Order of the steps that end a payment: closed before a settlement by hand, and off the list before the outcome is published.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bson::{DateTime, doc};
use bus::{PublishError, RawRecord};
use payment::domain::PaymentKind;
use payment::ledger::{Hooks, Killed, Ledger, LedgerError, Outbox, Step, Verdict};
use payment::provider::intent::State;
use payment::provider::intents::Intents;

use crate::world::{Recorded, World, event_id, payment, provider_report};

/// Publishes nothing and records the state of the payment at each publish.
struct Witness {
    intents: Intents,
    payment_id: &'static str,
    states: Mutex<Vec<Option<State>>>,
}

#[async_trait]
impl Outbox for Witness {
    async fn publish(&self, _record: &RawRecord) -> Result<(), PublishError> {
        let intent = self.intents.find(self.payment_id).await.unwrap();
        self.states.lock().unwrap().push(intent.map(|intent| intent.state));
        Ok(())
    }
}

#[tokio::test]
async fn intent_is_settled_before_event_is_published() {
    let world = World::new().await;
    let (intents, _receiver) = world.intents();
    let witness = Arc::new(Witness { intents: intents.clone(), payment_id: "d", states: Mutex::default() });
    let ledger = Ledger::new(world.mongo.clone(), witness.clone(), Arc::new(intents));
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    assert!(witness.states.lock().unwrap().is_empty(), "a pending payment publishes nothing");
    provider_report("d", "p", 100, false).run(&ledger).await.unwrap();
    assert_eq!(*witness.states.lock().unwrap(), [Some(State::Settled)]);
    world.end().await;
}

/// Dies after a report was admitted.
struct DiesAfterAdmission;

impl Hooks for DiesAfterAdmission {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        if step == Step::ReportAdmitted { Err(Killed(step)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn intent_is_closed_before_settlement_by_hand() {
    let world = World::new().await;
    let (ledger, _receiver) = world.ledger_with_intents();
    let (intents, _receiver) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let by_hand = Recorded { id: event_id("typed"), ..provider_report("d", "p", 100, false) };
    let dying = ledger.clone().with_hooks(Arc::new(DiesAfterAdmission));
    assert!(matches!(by_hand.run(&dying).await, Err(LedgerError::Killed(_))));
    assert_eq!(ledger.settlement(&event_id("d")).await.unwrap(), None, "nothing is decided");
    let intent = intents.find("d").await.unwrap().unwrap();
    assert_eq!((intent.state, intent.captured), (State::Closed, Some(false)));
    world.rewrite("d", doc! { "next_attempt_at": DateTime::from_millis(0) }).await;
    assert!(intents.due(State::Requested, 10).await.unwrap().is_empty(), "the pool does not list it");
    assert_eq!(intents.claim("d", true).await.unwrap(), None, "the pool cannot claim it");
    assert!(matches!(by_hand.run(&ledger).await.unwrap(), Verdict::Decided(_)), "it is redelivered");
    assert_eq!(intents.find("d").await.unwrap().unwrap().state, State::Settled);
    world.end().await;
}
