//! No command changes, or is decided by, data of another player.

use contracts::{EventType, ids};
use money::Currency;
use payment::ledger::{Incoming, Ledger, LedgerError, Verdict};

use crate::audit::Audit;
use crate::world::{Recorded, World, deposit, event_id, void, wager};

async fn held(ledger: &Ledger, player_id: &str) -> i64 {
    ledger.account(player_id).await.unwrap().unwrap().balances[&Currency::Eur]
}

fn for_player(command: Recorded, id: &str, player_id: &str) -> Recorded {
    Recorded { id: event_id(id), player_id: player_id.to_owned(), ..command }
}

#[track_caller]
fn assert_refused(answer: Result<Verdict, LedgerError>) {
    assert!(matches!(answer, Err(LedgerError::NotACommand(_))), "{answer:?}");
}

#[tokio::test]
async fn a_void_under_another_players_name_is_refused_and_does_not_use_the_void_up() {
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
async fn a_report_under_another_players_name_credits_nobody() {
    let world = World::new().await;
    world.fund("b", 100).await;
    let ledger = world.ledger();
    let [asked, told] = deposit("d", "a", 40);
    asked.run(&ledger).await.unwrap();
    assert_refused(for_player(told.clone(), "mistyped", "b").run(&ledger).await);
    assert_eq!(held(&ledger, "b").await, 100);
    let right = told.run(&ledger).await.unwrap();
    assert!(matches!(right, Verdict::Decided(_)));
    assert_refused(for_player(told, "mistyped", "b").run(&ledger).await);
    assert_eq!((held(&ledger, "a").await, held(&ledger, "b").await), (40, 100));
    ledger.trim().await.unwrap();
    Audit::at_rest(&world).await.assert_sound();
    world.end().await;
}

#[tokio::test]
async fn a_wager_that_was_voided_under_a_wrong_name_stays_void_and_that_is_said() {
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
async fn an_id_of_another_player_is_a_conflict_whatever_its_hash_says() {
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
