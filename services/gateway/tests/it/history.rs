//! The history shows a bet like the answer to its placing, although the user service stores it in another form.

use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{Broker, Stage};

/// The player's page of history.
async fn history(stage: &Stage) -> Value {
    let answer = stage.as_player(Method::GET, "/api/v1/me/bets").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json().await.expect("JSON")
}

/// A bet as the user service returns it. Every field is present, null where it does not apply.
fn of_user(bet_id: &Value, outcome: &str, payout_minor: Option<i64>, reason: Option<&str>) -> Value {
    json!({
        "bet_id": bet_id, "game": "slots", "outcome": outcome, "stake_minor": 100, "payout_minor": payout_minor,
        "balance_minor": payout_minor.map(|_| 2_400), "currency": "EUR",
        "reels": if payout_minor.is_some() { vec!["bell"; 3] } else { Vec::new() },
        "reason": reason, "at_epoch_ms": 1_793_534_400_000_i64, "trace_id": null,
    })
}

#[tokio::test]
async fn a_bet_of_the_history_says_all_that_the_answer_to_its_placing_said() {
    let stage = Stage::set(Broker::Settles).await;
    let won: Value = stage.bet(&testkit::unique("k")).await.json().await.expect("JSON");
    stage.broker(Broker::Rejects);
    let rejected: Value = stage.bet(&testkit::unique("k")).await.json().await.expect("JSON");
    let kept = vec![
        of_user(&rejected["bet_id"], "rejected", None, Some("REJECT_REASON_INSUFFICIENT_FUNDS")),
        of_user(&won["bet_id"], "settled", Some(500), None),
    ];
    stage.behind.know_history("p-1", kept);
    let page = history(&stage).await;
    assert_eq!(page["next"], "the next place");
    for (place, placed, outcome) in [(0, rejected, "rejected"), (1, won, "won")] {
        assert_eq!(placed["outcome"], outcome);
        let mut of_history = page["bets"][place].clone();
        let told = of_history.as_object_mut().expect("a bet");
        assert_eq!(told.remove("game"), Some(json!("slots")));
        assert_eq!(told.remove("at_epoch_ms"), Some(json!(1_793_534_400_000_i64)));
        assert_eq!(of_history, placed, "and nothing else");
    }
}

#[tokio::test]
async fn lost_and_voided_bets_and_their_traces_are_told_too() {
    let stage = Stage::set(Broker::Silent).await;
    let mut lost = of_user(&json!("b-1"), "settled", Some(0), None);
    lost["trace_id"] = json!("5b8efff798038103d269b633813fc60c");
    let voided = of_user(&json!("b-2"), "voided", None, Some("stuck"));
    stage.behind.know_history("p-1", vec![lost, voided]);
    let page = history(&stage).await;
    assert_eq!(page["bets"][0]["outcome"], "lost");
    assert_eq!(page["bets"][0]["trace_id"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(
        (&page["bets"][1]["outcome"], &page["bets"][1]["reason"]),
        (&json!("voided"), &json!("stuck"))
    );
}
