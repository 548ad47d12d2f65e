//! The history shows a bet like the response to its placing, although the user service stores it in another form.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Broker, TestGateway, json_of, send};

/// A bet as the user service returns it. Every field is present, null where it does not apply.
fn user_bet(bet_id: &Value, outcome: &str, payout_minor: Option<i64>, reason: Option<&str>) -> Value {
    json!({
        "bet_id": bet_id, "game": "slots", "outcome": outcome, "stake_minor": 100, "payout_minor": payout_minor,
        "balance_minor": payout_minor.map(|_| 2_400), "currency": "EUR",
        "reels": if payout_minor.is_some() { vec!["bell"; 3] } else { Vec::new() },
        "reason": reason, "at_epoch_ms": 1_793_534_400_000_i64, "trace_id": null,
    })
}

#[tokio::test]
async fn history_shows_bets_like_their_responses() {
    let gateway = TestGateway::start(Broker::Settles).await;
    let won = json_of(gateway.bet(&testkit::unique("k")).await).await;
    gateway.set_broker(Broker::Rejects);
    let rejected = json_of(gateway.bet(&testkit::unique("k")).await).await;
    let stored = vec![
        user_bet(&rejected["bet_id"], "rejected", None, Some("REJECT_REASON_INSUFFICIENT_FUNDS")),
        user_bet(&won["bet_id"], "settled", Some(500), None),
    ];
    gateway.peers.set_history("p-1", stored);
    let page = gateway.get_json("/api/v1/me/bets").await;
    assert_eq!(page["next"], "the next page");
    for (index, placed, outcome) in [(0, rejected, "rejected"), (1, won, "won")] {
        assert_eq!(placed["outcome"], outcome);
        let mut listed = page["bets"][index].clone();
        let fields = listed.as_object_mut().expect("a bet");
        assert_eq!(fields.remove("game"), Some(json!("slots")));
        assert_eq!(fields.remove("at_epoch_ms"), Some(json!(1_793_534_400_000_i64)));
        assert_eq!(listed, placed, "no other fields differ");
    }
}

#[tokio::test]
async fn page_size_outside_of_its_range_is_refused() {
    let gateway = TestGateway::start(Broker::Silent).await;
    for (limit, status) in [("0", 400), ("1", 200), ("100", 200), ("101", 400), ("-1", 400), ("many", 400)] {
        let request = gateway.as_player(Method::GET, &format!("/api/v1/me/bets?limit={limit}"));
        let response = send(request).await;
        assert_eq!(response.status(), status, "{limit}");
    }
}

#[tokio::test]
async fn lost_and_voided_bets_have_traces() {
    let gateway = TestGateway::start(Broker::Silent).await;
    let mut lost = user_bet(&json!("b-1"), "settled", Some(0), None);
    lost["trace_id"] = json!("5b8efff798038103d269b633813fc60c");
    let voided = user_bet(&json!("b-2"), "voided", None, Some("stuck"));
    gateway.peers.set_history("p-1", vec![lost, voided]);
    let page = gateway.get_json("/api/v1/me/bets").await;
    assert_eq!(page["bets"][0]["outcome"], "lost");
    assert_eq!(page["bets"][0]["trace_id"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(
        (&page["bets"][1]["outcome"], &page["bets"][1]["reason"]),
        (&json!("voided"), &json!("stuck"))
    );
}
