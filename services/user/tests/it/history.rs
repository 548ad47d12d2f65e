//! The history: every outcome once, latest first, in pages that cost the same at any depth.

use std::time::{Duration, Instant};

use contracts::proto::bets::v1::{BetRejected, BetSettled, BetVoided};
use contracts::proto::common::v1::Money;
use contracts::proto::payments::v1::DepositCompleted;
use contracts::{Event, EventId, Message, RejectReason, ids};
use serde_json::{Value, json};
use store::mongo::Mongo;
use time::OffsetDateTime;
use user::domain::{Entry, Kind};
use user::history::History;

use crate::platform::{Platform, TIMEOUT, config};

/// End of the test's own time. It lies before the real now, so that pages begin in an empty window.
const END_US: i64 = 1_790_000_000_000_000;

fn eur(minor: i64) -> Option<Money> {
    Some(Money { minor, currency: "EUR".into() })
}

fn settled(player_id: &str, bet_id: &EventId) -> BetSettled {
    BetSettled {
        bet_id: bet_id.to_string(),
        player_id: player_id.to_owned(),
        game: "slots".into(),
        stake: eur(100),
        payout: eur(250),
        balance_after: eur(1_150),
        reels: vec!["bell".into(), "bell".into(), "plum".into()],
        pay_table_version: "1".into(),
        bet_seq: 0,
    }
}

/// An event that follows from a bet, at a second of the test's own time.
fn at(second: i64, cause: &EventId, message: impl Into<Message>) -> Event {
    let time = OffsetDateTime::from_unix_timestamp(1_793_534_400 + second).expect("a time");
    Event { time, ..Event::follower(cause, "/test", message) }
}

fn bet_id(n: i64) -> EventId {
    ids::command_id("p-1", "test", &n.to_string())
}

async fn bets_when(platform: &Platform, what: &str, ready: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    testkit::eventually(what, TIMEOUT, || async {
        let (_, page) = platform.get("/players/p-1/bets?limit=100").await;
        let bets = page["bets"].as_array()?.clone(); // `None` retries after a time-out of the store
        ready(&bets).then_some(bets)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_outcome_is_one_entry() {
    let platform = Platform::start().await;
    let rejected = BetRejected {
        bet_id: bet_id(2).to_string(),
        player_id: "p-1".into(),
        game: "slots".into(),
        stake: eur(700),
        reason: RejectReason::InsufficientFunds.into(),
    };
    let voided = BetVoided {
        bet_id: bet_id(1).to_string(),
        player_id: "p-1".into(),
        game: "slots".into(),
        stake: eur(100),
        reason: "by request".into(),
        ..BetVoided::default()
    };
    let deposit = DepositCompleted {
        payment_id: bet_id(9).to_string(),
        player_id: "p-1".into(),
        amount: eur(5_000),
        balance_after: eur(5_000),
        provider_reference: "ch_1".into(),
    };
    let first = at(1, &bet_id(1), settled("p-1", &bet_id(1)));
    for event in [&first, &first, &at(2, &bet_id(2), rejected), &at(3, &bet_id(9), deposit), &first] {
        platform.producer.publish(event).await.unwrap();
    }
    let bets = bets_when(&platform, "two bets", |bets| bets.len() >= 2).await;
    assert_eq!(bets.len(), 2, "{bets:?}");
    assert_eq!(
        (&bets[0]["outcome"], &bets[0]["reason"], &bets[0]["stake_minor"]),
        (&json!("rejected"), &json!("REJECT_REASON_INSUFFICIENT_FUNDS"), &json!(700)),
    );
    let expected = json!({
        "bet_id": bet_id(1).as_str(), "game": "slots", "outcome": "settled", "stake_minor": 100,
        "payout_minor": 250, "balance_minor": 1150, "currency": "EUR", "reels": ["bell", "bell", "plum"],
        "reason": null, "at_epoch_ms": 1_793_534_401_000_i64,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&bets[1][name], value, "{name}");
    }

    // An operator voids the first bet. Its settlement, delivered again afterwards, changes nothing.
    platform.producer.publish(&at(4, &bet_id(1), voided)).await.unwrap();
    let undone = |bets: &[Value]| bets.last().is_some_and(|bet| bet["outcome"] == "voided");
    bets_when(&platform, "the void", undone).await;
    platform.producer.publish(&first).await.unwrap();
    platform.producer.publish(&at(5, &bet_id(3), settled("p-1", &bet_id(3)))).await.unwrap();
    let bets = bets_when(&platform, "the third bet", |bets| bets.len() >= 3).await;
    assert!(undone(&bets), "{bets:?}");

    let (status, page) = platform.get("/players/p-1/payments?kind=deposit").await;
    assert_eq!((status, page["payments"].as_array().unwrap().len()), (200, 1), "{page}");
    assert_eq!(page["payments"][0]["amount_minor"], json!(5_000));
    assert_eq!(platform.get("/players/p-2/bets").await, (200, json!({ "bets": [], "next": null })));
    for odd in ["limit=0", "limit=101", "limit=x", "before=%20", "before=%00"] {
        assert_eq!(platform.get(&format!("/players/p-1/bets?{odd}")).await.0, 400, "{odd}");
    }
    platform.stop().await;
}

/// A history with an entry at each of these microseconds before `END_US`.
pub(crate) async fn filled(ages_us: &[i64]) -> (Mongo, History) {
    let mongo = Mongo::connect(&config().mongo).await.expect("the store answers");
    let history = History::open(&mongo).await.expect("the store answers");
    let entries = mongo.collection("bet_history");
    let numbered: Vec<(usize, i64)> = ages_us.iter().copied().enumerate().collect();
    for chunk in numbered.chunks(1_000) {
        let documents: Vec<_> = chunk
            .iter()
            .map(|(n, age_us)| {
                let place = format!("{:016x}:bet-{n}", END_US - age_us);
                store::bson::doc! {
                    "_id": format!("bet-{n}"), "player_id": "p-1", "kind": "bet", "place": place,
                    "outcome": "settled", "game": "slots", "amount_minor": 100_i64, "currency": "EUR",
                    "at": store::bson::DateTime::from_millis((END_US - age_us) / 1_000), "event_id": "e",
                }
            })
            .collect();
        entries.insert_many_unordered(&documents).await.expect("the store answers");
    }
    (mongo, history)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_have_every_entry_once_in_order() {
    use rand::{Rng as _, SeedableRng as _};
    let mut random = rand::rngs::StdRng::seed_from_u64(testkit::seed());
    // Ages in powers of two from a microsecond, with some entries at the same time.
    let ages_us: Vec<i64> = (0..250).map(|_| 1_i64 << random.random_range(0..56)).collect();
    let (mongo, history) = filled(&ages_us).await;
    for limit in [1, 33, 100] {
        let mut seen: Vec<String> = Vec::new();
        let mut before: Option<String> = None;
        loop {
            let page = history.page("p-1", Kind::Bet, limit, before.as_deref()).await.unwrap();
            seen.extend(page.entries.into_iter().map(|entry| entry.place));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        let mut ordered = seen.clone();
        ordered.sort_by(|left, right| right.cmp(left));
        ordered.dedup();
        assert_eq!((seen.len(), &seen), (250, &ordered), "in pages of {limit}");
    }
    assert!(history.page("p-2", Kind::Bet, 33, None).await.unwrap().entries.is_empty());
    mongo.drop_database().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_entry_is_skipped() {
    let (mongo, history) = filled(&[1_000, 3_000]).await;
    let place = format!("{:016x}:damaged", END_US - 2_000);
    let damaged = store::bson::doc! { "_id": "damaged", "player_id": "p-1", "kind": "bet", "place": place };
    mongo.collection("bet_history").insert_one(&damaged).await.expect("the store answers");
    let page = history.page("p-1", Kind::Bet, 10, None).await.expect("a page");
    let ids: Vec<&str> = page.entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!((ids, page.next), (vec!["bet-0", "bet-1"], None));
    mongo.drop_database().await.unwrap();
}

/// Median time of some page reads in the middle of the history.
async fn median_page(history: &History, before: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        let page = history.page("p-1", Kind::Bet, 20, Some(before)).await.expect("the store answers");
        times.push(started.elapsed());
        assert_eq!(page.entries.len(), 20);
    }
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_cost_does_not_grow_with_history() {
    // Ten bets a second, for twenty seconds and for half an hour.
    let steady = |count: i64| (0..count).map(|n| n * 100_000).collect::<Vec<i64>>();
    let (small_mongo, small) = filled(&steady(200)).await;
    let (large_mongo, large) = filled(&steady(20_000)).await;
    let middle = |count: i64| format!("{:016x}:", END_US - count / 2 * 100_000);
    let mut ratios = Vec::new();
    for _ in 0..3 {
        // Alternates, so that other load on the machine affects both.
        let few = median_page(&small, &middle(200)).await;
        let many = median_page(&large, &middle(20_000)).await;
        ratios.push(many.as_secs_f64() / few.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    // A full scan would cost a hundred times as much. The bound only has to distinguish that from a busy machine.
    assert!(ratios[1] < 10.0, "a page of 20 000 entries costs {ratios:?} times one of 200");
    eprintln!("page of 20 000 entries ÷ page of 200: {ratios:.2?}");
    small_mongo.drop_database().await.unwrap();
    large_mongo.drop_database().await.unwrap();
}

/// The same bet id from another player must not change the first player's entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bet_id_belongs_to_one_player() {
    let mongo = Mongo::connect(&config().mongo).await.unwrap();
    let history = History::open(&mongo).await.unwrap();
    let record = async |player_id: &str| {
        let message = settled(player_id, &bet_id(1));
        let entry = Entry::settled(&message).unwrap();
        history.record(&at(1, &bet_id(1), message), entry).await
    };
    assert!(record("p-1").await.is_ok());
    assert!(record("p-2").await.is_err());
    assert_eq!(history.page("p-1", Kind::Bet, 10, None).await.unwrap().entries.len(), 1);
    mongo.drop_database().await.unwrap();
}
