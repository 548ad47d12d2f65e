//! No command changes, or is decided by, data of another player.

use std::sync::Arc;

use contracts::{EventType, ids};
use money::Currency;
use payment::domain::PaymentKind;
use payment::ledger::{Hooks, Incoming, Killed, Ledger, LedgerError, Step, Verdict};

use crate::audit::Audit;
use crate::world::{Recorded, World, deposit, event_id, payment, void, wager};

async fn held(ledger: &Ledger, player_id: &str) -> i64 {
    ledger.account(player_id).await.unwrap().unwrap().balances[&Currency::Eur]
}

fn for_player(command: Recorded, id: &str, player_id: &str) -> Recorded {
    Recorded { id: event_id(id), player_id: player_id.to_owned(), ..command }
}

#[track_caller]
fn assert_refused(answer: Result<Verdict, LedgerError>) {
    assert!(matches!(answer, Err(LedgerError::InvalidCommand(_))), "{answer:?}");
}

#[tokio::test]
async fn void_for_wrong_player_has_no_effect() {
    let world = World::new().await;
    world.fund("a", 100).await;
    world.fund("b", 100).await;
    let ledger = world.ledger();
    wager("w", "a", 10, 0).run(&ledger).await.unwrap();
    let before = ledger.account("b").await.unwrap();
    assert_refused(void("mistyped", "b", "w").run(&ledger).await);
    assert_eq!(ledger.account("b").await.unwrap(), before, "nothing was decided");
    let right = void("right", "a", "w").run(&ledger).await.unwrap();
    assert!(matches!(right, Verdict::Decided(_)));
    assert_eq!((held(&ledger, "a").await, held(&ledger, "b").await), (100, 100));
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn report_for_wrong_player_credits_no_account() {
    let world = World::new().await;
    world.fund("b", 100).await;
    let ledger = world.ledger();
    let [request, report] = deposit("d", "a", 40);
    request.run(&ledger).await.unwrap();
    assert_refused(for_player(report.clone(), "mistyped", "b").run(&ledger).await);
    assert_eq!(held(&ledger, "b").await, 100);
    let right = report.run(&ledger).await.unwrap();
    assert!(matches!(right, Verdict::Decided(_)));
    assert_refused(for_player(report, "mistyped", "b").run(&ledger).await);
    assert_eq!((held(&ledger, "a").await, held(&ledger, "b").await), (40, 100));
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn wager_voided_for_wrong_player_stays_void() {
    let world = World::new().await;
    world.fund("a", 100).await;
    let ledger = world.ledger();
    void("mistyped", "b", "w").run(&ledger).await.unwrap();
    // Game has ended the bet on that event, so the wager must not be applied any more.
    let answer = wager("w", "a", 10, 0).run(&ledger).await.unwrap();
    assert!(matches!(answer, Verdict::Found(_)), "{answer:?}");
    assert_eq!(held(&ledger, "a").await, 100);
    assert_refused(void("right", "a", "w").run(&ledger).await);
    world.end().await;
}

#[tokio::test]
async fn id_of_other_player_is_conflict_despite_hash() {
    let world = World::new().await;
    world.fund("a", 100).await;
    world.fund("b", 100).await;
    let ledger = world.ledger();
    let command_id = event_id("x");
    let mut verdicts = Vec::new();
    for player_id in ["a", "b"] {
        let incoming = Incoming {
            player_id,
            command_id: &command_id,
            command_type: EventType::ApplyWager,
            request_hash: ids::request_hash(&contracts::Message::from(
                contracts::proto::payments::v1::ApplyWager::default(),
            )),
            request: wager("x", player_id, 10, 0).request,
        };
        verdicts.push(ledger.execute(&incoming).await.unwrap());
    }
    assert!(matches!(&verdicts[..], [Verdict::Decided(_), Verdict::Conflict]), "{verdicts:?}");
    assert_eq!((held(&ledger, "a").await, held(&ledger, "b").await), (90, 100));
    world.end().await;
}

/// Dies between the ledger row of a payment and its place on the provider's list.
struct DiesBeforeIntent;

impl Hooks for DiesBeforeIntent {
    fn reached(&self, step: Step, _player_id: &str) -> Result<(), Killed> {
        if step == Step::RowWritten { Err(Killed(step)) } else { Ok(()) }
    }
}

#[tokio::test]
async fn conflict_of_other_player_keeps_owner() {
    let world = World::new().await;
    let (ledger, _receiver) = world.ledger_with_intents();
    let dying = ledger.clone().with_hooks(Arc::new(DiesBeforeIntent));
    let of_a = payment("d", "a", PaymentKind::Deposit, 100);
    assert!(matches!(of_a.run(&dying).await, Err(LedgerError::Killed(_))));
    let answer = for_player(of_a, "d", "b").run(&ledger).await.unwrap();
    assert!(matches!(answer, Verdict::Conflict), "{answer:?}");
    let intent = world.intents().0.find(event_id("d").as_str()).await.unwrap().expect("it is on the list");
    assert_eq!(intent.player_id, "a");
    world.end().await;
}
