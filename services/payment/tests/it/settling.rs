//! Order of the steps that end a payment: closed before a settlement by hand, and off the list before the outcome is published.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bson::{DateTime, doc};
use bus::{PublishError, RawRecord};
use payment::domain::PaymentKind;
use payment::ledger::{Hooks, Killed, Ledger, LedgerError, Outbox, Step, Verdict};
use payment::provider::intent::State;
use payment::provider::intents::Intents;

use crate::world::{World, event_id, payment, told};

/// Publishes nothing and records the state of the payment at each publish.
struct Witness {
    intents: Intents,
    payment_id: &'static str,
    seen: Mutex<Vec<Option<State>>>,
}

#[async_trait]
impl Outbox for Witness {
    async fn publish(&self, _record: &RawRecord) -> Result<(), PublishError> {
        let intent = self.intents.find(self.payment_id).await.unwrap();
        self.seen.lock().unwrap().push(intent.map(|intent| intent.state));
        Ok(())
    }
}

#[tokio::test]
async fn payment_is_off_the_list_before_its_end_is_published() {
    let world = World::new().await;
    let (intents, _door) = world.intents();
    let witness = Arc::new(Witness { intents: intents.clone(), payment_id: "d", seen: Mutex::default() });
    let ledger = Ledger::new(world.mongo.clone(), witness.clone(), Arc::new(intents));
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    assert!(witness.seen.lock().unwrap().is_empty(), "what waits for the provider is told to nobody");
    told("d", "p", 100, false).run(&ledger).await.unwrap();
    assert_eq!(*witness.seen.lock().unwrap(), [Some(State::Settled)]);
    world.end().await;
}

/// Dies after a report was admitted.
struct DiesAdmitted;

impl Hooks for DiesAdmitted {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        if step == Step::ReportAdmitted { Err(Killed(step)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn payment_is_closed_before_a_settlement_by_hand_is_decided() {
    let world = World::new().await;
    let (ledger, _door) = world.ledger_with_intents();
    let (intents, _door) = world.intents();
    payment("d", "p", PaymentKind::Deposit, 100).run(&ledger).await.unwrap();
    let mut by_hand = told("d", "p", 100, false);
    by_hand.id = event_id("typed");
    let dying = ledger.clone().with_hooks(Arc::new(DiesAdmitted));
    assert!(matches!(by_hand.run(&dying).await, Err(LedgerError::Killed(_))));
    assert_eq!(ledger.settlement(&event_id("d")).await.unwrap(), None, "nothing is decided");
    let intent = intents.find("d").await.unwrap().unwrap();
    assert_eq!((intent.state, intent.captured), (State::Closed, Some(false)));
    world.rewrite("d", doc! { "next_attempt_at": DateTime::from_millis(0) }).await;
    assert!(intents.due(State::Requested, 10).await.unwrap().is_empty(), "nobody looks at it");
    assert_eq!(intents.claim("d", true).await.unwrap(), None, "nobody takes it in hand");
    assert!(matches!(by_hand.run(&ledger).await.unwrap(), Verdict::Decided(_)), "it comes again");
    assert_eq!(intents.find("d").await.unwrap().unwrap().state, State::Settled);
    world.end().await;
}
